// Sends ten messages and prints where they are: `send NAMESRV TOPIC`.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
	"github.com/apache/rocketmq-client-go/v2/rlog"
)

func main() {
	rlog.SetLogLevel("error")
	if err := send(os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

func send(namesrv, topic string) error {
	sender, err := rocketmq.NewProducer(producer.WithNameServer(strings.Split(namesrv, ";")), producer.WithGroupName("example-producers"))
	if err != nil {
		return err
	}
	if err := sender.Start(); err != nil {
		return err
	}
	defer sender.Shutdown()
	for i := 0; i < 10; i++ {
		message := primitive.NewMessage(topic, []byte(fmt.Sprintf("hello %d", i))).WithTag("greeting")
		sent, err := sender.SendSync(context.Background(), message)
		if err != nil {
			return err
		}
		fmt.Println(sent)
	}
	return nil
}
