package strata.rocketmq;

import java.util.Set;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * A new group that wants only what comes from now on. RocketMQ gives it the beginning of a queue that is still whole and
 * young, and the end of any other; a group that has been there goes on where it was.
 */
final class ConsumeFromLast implements Scenario {
    @Override
    public int seconds() {
        return 240;
    }

    @Override
    public void run(World world) throws Exception {
        String topic = world.topic(1);
        var producer = world.producer();
        producer.send(new Message(topic, "early".getBytes()));
        String group = world.group();
        Inbox young = new Inbox();
        DefaultMQPushConsumer consumer = start(world, group, topic, young);
        young.expectOnce(60, Set.of("early"));
        consumer.shutdown();
        producer.send(new Message(topic, "meanwhile".getBytes()));
        Inbox again = new Inbox();
        start(world, group, topic, again);
        again.expectOnce(60, Set.of("meanwhile"));
        // Apache's broker does not shorten how long one topic is kept.
        if (!world.target.isApache()) {
            endOfAnOldQueue(world);
        }
    }

    private static void endOfAnOldQueue(World world) throws Exception {
        String topic = world.topic(1);
        keep(world, topic, 20_000);
        var producer = world.producer();
        MessageQueue queue = new MessageQueue(topic, world.target.brokerName(), 0);
        producer.send(new Message(topic, "gone".getBytes()), queue);
        String other = world.topic(1);
        // Old messages are given up from time to time while there are new ones, of any topic.
        Check.eventually(150, () -> {
            producer.send(new Message(other, "tick".getBytes()));
            Thread.sleep(400);
            return world.admin().minOffset(queue) > 0 ? null : "the queue still begins at 0";
        });
        // What comes now has to outlast a consumer of 5.5.0 whose pulls are refused until its next heartbeat, 30 s later.
        keep(world, topic, 3_600_000);
        producer.send(new Message(topic, "before".getBytes()), queue);
        String group = world.group();
        Raw.code(22, world.raw().ask(world.target.brokerAddress(), 14, null, "consumerGroup", group, "topic", topic, "queueId", 0),
            "the offset of a new group in an old queue");
        Inbox old = new Inbox();
        DefaultMQPushConsumer consumer = start(world, group, topic, old);
        Check.eventually(40, () -> {
            String client = consumer.getDefaultMQPushConsumerImpl().getmQClientFactory().getClientId();
            try {
                var running = world.admin().getConsumerRunningInfo(group, client, false);
                return running.getMqTable().containsKey(queue) ? null : "the new member reads no queue";
            } catch (Exception e) {
                return "the new member says nothing: " + e;
            }
        });
        producer.send(new Message(topic, "news".getBytes()), queue);
        old.expectOnce(60, Set.of("news"));
    }

    private static void keep(World world, String topic, int milliseconds) throws Exception {
        Raw.code(0, world.raw().ask(world.target.brokerAddress(), 17, null, "topic", topic, "defaultTopic", "TBW102", "readQueueNums", 1,
            "writeQueueNums", 1, "perm", 6, "topicFilterType", "SINGLE_TAG", "topicSysFlag", 0, "order", false,
            "attributes", "+reserve.time=" + milliseconds), "keeping messages for " + milliseconds + " ms");
    }

    private static DefaultMQPushConsumer start(World world, String group, String topic, Inbox inbox) throws Exception {
        var consumer = world.pushConsumer(group, topic);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET);
        consumer.registerMessageListener(PushConcurrent.taking(inbox));
        consumer.start();
        return consumer;
    }
}
