package strata.rocketmq;

import java.text.SimpleDateFormat;
import java.util.Date;
import java.util.HashSet;
import java.util.Set;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;

/** Where a new group begins: at the first message, or from a time on. At the last: see ConsumeFromLast. */
final class ConsumeFrom implements Scenario {
    @Override
    public void run(World world) throws Exception {
        String topic = world.topic(2);
        var producer = world.producer();
        Set<String> early = new HashSet<>();
        Set<String> late = new HashSet<>();
        for (int i = 0; i < 10; i++) {
            producer.send(new Message(topic, ("early " + i).getBytes()));
            early.add("early " + i);
        }
        // The client gives the time in whole seconds.
        Thread.sleep(2100);
        String between = new SimpleDateFormat("yyyyMMddHHmmss").format(new Date(System.currentTimeMillis() - 1000));
        for (int i = 0; i < 10; i++) {
            producer.send(new Message(topic, ("late " + i).getBytes()));
            late.add("late " + i);
        }
        // Offset 0 is given to a new group while the queue still has it; only a query that finds nothing makes the client decide.
        Inbox first = start(world, topic, ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET, null);
        Inbox since = start(world, topic, ConsumeFromWhere.CONSUME_FROM_TIMESTAMP, between);
        Set<String> all = new HashSet<>(early);
        all.addAll(late);
        first.expectOnce(60, all);
        // As long as for any other: a client that misses one round of its rebalance begins the next 20 s later.
        Check.eventually(60, () -> since.bodies().containsAll(late) ? null : "not all later messages arrived: " + since.bodies());
        Check.that(all.containsAll(since.bodies()), "strangers arrived: %s", since.bodies());
    }

    private static Inbox start(World world, String topic, ConsumeFromWhere where, String time) throws Exception {
        Inbox inbox = new Inbox();
        var consumer = world.pushConsumer(world.group(), topic);
        consumer.setConsumeFromWhere(where);
        if (time != null) {
            consumer.setConsumeTimestamp(time);
        }
        consumer.registerMessageListener(PushConcurrent.taking(inbox));
        consumer.start();
        return inbox;
    }
}
