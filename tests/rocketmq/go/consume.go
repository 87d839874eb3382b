package main

import (
	"context"
	"fmt"
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

func send(sender rocketmq.Producer, topic, stem string, count int) ([]string, error) {
	bodies := make([]string, count)
	for i := range bodies {
		bodies[i] = stem + " " + strconv.Itoa(i)
		if _, err := sender.SendSync(context.Background(), primitive.NewMessage(topic, []byte(bodies[i]))); err != nil {
			return nil, err
		}
	}
	return bodies, nil
}

// What lay there and what comes now, once; the next member of the group gets only news.
func pushConcurrent(w *world) error {
	topic, sender, _, err := w.topic()
	if err != nil {
		return err
	}
	old, err := send(sender, topic, "old", 60)
	if err != nil {
		return err
	}
	group, in := w.name("group"), &inbox{}
	member, err := w.pushConsumer(group, topic, "*", in.take)
	if err != nil {
		return err
	}
	news, err := send(sender, topic, "new", 30)
	if err != nil {
		return err
	}
	if err := in.expectOnce(60*time.Second, append(append(old, news...), "first")); err != nil {
		return err
	}
	if err := member.Shutdown(); err != nil {
		return err
	}
	latest, err := send(sender, topic, "latest", 1)
	if err != nil {
		return err
	}
	second := &inbox{}
	if _, err := w.pushConsumer(group, topic, "*", second.take); err != nil {
		return err
	}
	return second.expectOnce(60*time.Second, latest)
}

func pushOrderly(w *world) error {
	// Made by sending, a topic has other queues before than after its producer knows it.
	_, _, topic, err := w.madeTopic(3)
	if err != nil {
		return err
	}
	sender, err := w.producer(producer.WithQueueSelector(producer.NewHashQueueSelector()))
	if err != nil {
		return err
	}
	bodies := []string{}
	for i := 0; i < 60; i++ {
		body := fmt.Sprintf("order-%d %d", i%3, i)
		message := primitive.NewMessage(topic, []byte(body)).WithShardingKey("order-" + strconv.Itoa(i%3))
		if _, err := sender.SendSync(context.Background(), message); err != nil {
			return err
		}
		bodies = append(bodies, body)
	}
	in := &inbox{}
	var refused atomic.Bool
	handle := func(ctx context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		if string(messages[0].Body) == "order-1 31" && refused.CompareAndSwap(false, true) {
			return consumer.SuspendCurrentQueueAMoment, nil
		}
		return in.take(ctx, messages...)
	}
	_, err = w.pushConsumer(w.name("group"), topic, "*", handle, consumer.WithConsumerOrder(true),
		consumer.WithSuspendCurrentQueueTimeMillis(100*time.Millisecond))
	if err != nil {
		return err
	}
	if err := in.expectOnce(90*time.Second, bodies); err != nil {
		return err
	}
	last := map[string]int{}
	for _, message := range in.messages() {
		order, number, found := strings.Cut(string(message.Body), " ")
		if !found {
			continue
		}
		at, err := strconv.Atoi(number)
		if err != nil {
			return err
		}
		if before, seen := last[order]; seen && at != before+3 {
			return fmt.Errorf("%s: %d came after %d", order, at, before)
		}
		last[order] = at
	}
	return same(true, refused.Load(), "tried one again")
}

func pushBroadcast(w *world) error {
	topic, sender, _, err := w.topic()
	if err != nil {
		return err
	}
	group := w.name("group")
	members := []*inbox{{}, {}}
	for _, in := range members {
		if _, err := w.pushConsumer(group, topic, "*", in.take, consumer.WithConsumerModel(consumer.BroadCasting)); err != nil {
			return err
		}
	}
	bodies, err := send(sender, topic, "to all", 30)
	if err != nil {
		return err
	}
	for _, in := range members {
		err := eventually(60*time.Second, func() error {
			for _, body := range bodies {
				if err := same(1, in.times(body), "times of "+body); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func tags(w *world) error {
	topic, sender, _, err := w.topic()
	if err != nil {
		return err
	}
	wanted := []string{}
	for _, tag := range []string{"red", "green", "blue", "Aa", "BB"} {
		for i := 0; i < 4; i++ {
			body := tag + " " + strconv.Itoa(i)
			if _, err := sender.SendSync(context.Background(), primitive.NewMessage(topic, []byte(body)).WithTag(tag)); err != nil {
				return err
			}
			if tag == "red" || tag == "Aa" {
				wanted = append(wanted, body)
			}
		}
	}
	in := &inbox{}
	if _, err := w.pushConsumer(w.name("group"), topic, "red || Aa", in.take); err != nil {
		return err
	}
	return in.expectOnce(60*time.Second, wanted)
}

// The Go client sees the retry topic only at its next route poll, after up to 30 s.
func retry(w *world) error {
	topic, sender, _, err := w.topic()
	if err != nil {
		return err
	}
	var mutex sync.Mutex
	var times []int32
	handle := func(ctx context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		mutex.Lock()
		defer mutex.Unlock()
		if context, ok := primitive.GetConcurrentlyCtx(ctx); ok {
			context.DelayLevelWhenNextConsume = 1
		}
		if string(messages[0].Body) != "again" {
			return consumer.ConsumeSuccess, nil
		}
		times = append(times, messages[0].ReconsumeTimes)
		if len(times) < 3 {
			return consumer.ConsumeRetryLater, nil
		}
		return consumer.ConsumeSuccess, nil
	}
	if _, err := w.pushConsumer(w.name("group"), topic, "*", handle); err != nil {
		return err
	}
	if _, err := sender.SendSync(context.Background(), primitive.NewMessage(topic, []byte("again"))); err != nil {
		return err
	}
	return eventually(130*time.Second, func() error {
		mutex.Lock()
		defer mutex.Unlock()
		return same("[0 1 2]", fmt.Sprint(times), "times consumed before, at each arrival")
	})
}

func pullAndAcknowledge(w *world) error {
	topic, sender, _, err := w.topic()
	if err != nil {
		return err
	}
	bodies, err := send(sender, topic, "polled", 40)
	if err != nil {
		return err
	}
	puller, err := rocketmq.NewPullConsumer(consumer.WithNameServer(w.namesrv), consumer.WithGroupName(w.name("group")),
		consumer.WithInstance(w.name("i")), consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset))
	if err != nil {
		return err
	}
	if err := puller.Subscribe(topic, consumer.MessageSelector{Type: consumer.TAG, Expression: "*"}); err != nil {
		return err
	}
	if err := puller.Start(); err != nil {
		return err
	}
	w.later(puller.Shutdown)
	in := &inbox{}
	err = eventually(60*time.Second, func() error {
		request, err := puller.Poll(context.Background(), time.Second)
		if err == nil && request != nil {
			_, _ = in.take(context.Background(), request.GetMsgList()...)
			puller.ACK(context.Background(), request, consumer.ConsumeSuccess)
		}
		return same(len(bodies)+1, len(in.messages()), "messages polled")
	})
	if err != nil {
		return err
	}
	return in.expectOnce(time.Second, append(bodies, "first"))
}

func pullFrom(w *world) error {
	topic, _, first, err := w.topic()
	if err != nil {
		return err
	}
	sender, err := w.producer(producer.WithQueueSelector(producer.NewManualQueueSelector()))
	if err != nil {
		return err
	}
	queue := first.MessageQueue
	for i := 1; i < 20; i++ {
		message := primitive.NewMessage(topic, []byte("m"+strconv.Itoa(i)))
		message.Queue = queue
		if _, err := sender.SendSync(context.Background(), message); err != nil {
			return err
		}
	}
	puller, err := rocketmq.NewPullConsumer(consumer.WithNameServer(w.namesrv), consumer.WithGroupName(w.name("group")), consumer.WithInstance(w.name("i")))
	if err != nil {
		return err
	}
	if err := puller.Subscribe(topic, consumer.MessageSelector{Type: consumer.TAG, Expression: "*"}); err != nil {
		return err
	}
	if err := puller.Start(); err != nil {
		return err
	}
	w.later(puller.Shutdown)
	result, err := puller.PullFrom(context.Background(), queue, 5, 10)
	if err != nil {
		return err
	}
	messages := result.GetMessageExts()
	if err := firstError(same(primitive.PullFound, result.Status, "status"), same(10, len(messages), "messages"),
		same(int64(15), result.NextBeginOffset, "next offset")); err != nil {
		return err
	}
	for i, message := range messages {
		if err := firstError(same(int64(5+i), message.QueueOffset, "queue offset"), same("m"+strconv.Itoa(5+i), string(message.Body), "body")); err != nil {
			return err
		}
	}
	return nil
}

func delayLevel(w *world) error {
	topic, sender, _, err := w.topic()
	if err != nil {
		return err
	}
	var mutex sync.Mutex
	arrived := map[string]time.Time{}
	_, err = w.pushConsumer(w.name("group"), topic, "*", func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		mutex.Lock()
		defer mutex.Unlock()
		for _, message := range messages {
			arrived[string(message.Body)] = time.Now()
		}
		return consumer.ConsumeSuccess, nil
	})
	if err != nil {
		return err
	}
	seen := func(body string) error {
		return eventually(60*time.Second, func() error {
			mutex.Lock()
			defer mutex.Unlock()
			_, found := arrived[body]
			return same(true, found, "arrival of "+body)
		})
	}
	if err := seen("first"); err != nil {
		return err
	}
	sent := time.Now()
	if _, err := sender.SendSync(context.Background(), primitive.NewMessage(topic, []byte("later")).WithDelayTimeLevel(2)); err != nil {
		return err
	}
	if err := seen("later"); err != nil {
		return err
	}
	if late := arrived["later"].Sub(sent); late < 4990*time.Millisecond || late > 9*time.Second {
		return fmt.Errorf("level 2 (5 s) arrived after %s", late)
	}
	return nil
}

// A second member takes half of the queues and gives them back.
func rebalance(w *world) error {
	topic, sender, _, err := w.topic()
	if err != nil {
		return err
	}
	group, first, second := w.name("group"), &inbox{}, &inbox{}
	if _, err := w.pushConsumer(group, topic, "*", first.take); err != nil {
		return err
	}
	joining, err := w.pushConsumer(group, topic, "*", second.take)
	if err != nil {
		return err
	}
	sent := 0
	err = eventually(60*time.Second, func() error {
		if _, err := send(sender, topic, "both "+strconv.Itoa(sent), 8); err != nil {
			return err
		}
		sent += 8
		time.Sleep(400 * time.Millisecond)
		return same(true, len(first.messages()) > 5 && len(second.messages()) > 5, "both members get messages")
	})
	if err != nil {
		return err
	}
	if err := joining.Shutdown(); err != nil {
		return err
	}
	rest, err := send(sender, topic, "rest", 40)
	if err != nil {
		return err
	}
	return eventually(60*time.Second, func() error {
		for _, body := range rest {
			if first.times(body) == 0 {
				return fmt.Errorf("%q did not arrive at the member that stayed", body)
			}
		}
		return nil
	})
}
