package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

var (
	counter atomic.Int64
	started = strconv.FormatInt(time.Now().Unix(), 36)
	odd     = regexp.MustCompile("[^a-zA-Z0-9]+")
)

// world is what one scenario works with: names and clients of its own, closed at its end.
type world struct {
	namesrv []string
	stem    string
	mutex   sync.Mutex
	closers []func() error
}

func newWorld(namesrv, name string) *world {
	return &world{namesrv: strings.Split(namesrv, ";"), stem: "go-" + odd.ReplaceAllString(name, "-") + "-" + started}
}

func (w *world) name(what string) string {
	return fmt.Sprintf("%s-%s-%d", w.stem, what, counter.Add(1))
}

func (w *world) later(closer func() error) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.closers = append(w.closers, closer)
}

func (w *world) close() {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	for i := len(w.closers) - 1; i >= 0; i-- {
		_ = w.closers[i]()
	}
}

func (w *world) producer(options ...producer.Option) (rocketmq.Producer, error) {
	all := append([]producer.Option{producer.WithNameServer(w.namesrv), producer.WithGroupName(w.name("producers")),
		producer.WithInstanceName(w.name("i")), producer.WithSendMsgTimeout(10 * time.Second), producer.WithRetry(2)}, options...)
	made, err := rocketmq.NewProducer(all...)
	if err != nil {
		return nil, err
	}
	w.later(made.Shutdown)
	return made, made.Start()
}

// topic is made by a first message, as applications do; its producer comes with it.
func (w *world) topic(options ...producer.Option) (string, rocketmq.Producer, *primitive.SendResult, error) {
	topic := w.name("topic")
	made, err := w.producer(options...)
	if err != nil {
		return "", nil, nil, err
	}
	// A broker that has just started may not be registered yet.
	var first *primitive.SendResult
	err = eventually(60*time.Second, func() (err error) {
		first, err = made.SendSync(context.Background(), primitive.NewMessage(topic, []byte("first")))
		return err
	})
	return topic, made, first, err
}

type handler func(context.Context, ...*primitive.MessageExt) (consumer.ConsumeResult, error)

func (w *world) pushConsumer(group, topic, expression string, handle handler, options ...consumer.Option) (rocketmq.PushConsumer, error) {
	all := append([]consumer.Option{consumer.WithNameServer(w.namesrv), consumer.WithGroupName(group), consumer.WithInstance(w.name("i")),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset)}, options...)
	made, err := rocketmq.NewPushConsumer(all...)
	if err != nil {
		return nil, err
	}
	if err := made.Subscribe(topic, consumer.MessageSelector{Type: consumer.TAG, Expression: expression}, handle); err != nil {
		return nil, err
	}
	w.later(made.Shutdown)
	return made, made.Start()
}

// inbox holds what consumers have been given, in order of arrival.
type inbox struct {
	mutex sync.Mutex
	all   []*primitive.MessageExt
}

func (in *inbox) take(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
	in.mutex.Lock()
	defer in.mutex.Unlock()
	in.all = append(in.all, messages...)
	return consumer.ConsumeSuccess, nil
}

func (in *inbox) messages() []*primitive.MessageExt {
	in.mutex.Lock()
	defer in.mutex.Unlock()
	return append([]*primitive.MessageExt(nil), in.all...)
}

func (in *inbox) times(body string) int {
	times := 0
	for _, message := range in.messages() {
		if string(message.Body) == body {
			times++
		}
	}
	return times
}

// expectOnce waits for all of these bodies; nothing else may come, and nothing twice.
func (in *inbox) expectOnce(wait time.Duration, wanted []string) error {
	err := eventually(wait, func() error {
		for _, body := range wanted {
			if in.times(body) == 0 {
				return fmt.Errorf("%q did not arrive; %d did", body, len(in.messages()))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	time.Sleep(500 * time.Millisecond)
	return same(len(wanted), len(in.messages()), "messages that arrived")
}

func eventually(wait time.Duration, missing func() error) error {
	end := time.Now().Add(wait)
	for {
		err := missing()
		if err == nil {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("after %s %w", wait, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func same[T comparable](expected, actual T, what string) error {
	if expected != actual {
		return fmt.Errorf("%s is %v, expected %v", what, actual, expected)
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// brokerOf reads the store host out of an offsetMsgId.
func brokerOf(id string) (string, error) {
	raw, err := hex.DecodeString(id)
	if err != nil || len(raw) != 16 {
		return "", fmt.Errorf("offsetMsgId %q", id)
	}
	port := int(raw[4])<<24 | int(raw[5])<<16 | int(raw[6])<<8 | int(raw[7])
	return net.JoinHostPort(net.IP(raw[:4]).String(), strconv.Itoa(port)), nil
}
