package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

// gap prints how long a producer with everyday settings is without an acknowledgement: `clients gap NAMESRV SECONDS`.
// It says `sending` once it is at work.
func gap(namesrv, seconds string) error {
	const warm = 20
	span, err := strconv.Atoi(seconds)
	if err != nil {
		return err
	}
	p, err := rocketmq.NewProducer(
		producer.WithNsResolver(primitive.NewPassthroughResolver(strings.Split(namesrv, ";"))),
		producer.WithGroupName("gap-go"), producer.WithRetry(2))
	if err != nil {
		return err
	}
	if err := p.Start(); err != nil {
		return err
	}
	var end, last time.Time
	var longest time.Duration
	sent, failed := 0, 0
	for end.IsZero() || time.Now().Before(end) {
		result, err := p.SendSync(context.Background(), primitive.NewMessage("gap-go", []byte(fmt.Sprint("message ", sent))))
		now := time.Now()
		if err == nil && result.Status == primitive.SendOK {
			if sent++; sent > warm && now.Sub(last) > longest {
				longest = now.Sub(last)
			}
			last = now
		} else {
			failed++
		}
		if sent == warm && end.IsZero() {
			fmt.Println("sending")
			end = now.Add(time.Duration(span) * time.Second)
		}
		time.Sleep(5 * time.Millisecond)
	}
	if time.Since(last) > time.Second {
		return fmt.Errorf("longest gap %.2f s, %d sent, %d failed, NOTHING at the end", longest.Seconds(), sent, failed)
	}
	fmt.Printf("longest gap %.2f s, %d sent, %d failed\n", longest.Seconds(), sent, failed)
	os.Exit(0)
	return nil
}
