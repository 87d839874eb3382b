package strata.rocketmq;

import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.common.message.Message;

/** Members join and leave while messages flow: queues are shared evenly, nothing is lost, little comes twice. */
final class Rebalance implements Scenario {
    private volatile boolean sending = true;

    @Override
    public int seconds() {
        return 240;
    }

    @Override
    public void run(World world) throws Exception {
        String topic = world.topic(6);
        String group = world.group();
        Inbox inbox = new Inbox();
        Set<String> sent = new HashSet<>();
        var producer = world.producer();
        Thread sender = new Thread(() -> {
            for (int i = 0; sending; i++) {
                try {
                    producer.send(new Message(topic, ("m" + i).getBytes()));
                    synchronized (sent) {
                        sent.add("m" + i);
                    }
                    Thread.sleep(20);
                } catch (Exception e) {
                    throw new IllegalStateException(e);
                }
            }
        });
        var first = start(world, group, topic, inbox);
        sender.start();
        shares(world, group, topic, 6);
        var second = start(world, group, topic, inbox);
        shares(world, group, topic, 3, 3);
        start(world, group, topic, inbox);
        shares(world, group, topic, 2, 2, 2);
        first.shutdown();
        shares(world, group, topic, 3, 3);
        second.shutdown();
        shares(world, group, topic, 6);
        Check.eventually(60, () -> inbox.size() > 150 ? null : inbox.size() + " messages arrived");
        sending = false;
        sender.join();
        inbox.expect(30, sent);
        int twice = inbox.size() - sent.size();
        Check.that(twice <= sent.size() / 10 + 64, "%d of %d messages came twice", twice, sent.size());
    }

    private static DefaultMQPushConsumer start(World world, String group, String topic, Inbox inbox) throws Exception {
        var consumer = world.pushConsumer(group, topic);
        consumer.registerMessageListener(PushConcurrent.taking(inbox));
        consumer.start();
        return consumer;
    }

    /** How many queues each member pulls from, as the members themselves tell the broker. */
    private static void shares(World world, String group, String topic, Integer... expected) throws Exception {
        Check.eventually(60, () -> {
            Map<String, Integer> shares = new TreeMap<>();
            try {
                for (var connection : world.admin().examineConsumerConnectionInfo(group).getConnectionSet()) {
                    var running = world.admin().getConsumerRunningInfo(group, connection.getClientId(), false);
                    int queues = (int) running.getMqTable().keySet().stream().filter(queue -> queue.getTopic().equals(topic)).count();
                    shares.put(connection.getClientId(), queues);
                }
            } catch (Exception e) {
                return "connections of " + group + ": " + e;
            }
            return java.util.List.of(expected).equals(java.util.List.copyOf(shares.values())) ? null
                : "the members' shares are " + shares + ", not " + java.util.List.of(expected);
        });
    }
}
