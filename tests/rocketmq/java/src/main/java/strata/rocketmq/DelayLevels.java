package strata.rocketmq;

import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * The delay levels of these seconds: never early, hardly late, whole, in the queue that they were sent to. Messages of the
 * levels above are stored in the queues of theirs, and wait.
 */
final class DelayLevels implements Scenario {
    private static final int[] SECONDS = {1, 5, 10, 30, 60};
    private static final int ALL = 18;
    private final int levels;

    DelayLevels(int levels) {
        this.levels = levels;
    }

    @Override
    public boolean quick() {
        return levels <= 3;
    }

    @Override
    public int seconds() {
        return 120 + SECONDS[levels - 1];
    }

    @Override
    public void run(World world) throws Exception {
        String topic = world.topic(4);
        Map<String, Long> arrived = new ConcurrentHashMap<>();
        Inbox inbox = new Inbox();
        var consumer = world.pushConsumer(world.group(), topic);
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(message -> arrived.put(Inbox.text(message), System.currentTimeMillis()));
            inbox.put(messages);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        var producer = world.producer();
        producer.send(new Message(topic, "level 0".getBytes()));
        inbox.expect(60, Set.of("level 0"));
        Map<String, Long> sentAt = new HashMap<>();
        Map<String, String> idOf = new HashMap<>();
        Map<String, Integer> queueOf = new HashMap<>();
        Set<String> all = new HashSet<>(Set.of("level 0"));
        for (int i = 0; i < levels * 5; i++) {
            int level = i % levels + 1;
            String body = "level " + level + " number " + i;
            Message message = new Message(topic, "Tag", "delay-key", body.getBytes());
            message.setDelayTimeLevel(level);
            message.putUserProperty("level", "" + level);
            sentAt.put(body, System.currentTimeMillis());
            var result = producer.send(message);
            idOf.put(body, result.getMsgId());
            queueOf.put(body, result.getMessageQueue().getQueueId());
            all.add(body);
        }
        Map<Integer, SendResult> waiting = new TreeMap<>();
        for (int level = levels + 1; level <= ALL; level++) {
            Message message = new Message(topic, ("level " + level + " waits").getBytes());
            message.setDelayTimeLevel(level);
            waiting.put(level, producer.send(message));
        }
        inbox.expectOnce(40 + SECONDS[levels - 1], all);
        for (MessageExt message : inbox.all()) {
            String body = Inbox.text(message);
            if (sentAt.containsKey(body)) {
                int level = Integer.parseInt(message.getUserProperty("level"));
                Check.between(SECONDS[level - 1] * 1000L - 5, SECONDS[level - 1] * 1000L + 8000, arrived.get(body) - sentAt.get(body), "delay of " + body);
                Check.same(idOf.get(body), message.getMsgId(), "message id");
                Check.same(queueOf.get(body), message.getQueueId(), "queue");
                Check.same("delay-key", message.getKeys(), "keys");
                Check.same("Tag", message.getTags(), "tag");
                Check.same(topic, message.getTopic(), "topic");
            }
        }
        for (var each : waiting.entrySet()) {
            checkWaiting(world, topic, each.getKey(), each.getValue());
        }
    }

    private static void checkWaiting(World world, String topic, int level, SendResult sent) throws Exception {
        MessageExt message = world.admin().viewMessage(topic, sent.getOffsetMsgId());
        Check.same("level " + level + " waits", Inbox.text(message), "body");
        Check.same("SCHEDULE_TOPIC_XXXX", message.getTopic(), "topic in which level " + level + " waits");
        Check.same(level - 1, message.getQueueId(), "queue in which level " + level + " waits");
        Check.same(topic, message.getProperty(MessageConst.PROPERTY_REAL_TOPIC), "topic to which level " + level + " goes");
        Check.same("" + sent.getMessageQueue().getQueueId(), message.getProperty(MessageConst.PROPERTY_REAL_QUEUE_ID), "queue to which level " + level + " goes");
        Check.same(level, message.getDelayTimeLevel(), "delay level");
    }
}
