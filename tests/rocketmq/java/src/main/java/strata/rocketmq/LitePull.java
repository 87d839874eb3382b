package strata.rocketmq;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** The lite pull consumer: subscribing with a commit, assigning, seeking, pausing, an offset by time. */
final class LitePull implements Scenario {
    @Override
    public void run(World world) throws Exception {
        String topic = world.topic(2);
        var producer = world.producer();
        Set<String> sent = new HashSet<>();
        for (int i = 0; i < 100; i++) {
            producer.send(new Message(topic, ("m" + i).getBytes()), new MessageQueue(topic, world.target.brokerName(), i % 2));
            sent.add("m" + i);
        }
        subscribed(world, topic, sent);
        assigned(world, topic);
    }

    private static void subscribed(World world, String topic, Set<String> sent) throws Exception {
        String group = world.group();
        DefaultLitePullConsumer consumer = world.litePullConsumer(group);
        consumer.subscribe(topic, "*");
        consumer.start();
        Inbox inbox = new Inbox();
        Check.eventually(60, () -> {
            inbox.put(consumer.poll(500));
            return inbox.size() >= 100 ? null : inbox.size() + " of 100 messages were polled";
        });
        inbox.expectOnce(1, sent);
        consumer.commitSync();
        for (int queue = 0; queue < 2; queue++) {
            MessageQueue each = new MessageQueue(topic, world.target.brokerName(), queue);
            Check.eventually(15, () -> {
                long committed = consumer.committed(each);
                return committed == 50 ? null : "committed in " + each + " is " + committed;
            });
        }
        consumer.shutdown();
        Check.eventually(10, () -> {
            long lag = world.admin().examineConsumeStats(group, topic).computeTotalDiff();
            return lag == 0 ? null : "the lag is " + lag;
        });
    }

    private static void assigned(World world, String topic) throws Exception {
        DefaultLitePullConsumer consumer = world.litePullConsumer(world.group());
        consumer.start();
        MessageQueue queue = consumer.fetchMessageQueues(topic).stream().filter(each -> each.getQueueId() == 1).findFirst().orElseThrow();
        consumer.assign(List.of(queue));
        // The client may hand out what a pull brings that was on its way when it was told to seek: let there be none.
        Inbox all = new Inbox();
        Check.eventually(20, () -> {
            all.put(consumer.poll(500));
            return all.size() >= 50 ? null : all.size() + " of 50 messages were polled";
        });
        consumer.seek(queue, 40);
        Check.same("m81", first(consumer), "first message after a seek to 40");
        consumer.seekToBegin(queue);
        Check.same("m1", first(consumer), "first message from the beginning");
        consumer.seekToEnd(queue);
        Check.same(0L, (long) consumer.poll(1500).size(), "messages at the end");
        Check.same(0L, consumer.offsetForTimestamp(queue, 1L), "offset of long ago");
        consumer.pause(List.of(queue));
        consumer.seek(queue, 10);
        Check.same(0L, (long) consumer.poll(1000).size(), "messages while paused");
        consumer.resume(List.of(queue));
        Check.same("m21", first(consumer), "first message after a pause");
    }

    /** The first message that is handed out; those behind it are taken too, up to the queue's last, so that no pull is under way. */
    private static String first(DefaultLitePullConsumer consumer) throws Exception {
        List<String> found = new ArrayList<>();
        Check.eventually(20, () -> {
            for (MessageExt message : consumer.poll(500)) {
                found.add(Inbox.text(message));
            }
            return found.contains("m99") ? null : "polled so far: " + found;
        });
        return found.get(0);
    }
}
