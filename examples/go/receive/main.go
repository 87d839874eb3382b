// Prints what comes, until Ctrl-C: `receive NAMESRV TOPIC`.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/rlog"
)

func main() {
	rlog.SetLogLevel("error")
	if err := receive(os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

func receive(namesrv, topic string) error {
	member, err := rocketmq.NewPushConsumer(consumer.WithNameServer(strings.Split(namesrv, ";")), consumer.WithGroupName("example-go-consumers"),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset))
	if err != nil {
		return err
	}
	print := func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		for _, message := range messages {
			fmt.Printf("queue %d, offset %d: %s\n", message.Queue.QueueId, message.QueueOffset, message.Body)
		}
		return consumer.ConsumeSuccess, nil
	}
	if err := member.Subscribe(topic, consumer.MessageSelector{}, print); err != nil {
		return err
	}
	if err := member.Start(); err != nil {
		return err
	}
	defer member.Shutdown()
	fmt.Println("waiting for messages of " + topic)
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)
	<-interrupted
	return nil
}
