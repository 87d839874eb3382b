package strata.rocketmq;

import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.topic.TopicValidator;

/** Clients with tracing on: what they did is found by the message's key, in the topic that the first of them makes. */
final class Traces implements Scenario {
    @Override
    public void run(World world) throws Exception {
        String topic = world.topic(1);
        DefaultMQProducer producer = new DefaultMQProducer(world.name("producers"), true, null);
        producer.setNamesrvAddr(world.target.namesrv);
        producer.setInstanceName(world.name("i"));
        world.closing(producer::shutdown);
        producer.start();
        String key = producer.send(new Message(topic, "traced".getBytes())).getMsgId();
        awaitTrace(world, key, "Pub");
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(world.group(), true, null);
        consumer.setNamesrvAddr(world.target.namesrv);
        consumer.setInstanceName(world.name("i"));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener(PushConcurrent.taking(inbox));
        world.closing(consumer::shutdown);
        consumer.start();
        awaitTrace(world, key, "SubAfter");
        Check.same(1, inbox.size(), "messages that arrived");
    }

    private static void awaitTrace(World world, String key, String kind) throws Exception {
        Check.eventually(60, () -> {
            try {
                var traces = world.admin().queryMessage(TopicValidator.RMQ_SYS_TRACE_TOPIC, key, 32, 0, Long.MAX_VALUE).getMessageList();
                return traces.stream().anyMatch(trace -> Inbox.text(trace).contains(kind)) ? null : "no trace has " + kind;
            } catch (MQClientException e) {
                return "the trace of " + key + ": " + e;
            }
        });
    }
}
