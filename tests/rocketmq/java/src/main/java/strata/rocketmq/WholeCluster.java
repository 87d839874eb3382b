package strata.rocketmq;

import java.util.HashSet;
import java.util.Set;
import org.apache.rocketmq.common.message.Message;

/** A topic on every broker: sends go round all of them, one consumer gets everything. */
final class WholeCluster implements Scenario {
    @Override
    public void run(World world) throws Exception {
        String topic = world.wideTopic(2);
        Inbox inbox = new Inbox();
        var consumer = world.pushConsumer(world.group(), topic);
        consumer.registerMessageListener(PushConcurrent.taking(inbox));
        consumer.start();
        var producer = world.producer();
        Set<String> sent = new HashSet<>();
        Set<String> brokers = new HashSet<>();
        for (int i = 0; i < 200; i++) {
            brokers.add(producer.send(new Message(topic, "Tag", "wide-key", ("m" + i).getBytes())).getMessageQueue().getBrokerName());
            sent.add("m" + i);
        }
        Check.same(world.target.brokers.keySet(), brokers, "brokers that were sent to");
        inbox.expectOnce(60, sent);
        long now = System.currentTimeMillis();
        Check.eventually(10, () -> {
            int found = world.admin().queryMessage(topic, "wide-key", 64, now - 60_000, now + 60_000).getMessageList().size();
            int most = Math.min(200, 64 * brokers.size());
            return found == most ? null : found + " messages were found by key, not " + most;
        });
        for (String cluster : world.target.clusters()) {
            Check.that(!world.admin().examineTopicRouteInfo(cluster).getBrokerDatas().isEmpty(), "no route for the cluster's name");
        }
    }
}
