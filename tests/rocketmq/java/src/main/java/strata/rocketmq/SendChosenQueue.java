package strata.rocketmq;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** The queue that a selector or the application names is the queue, and its order is the order of sending. */
final class SendChosenQueue implements Scenario {
    @Override
    public void run(World world) throws Exception {
        String topic = world.topic(4);
        var producer = world.producer();
        for (int i = 0; i < 60; i++) {
            int order = i % 3;
            var result = producer.send(new Message(topic, ("order " + order + " step " + i).getBytes()),
                (queues, message, argument) -> queues.get((Integer) argument), order);
            Check.same(order, result.getMessageQueue().getQueueId(), "queue of the result");
        }
        for (int i = 0; i < 5; i++) {
            producer.send(new Message(topic, ("direct " + i).getBytes()), new MessageQueue(topic, world.target.brokerName(), 3));
        }
        Map<Integer, Integer> steps = new HashMap<>();
        for (MessageExt message : world.readAll(topic, 65)) {
            String body = Inbox.text(message);
            int next = steps.merge(message.getQueueId(), 1, Integer::sum) - 1;
            String expected = message.getQueueId() == 3 ? "direct " + next
                : "order " + message.getQueueId() + " step " + (next * 3 + message.getQueueId());
            Check.same(expected, body, "message at " + next + " of queue " + message.getQueueId());
        }
        Check.same(List.of(20, 20, 20, 5), List.copyOf(steps.values()), "messages by queue");
    }
}
