package strata.rocketmq;

import java.util.HashSet;
import java.util.Set;
import org.apache.rocketmq.common.message.Message;

/** A group is sent back in time and forward to the end, while it consumes and while nobody is there. */
final class OffsetReset implements Scenario {
    @Override
    public int seconds() {
        return 150;
    }

    @Override
    public void run(World world) throws Exception {
        String topic = world.topic(2);
        String group = world.group();
        var producer = world.producer();
        Set<String> early = send(producer, topic, "early");
        Thread.sleep(1100);
        long between = System.currentTimeMillis();
        Thread.sleep(100);
        Set<String> late = send(producer, topic, "late");
        Set<String> all = new HashSet<>(early);
        all.addAll(late);
        Inbox inbox = new Inbox();
        var consumer = world.pushConsumer(group, topic);
        consumer.registerMessageListener(PushConcurrent.taking(inbox));
        consumer.start();
        inbox.expectOnce(60, all);

        // Live: the members are told, and begin again there.
        var reset = world.admin().resetOffsetByTimestamp(topic, group, between, true);
        Check.same(2, reset.size(), "queues that were reset");
        Check.same(20L, reset.values().stream().mapToLong(Long::longValue).sum(), "sum of the new offsets");
        Check.eventually(45, () -> late.stream().allMatch(body -> inbox.times(body) == 2) ? null : "not all later messages came again: " + inbox.size());
        Thread.sleep(500);
        for (String body : early) {
            Check.same(1, inbox.times(body), "how often " + body + " came");
        }
        consumer.shutdown();
        offline(world, topic, group, all);
    }

    private static void offline(World world, String topic, String group, Set<String> all) throws Exception {
        Check.eventually(10, () -> {
            long lag = world.admin().examineConsumeStats(group, topic).computeTotalDiff();
            return lag == 0 ? null : "the lag is " + lag;
        });
        var stats = world.admin().examineConsumeStats(group, topic);
        for (var queue : stats.getOffsetTable().keySet()) {
            world.admin().updateConsumeOffset(world.target.brokerAddress(), group, queue, 0);
        }
        Inbox inbox = new Inbox();
        var consumer = world.pushConsumer(group, topic);
        consumer.registerMessageListener(PushConcurrent.taking(inbox));
        consumer.start();
        inbox.expectOnce(60, all);
    }

    private static Set<String> send(org.apache.rocketmq.client.producer.DefaultMQProducer producer, String topic, String stem) throws Exception {
        Set<String> sent = new HashSet<>();
        for (int i = 0; i < 20; i++) {
            producer.send(new Message(topic, (stem + " " + i).getBytes()));
            sent.add(stem + " " + i);
        }
        return sent;
    }
}
