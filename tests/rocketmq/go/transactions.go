package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

type listener struct {
	mutex sync.Mutex
	asked map[string]int
}

func (l *listener) ExecuteLocalTransaction(message *primitive.Message) primitive.LocalTransactionState {
	switch string(message.Body) {
	case "commit":
		return primitive.CommitMessageState
	case "rollback":
		return primitive.RollbackMessageState
	}
	return primitive.UnknowState
}

func (l *listener) CheckLocalTransaction(message *primitive.MessageExt) primitive.LocalTransactionState {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.asked[string(message.Body)]++
	if string(message.Body) == "late commit" {
		return primitive.CommitMessageState
	}
	return primitive.RollbackMessageState
}

func (l *listener) timesAsked(body string) int {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.asked[body]
}

// Commit, roll back, and both after the broker has asked.
func transactions(w *world) error {
	listening := &listener{asked: map[string]int{}}
	sender, err := rocketmq.NewTransactionProducer(listening, producer.WithNameServer(w.namesrv), producer.WithGroupName(w.name("producers")),
		producer.WithInstanceName(w.name("i")), producer.WithSendMsgTimeout(10*time.Second))
	if err != nil {
		return err
	}
	if err := sender.Start(); err != nil {
		return err
	}
	w.later(sender.Shutdown)
	topic, _, _, err := w.topic()
	if err != nil {
		return err
	}
	in := &inbox{}
	if _, err := w.pushConsumer(w.name("group"), topic, "*", in.take); err != nil {
		return err
	}
	for _, body := range []string{"commit", "rollback", "late commit", "late rollback"} {
		if _, err := sender.SendMessageInTransaction(context.Background(), primitive.NewMessage(topic, []byte(body))); err != nil {
			return err
		}
	}
	err = eventually(90*time.Second, func() error {
		if listening.timesAsked("late rollback") == 0 {
			return fmt.Errorf("nobody asked for the late rollback")
		}
		return nil
	})
	if err != nil {
		return err
	}
	return in.expectOnce(60*time.Second, []string{"first", "commit", "late commit"})
}
