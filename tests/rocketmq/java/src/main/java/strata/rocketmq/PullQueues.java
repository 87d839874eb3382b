package strata.rocketmq;

import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;

/** The pull consumer: every status with its offsets, searching by time, committing, a pull that waits. */
@SuppressWarnings("deprecation")
final class PullQueues implements Scenario {
    @Override
    public void run(World world) throws Exception {
        String topic = world.topic(2);
        MessageQueue queue = new MessageQueue(topic, world.target.brokerName(), 0);
        MessageQueue empty = new MessageQueue(topic, world.target.brokerName(), 1);
        var producer = world.producer();
        long[] storedAt = new long[50];
        for (int i = 0; i < 50; i++) {
            storedAt[i] = System.currentTimeMillis();
            producer.send(new Message(topic, i < 40 ? "A" : "B", ("m" + i).getBytes()), queue);
            Thread.sleep(i == 24 ? 50 : 0);
        }
        String group = world.group();
        DefaultMQPullConsumer consumer = world.pullConsumer(group);
        Check.eventually(5, () -> consumer.maxOffset(queue) == 50 ? null : "the maximum is " + consumer.maxOffset(queue));
        Check.same(0L, consumer.minOffset(queue), "minimum");
        Check.same(0L, consumer.maxOffset(empty), "maximum of the empty queue");
        Check.same(25L, consumer.searchOffset(queue, storedAt[25] - 10), "offset by time");
        Check.same(0L, consumer.searchOffset(queue, 1), "offset of long ago");
        Check.same(50L, consumer.searchOffset(queue, System.currentTimeMillis() + 60_000), "offset of the future");
        Check.between(storedAt[0] - 100, storedAt[0] + 5000, consumer.earliestMsgStoreTime(queue), "earliest store time");
        statuses(consumer, queue, empty);

        consumer.updateConsumeOffset(queue, 17);
        consumer.getOffsetStore().persist(queue);
        Check.eventually(5, () -> {
            long committed = consumer.fetchConsumeOffset(queue, true);
            return committed == 17 ? null : "the committed offset is " + committed;
        });
        Check.same(17L, world.pullConsumer(group).fetchConsumeOffset(queue, true), "committed offset, as another client sees it");
        waiting(consumer, empty, producer, topic);
    }

    private static void statuses(DefaultMQPullConsumer consumer, MessageQueue queue, MessageQueue empty) throws Exception {
        PullResult found = consumer.pull(queue, "*", 10, 5);
        look(found, PullStatus.FOUND, 15);
        Check.same(0L, found.getMinOffset(), "minimum of a pull");
        Check.same(50L, found.getMaxOffset(), "maximum of a pull");
        Check.same(List.of("m10", "m11", "m12", "m13", "m14"), found.getMsgFoundList().stream().map(Inbox::text).toList(), "messages");
        look(consumer.pull(queue, "*", 0, 100), PullStatus.FOUND, 32);
        PullResult nothing = consumer.pull(queue, "C", 0, 32);
        Check.same(PullStatus.NO_MATCHED_MSG, nothing.getPullStatus(), "status with a tag that is not there");
        Check.between(32, 50, nothing.getNextBeginOffset(), "next offset after nothing matched");
        PullResult filtered = consumer.pull(queue, "B", 35, 32);
        Check.same(PullStatus.FOUND, filtered.getPullStatus(), "status with a tag");
        Check.same(10, filtered.getMsgFoundList().size(), "messages of tag B");
        look(consumer.pull(queue, "*", 50, 32), PullStatus.NO_NEW_MSG, 50);
        look(consumer.pull(queue, "*", 51, 32), PullStatus.OFFSET_ILLEGAL, 50);
        look(consumer.pull(queue, "*", 1000, 32), PullStatus.OFFSET_ILLEGAL, 50);
        look(consumer.pull(empty, "*", 0, 32), PullStatus.NO_NEW_MSG, 0);
        look(consumer.pull(empty, "*", 7, 32), PullStatus.OFFSET_ILLEGAL, 0);
    }

    private static void look(PullResult result, PullStatus status, long next) {
        Check.same(status, result.getPullStatus(), "status");
        Check.same(next, result.getNextBeginOffset(), "next offset after " + status);
    }

    private static void waiting(DefaultMQPullConsumer consumer, MessageQueue queue, org.apache.rocketmq.client.producer.DefaultMQProducer producer,
            String topic) throws Exception {
        CompletableFuture<PullResult> held = CompletableFuture.supplyAsync(() -> {
            try {
                return consumer.pullBlockIfNotFound(queue, "*", 0, 32);
            } catch (Exception e) {
                throw new IllegalStateException(e);
            }
        });
        Thread.sleep(1500);
        Check.that(!held.isDone(), "a pull of an empty queue did not wait: %s", held);
        long sent = System.nanoTime();
        producer.send(new Message(topic, "wake".getBytes()), queue);
        PullResult woken = held.get(10, TimeUnit.SECONDS);
        Check.same(PullStatus.FOUND, woken.getPullStatus(), "status of the pull that waited");
        Check.same("wake", Inbox.text(woken.getMsgFoundList().get(0)), "what woke it");
        Check.between(0, 4000, (System.nanoTime() - sent) / 1_000_000, "milliseconds until it woke");
    }
}
