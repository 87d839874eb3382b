// Scenarios that drive the official Go client: `clients SIDE NAMESRV [PART OF A NAME]`.
package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2/rlog"
)

type scenario struct {
	name string
	run  func(*world) error
}

// Those that wait longest come first.
var scenarios = []scenario{
	{"retry", retry},
	{"transactions", transactions},
	{"rebalance", rebalance},
	{"push orderly", pushOrderly},
	{"push broadcast", pushBroadcast},
	{"push concurrent", pushConcurrent},
	{"pull and acknowledge", pullAndAcknowledge},
	{"pull from an offset", pullFrom},
	{"delay level", delayLevel},
	{"tags", tags},
	{"send sync", sendSync},
	{"send async", sendAsync},
	{"send oneway", sendOneway},
	{"send batch", sendBatch},
	{"send to a chosen queue", sendChosenQueue},
	{"compression", compression},
	{"admin", administrate},
}

const (
	atOnce  = 6
	longest = 150 * time.Second
)

func main() {
	rlog.SetLogLevel("error")
	side, namesrv, only := os.Args[1], os.Args[2], ""
	if side == "gap" {
		if err := gap(namesrv, os.Args[3]); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) > 3 {
		only = os.Args[3]
	}
	var counts sync.Mutex
	passed, failed := 0, 0
	slots := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for _, each := range scenarios {
		if !strings.Contains(each.name, only) {
			continue
		}
		slots <- struct{}{}
		all.Add(1)
		go func(each scenario) {
			defer func() { <-slots; all.Done() }()
			started := time.Now()
			err := runOne(each, namesrv)
			counts.Lock()
			defer counts.Unlock()
			if err == nil {
				passed++
				fmt.Printf("ok   %s go %s (%.1f s)\n", side, each.name, time.Since(started).Seconds())
			} else {
				failed++
				fmt.Printf("FAIL %s go %s (%.1f s): %s\n", side, each.name, time.Since(started).Seconds(), strings.ReplaceAll(err.Error(), "\n", " "))
			}
		}(each)
	}
	all.Wait()
	fmt.Printf("%d passed, %d failed\n", passed, failed)
	if failed > 0 || passed == 0 {
		os.Exit(1)
	}
}

func runOne(each scenario, namesrv string) error {
	w := newWorld(namesrv, each.name)
	done := make(chan error, 1)
	go func() {
		defer func() {
			if panicked := recover(); panicked != nil {
				done <- fmt.Errorf("panicked: %v", panicked)
			}
		}()
		done <- each.run(w)
	}()
	select {
	case err := <-done:
		w.close()
		return err
	case <-time.After(longest):
		return fmt.Errorf("not done after %s", longest)
	}
}
