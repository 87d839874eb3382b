package strata.rocketmq;

import java.util.HashSet;
import java.util.Set;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.common.message.Message;

/** Each member gets everything. */
final class PushBroadcast implements Scenario {
    @Override
    public void run(World world) throws Exception {
        String topic = world.topic(4);
        String group = world.group();
        Inbox first = new Inbox();
        Inbox second = new Inbox();
        start(world, group, topic, first);
        start(world, group, topic, second);
        var producer = world.producer();
        Set<String> sent = new HashSet<>();
        for (int i = 0; i < 100; i++) {
            producer.send(new Message(topic, ("to all " + i).getBytes()));
            sent.add("to all " + i);
        }
        first.expectOnce(60, sent);
        second.expectOnce(60, sent);
    }

    private static void start(World world, String group, String topic, Inbox inbox) throws Exception {
        DefaultMQPushConsumer consumer = world.pushConsumer(group, topic);
        // The enum has another package in 4.9 than in 5.
        var model = consumer.getMessageModel();
        consumer.setMessageModel(Enum.valueOf(model.getDeclaringClass(), "BROADCASTING"));
        consumer.registerMessageListener(PushConcurrent.taking(inbox));
        consumer.start();
    }
}
