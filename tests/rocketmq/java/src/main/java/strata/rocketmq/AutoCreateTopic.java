package strata.rocketmq;

import java.util.Map;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;

/** A topic is made by the first message to it, with as many queues as its producer asks for, eight at most. */
final class AutoCreateTopic implements Scenario {
    @Override
    public void run(World world) throws Exception {
        for (var each : Map.of(4, 4, 8, 8, 16, 8).entrySet()) {
            String topic = world.name("auto");
            var producer = world.idleProducer(world.name("producers"));
            producer.setDefaultTopicQueueNums(each.getKey());
            producer.start();
            Check.same(SendStatus.SEND_OK, producer.send(new Message(topic, "first".getBytes())).getSendStatus(), "status");
            world.awaitRoute(topic, 1);
            var queues = world.admin().examineTopicRouteInfo(topic).getQueueDatas().get(0);
            Check.same(each.getValue(), queues.getWriteQueueNums(), "write queues when " + each.getKey() + " were asked for");
            Check.same(each.getValue(), queues.getReadQueueNums(), "read queues when " + each.getKey() + " were asked for");
            Check.same(6, queues.getPerm(), "permission");
            Check.same("first", Inbox.text(world.readAll(topic, 1).get(0)), "the message");
        }
        var answer = world.raw().ask(world.target.brokerAddress(), 310, "x".getBytes(), "a", "raw", "b", world.name("none"), "c", "NoSuchTemplate",
            "d", 4, "e", 0, "f", 0, "g", System.currentTimeMillis(), "h", 0, "i", "", "j", 0, "k", false, "m", false);
        Raw.code(17, answer, "a send to an unknown topic with an unknown template");
    }
}
