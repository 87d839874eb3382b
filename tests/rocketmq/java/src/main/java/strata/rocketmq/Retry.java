package strata.rocketmq;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** A message that its consumer refuses comes again, later, as the same message of the same topic; the others do not. */
final class Retry implements Scenario {
    @Override
    public int seconds() {
        return 120;
    }

    @Override
    public void run(World world) throws Exception {
        String topic = world.topic(2);
        String group = world.group();
        Inbox inbox = new Inbox();
        Set<Long> delays = ConcurrentHashMap.newKeySet();
        List<Long> firstSeen = new ArrayList<>();
        var consumer = world.pushConsumer(group, topic);
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            MessageExt message = messages.get(0);
            inbox.put(message);
            context.setDelayLevelWhenNextConsume(1);
            if (!Inbox.text(message).equals("again")) {
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            }
            if (message.getReconsumeTimes() == 0) {
                firstSeen.add(System.currentTimeMillis());
                return ConsumeConcurrentlyStatus.RECONSUME_LATER;
            }
            delays.add(System.currentTimeMillis() - firstSeen.get(0));
            return message.getReconsumeTimes() < 2 ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        var producer = world.producer();
        Message again = new Message(topic, "Tag", "key", "again".getBytes());
        again.putUserProperty("mine", "kept");
        String id = producer.send(again).getMsgId();
        producer.send(new Message(topic, "once".getBytes()));
        Check.eventually(80, () -> inbox.times("again") == 3 ? null : "it came " + inbox.times("again") + " times, not 3");
        Thread.sleep(1500);
        Check.same(3, inbox.times("again"), "how often it came");
        Check.same(1, inbox.times("once"), "how often the other came");
        int times = 0;
        for (MessageExt message : inbox.all()) {
            if (Inbox.text(message).equals("again")) {
                Check.same(times++, message.getReconsumeTimes(), "times consumed again");
                Check.same(topic, message.getTopic(), "topic");
                Check.same("key", message.getKeys(), "keys");
                Check.same("Tag", message.getTags(), "tag");
                Check.same("kept", message.getUserProperty("mine"), "user property");
                Check.same(id, message.getMsgId(), "message id");
            }
        }
        for (long delay : delays) {
            Check.that(delay >= 900, "it came back after %d ms, before the level's second was over", delay);
        }
        Check.same(0, world.readAll("%RETRY%" + group).values().stream().flatMap(List::stream).filter(m -> m.getReconsumeTimes() == 0).toList().size(),
            "messages of the retry topic without a count");
    }
}
