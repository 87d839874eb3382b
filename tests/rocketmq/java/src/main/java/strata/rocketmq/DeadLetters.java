package strata.rocketmq;

import java.util.List;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** After the last try a message lies in its group's dead letters, whole: of concurrent and of orderly consumers. */
final class DeadLetters implements Scenario {
    @Override
    public int seconds() {
        return 180;
    }

    @Override
    public void run(World world) throws Exception {
        String topic = world.topic(1);
        String concurrent = world.group();
        String orderly = world.group();
        String atOnce = world.group();
        Inbox inbox = new Inbox();
        var consumer = world.pushConsumer(concurrent, topic);
        consumer.setMaxReconsumeTimes(2);
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            inbox.put(messages);
            context.setDelayLevelWhenNextConsume(1);
            return ConsumeConcurrentlyStatus.RECONSUME_LATER;
        });
        consumer.start();
        Inbox ordered = new Inbox();
        var second = world.pushConsumer(orderly, topic);
        second.setMaxReconsumeTimes(2);
        second.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
            ordered.put(messages);
            context.setSuspendCurrentQueueTimeMillis(100);
            return ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT;
        });
        second.start();
        // An orderly consumer brings the message there itself, by a producer that waits for 3 s; else it tries once more.
        second.getDefaultMQPushConsumerImpl().getmQClientFactory().getDefaultMQProducer().setSendMsgTimeout(World.PATIENCE);
        var third = world.pushConsumer(atOnce, topic);
        third.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            context.setDelayLevelWhenNextConsume(-1);
            return ConsumeConcurrentlyStatus.RECONSUME_LATER;
        });
        third.start();
        Message message = new Message(topic, "Tag", "dead-key", "dead".getBytes());
        message.putUserProperty("mine", "kept");
        var sent = world.producer().send(message);
        for (String group : List.of(concurrent, orderly, atOnce)) {
            MessageExt dead = await(world, group);
            Check.same("dead", Inbox.text(dead), "body");
            Check.same("Tag", dead.getTags(), "tag");
            Check.same("dead-key", dead.getKeys(), "keys");
            Check.same("kept", dead.getUserProperty("mine"), "user property");
            Check.same(topic, dead.getProperty("RETRY_TOPIC"), "RETRY_TOPIC");
            Check.same(sent.getMsgId(), dead.getMsgId(), "message id");
            Check.that(dead.getProperty("ORIGIN_MESSAGE_ID") != null, "ORIGIN_MESSAGE_ID is missing");
        }
        Check.same(3, inbox.size(), "tries of the concurrent consumer");
        Check.same(3, ordered.size(), "tries of the orderly consumer");
    }

    private static MessageExt await(World world, String group) throws Exception {
        String topic = "%DLQ%" + group;
        Check.eventually(90, () -> {
            try {
                return world.admin().examineTopicRouteInfo(topic).getQueueDatas().isEmpty() ? "no queue" : null;
            } catch (Exception e) {
                return topic + ": " + e;
            }
        });
        // The dead-letter topic of Apache is writable and readable since 4.9.2.
        return world.readAll(topic, 1).get(0);
    }
}
