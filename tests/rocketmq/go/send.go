package main

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/admin"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

// Every field of a message, as a consumer finds it again.
func sendSync(w *world) error {
	topic, sender, _, err := w.topic()
	if err != nil {
		return err
	}
	results := map[string]*primitive.SendResult{}
	next := map[primitive.MessageQueue]int64{}
	bodies := []string{"first"}
	for i := 0; i < 40; i++ {
		message := primitive.NewMessage(topic, []byte("body "+strconv.Itoa(i))).WithTag("Tag").WithKeys([]string{"key-" + strconv.Itoa(i)})
		message.WithProperty("number", strconv.Itoa(i))
		result, err := sender.SendSync(context.Background(), message)
		if err != nil {
			return err
		}
		queue := *result.MessageQueue
		if before, seen := next[queue]; seen {
			if err := same(before+1, result.QueueOffset, "queue offset"); err != nil {
				return err
			}
		}
		next[queue] = result.QueueOffset
		if err := same(primitive.SendOK, result.Status, "status"); err != nil {
			return err
		}
		results["body "+strconv.Itoa(i)] = result
		bodies = append(bodies, "body "+strconv.Itoa(i))
	}
	in := &inbox{}
	if _, err := w.pushConsumer(w.name("group"), topic, "*", in.take); err != nil {
		return err
	}
	if err := in.expectOnce(60*time.Second, bodies); err != nil {
		return err
	}
	for _, message := range in.messages() {
		result, number := results[string(message.Body)], strings.TrimPrefix(string(message.Body), "body ")
		if result == nil {
			continue
		}
		err := firstError(same("Tag", message.GetTags(), "tag"), same("key-"+number, message.GetKeys(), "keys"),
			same(number, message.GetProperty("number"), "property"), same(result.QueueOffset, message.QueueOffset, "queue offset"),
			same(result.MsgID, message.MsgId, "message id"), same(result.OffsetMsgID, message.OffsetMsgId, "offsetMsgId"),
			same(result.MessageQueue.QueueId, message.Queue.QueueId, "queue"))
		if err != nil {
			return err
		}
	}
	return nil
}

func sendAsync(w *world) error {
	topic, sender, _, err := w.topic()
	if err != nil {
		return err
	}
	var waiting sync.WaitGroup
	var mutex sync.Mutex
	places := map[string]bool{}
	var failure error
	for i := 0; i < 200; i++ {
		waiting.Add(1)
		err := sender.SendAsync(context.Background(), func(_ context.Context, result *primitive.SendResult, err error) {
			defer waiting.Done()
			mutex.Lock()
			defer mutex.Unlock()
			if err != nil {
				failure = err
				return
			}
			places[fmt.Sprintf("%s %d", result.MessageQueue, result.QueueOffset)] = true
		}, primitive.NewMessage(topic, []byte("async "+strconv.Itoa(i))))
		if err != nil {
			return err
		}
	}
	waiting.Wait()
	if failure != nil {
		return failure
	}
	return same(200, len(places), "places")
}

func sendOneway(w *world) error {
	topic, sender, _, err := w.topic()
	if err != nil {
		return err
	}
	bodies := []string{"first"}
	for i := 0; i < 50; i++ {
		bodies = append(bodies, "oneway "+strconv.Itoa(i))
		if err := sender.SendOneWay(context.Background(), primitive.NewMessage(topic, []byte(bodies[i+1]))); err != nil {
			return err
		}
	}
	in := &inbox{}
	if _, err := w.pushConsumer(w.name("group"), topic, "*", in.take); err != nil {
		return err
	}
	return in.expectOnce(60*time.Second, bodies)
}

