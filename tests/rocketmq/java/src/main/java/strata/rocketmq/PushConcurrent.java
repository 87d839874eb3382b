package strata.rocketmq;

import java.util.HashSet;
import java.util.Set;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.common.message.Message;

/** What lay there and what comes now arrives once; the offsets are committed, so that the next member gets only news. */
final class PushConcurrent implements Scenario {
    @Override
    public void run(World world) throws Exception {
        String topic = world.topic(4);
        String group = world.group();
        var producer = world.producer();
        Set<String> sent = new HashSet<>();
        for (int i = 0; i < 200; i++) {
            producer.send(new Message(topic, ("old " + i).getBytes()));
            sent.add("old " + i);
        }
        Inbox inbox = new Inbox();
        var consumer = world.pushConsumer(group, topic);
        consumer.setConsumeMessageBatchMaxSize(8);
        consumer.registerMessageListener(taking(inbox));
        consumer.start();
        inbox.expect(60, sent);
        for (int i = 0; i < 50; i++) {
            producer.send(new Message(topic, ("new " + i).getBytes()));
            sent.add("new " + i);
        }
        inbox.expectOnce(60, sent);
        consumer.shutdown();
        var stats = world.admin().examineConsumeStats(group, topic);
        Check.same(4, stats.getOffsetTable().size(), "queues with an offset");
        Check.same(0L, stats.computeTotalDiff(), "lag after the consumer has stopped");

        producer.send(new Message(topic, "latest".getBytes()));
        Inbox second = new Inbox();
        var next = world.pushConsumer(group, topic);
        next.registerMessageListener(taking(second));
        next.start();
        second.expectOnce(60, Set.of("latest"));
    }

    static MessageListenerConcurrently taking(Inbox inbox) {
        return (messages, context) -> {
            inbox.put(messages);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        };
    }
}
