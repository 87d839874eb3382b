package strata.rocketmq;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;

/** Order within each queue, also when a message has to be tried again before the next one. */
final class PushOrderly implements Scenario {
    @Override
    public void run(World world) throws Exception {
        String topic = world.topic(3);
        var producer = world.producer();
        Map<Integer, List<String>> sent = new TreeMap<>();
        Set<String> all = new HashSet<>();
        for (int i = 0; i < 90; i++) {
            String body = "step " + i;
            producer.send(new Message(topic, body.getBytes()), new MessageQueue(topic, world.target.brokerName(), i % 3));
            sent.computeIfAbsent(i % 3, q -> new ArrayList<>()).add(body);
            all.add(body);
        }
        Set<String> refusedOnce = ConcurrentHashMap.newKeySet();
        Inbox inbox = new Inbox();
        var consumer = world.pushConsumer(world.group(), topic);
        consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
            String body = Inbox.text(messages.get(0));
            if (body.endsWith("5") && refusedOnce.add(body)) {
                context.setSuspendCurrentQueueTimeMillis(100);
                return ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT;
            }
            inbox.put(messages);
            return ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        inbox.expectOnce(60, all);
        Check.same(9, refusedOnce.size(), "messages that were tried again");
        Check.same(sent, inbox.byQueue(), "order by queue");
    }
}