func sendBatch(w *world) error {
	topic, sender, _, err := w.topic()
	if err != nil {
		return err
	}
	var batch []*primitive.Message
	bodies := []string{"first"}
	for i := 0; i < 20; i++ {
		bodies = append(bodies, "batch "+strconv.Itoa(i))
		batch = append(batch, primitive.NewMessage(topic, []byte(bodies[i+1])).WithKeys([]string{"key-" + strconv.Itoa(i)}))
	}
	result, err := sender.SendSync(context.Background(), batch...)
	if err != nil {
		return err
	}
	in := &inbox{}
	if _, err := w.pushConsumer(w.name("group"), topic, "*", in.take); err != nil {
		return err
	}
	if err := in.expectOnce(60*time.Second, bodies); err != nil {
		return err
	}
	for _, message := range in.messages() {
		number, err := strconv.ParseInt(strings.TrimPrefix(string(message.Body), "batch "), 10, 64)
		if err != nil {
			continue
		}
		if err := firstError(same(result.QueueOffset+number, message.QueueOffset, "queue offset"),
			same(result.MessageQueue.QueueId, message.Queue.QueueId, "queue"), same(fmt.Sprintf("key-%d", number), message.GetKeys(), "keys")); err != nil {
			return err
		}
	}
	return nil
}

func sendChosenQueue(w *world) error {
	topic, sender, _, err := w.topic(producer.WithQueueSelector(producer.NewHashQueueSelector()))
	if err != nil {
		return err
	}
	// Brokers make a topic one by one as messages come, and the client learns of each: until it knows all, keys may move.
	return eventually(60*time.Second, func() error { return keysStay(topic, sender) })
}

func keysStay(topic string, sender rocketmq.Producer) error {
	queues := map[string]primitive.MessageQueue{}
	for i := 0; i < 60; i++ {
		key := "order-" + strconv.Itoa(i%5)
		message := primitive.NewMessage(topic, []byte("step "+strconv.Itoa(i))).WithShardingKey(key)
		result, err := sender.SendSync(context.Background(), message)
		if err != nil {
			return err
		}
		if before, seen := queues[key]; seen && before != *result.MessageQueue {
			return fmt.Errorf("%s went to %v and to %v", key, before, result.MessageQueue)
		}
		queues[key] = *result.MessageQueue
	}
	return same(5, len(queues), "keys")
}

func compression(w *world) error {
	topic, sender, _, err := w.topic(producer.WithCompressMsgBodyOverHowmuch(1000), producer.WithCompressLevel(5))
	if err != nil {
		return err
	}
	body := bytes.Repeat([]byte("compress me "), 10_000)
	if _, err := sender.SendSync(context.Background(), primitive.NewMessage(topic, body)); err != nil {
		return err
	}
	in := &inbox{}
	if _, err := w.pushConsumer(w.name("group"), topic, "*", in.take); err != nil {
		return err
	}
	if err := in.expectOnce(60*time.Second, []string{"first", string(body)}); err != nil {
		return err
	}
	for _, message := range in.messages() {
		if len(message.Body) > 100 && int(message.StoreSize) > len(body)/4 {
			return fmt.Errorf("%d bytes are stored: the body came uncompressed", message.StoreSize)
		}
	}
	return nil
}

func administrate(w *world) error {
	client, broker, topic, err := w.madeTopic(3)
	if err != nil {
		return err
	}
	return client.DeleteTopic(context.Background(), admin.WithTopicDelete(topic), admin.WithBrokerAddrDelete(broker), admin.WithNameSrvAddr(w.namesrv))
}

// madeTopic is there, with its queues on one broker, before anything is sent to it.
func (w *world) madeTopic(queues int) (client admin.Admin, broker, topic string, err error) {
	_, _, first, err := w.topic()
	if err != nil {
		return nil, "", "", err
	}
	if broker, err = brokerOf(first.OffsetMsgID); err != nil {
		return nil, "", "", err
	}
	if client, err = admin.NewAdmin(admin.WithResolver(primitive.NewPassthroughResolver(w.namesrv))); err != nil {
		return nil, "", "", err
	}
	w.later(client.Close)
	topic = w.name("made")
	err = client.CreateTopic(context.Background(), admin.WithTopicCreate(topic), admin.WithBrokerAddrCreate(broker),
		admin.WithReadQueueNums(queues), admin.WithWriteQueueNums(queues))
	if err != nil {
		return nil, "", "", err
	}
	err = eventually(10*time.Second, func() error {
		found, err := client.FetchPublishMessageQueues(context.Background(), topic)
		if err != nil {
			return err
		}
		return same(queues, len(found), "queues")
	})
	return client, broker, topic, err
}
