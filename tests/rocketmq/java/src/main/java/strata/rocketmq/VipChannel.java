package strata.rocketmq;

import java.util.Set;
import org.apache.rocketmq.common.message.Message;

/** Old clients and the dashboard send to the port two below. */
final class VipChannel implements Scenario {
    @Override
    public void run(World world) throws Exception {
        String topic = world.topic(2);
        var producer = world.idleProducer(world.name("producers"));
        producer.setVipChannelEnabled(true);
        producer.start();
        Inbox inbox = new Inbox();
        var consumer = world.pushConsumer(world.group(), topic);
        consumer.setVipChannelEnabled(true);
        consumer.registerMessageListener(PushConcurrent.taking(inbox));
        consumer.start();
        String id = producer.send(new Message(topic, "vip".getBytes())).getOffsetMsgId();
        producer.send(java.util.List.of(new Message(topic, "in a batch".getBytes())));
        inbox.expectOnce(60, Set.of("vip", "in a batch"));
        Check.same("vip", Inbox.text(world.admin().viewMessage(topic, id)), "the message by its id");
        int port = Integer.parseInt(world.target.brokerAddress().split(":")[1]);
        Raw.code(0, world.raw().ask("127.0.0.1:" + (port - 2), 30, null, "topic", topic, "queueId", 0), "a request at the VIP port");
    }
}
