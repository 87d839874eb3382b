package strata.rocketmq;

import java.util.Set;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** A namespace is a prefix with % that the client puts before names and takes away again. */
@SuppressWarnings("deprecation")
final class Namespaces implements Scenario {
    @Override
    public void run(World world) throws Exception {
        String topic = world.name("topic");
        world.admin().createAndUpdateTopicConfig(world.target.brokerAddress(), new TopicConfig("space%" + topic, 2, 2, 6));
        world.awaitRoute("space%" + topic, 1);
        var producer = world.idleProducer(world.name("producers"));
        producer.setNamespace("space");
        producer.start();
        Inbox inbox = new Inbox();
        var consumer = world.pushConsumer(world.group(), topic);
        consumer.unsubscribe(topic);
        consumer.setNamespace("space");
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener(PushConcurrent.taking(inbox));
        consumer.start();
        producer.send(new Message(topic, "in a namespace".getBytes()));
        inbox.expectOnce(60, Set.of("in a namespace"));
        for (MessageExt message : inbox.all()) {
            Check.same(topic, message.getTopic(), "topic as the consumer sees it");
        }
    }
}
