package strata.rocketmq;

import java.util.HashSet;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Many in flight on one connection: every callback comes once and names the place of its own message. */
final class SendAsync implements Scenario {
    private static final int COUNT = 500;

    @Override
    public void run(World world) throws Exception {
        String topic = world.topic(4);
        var producer = world.producer();
        CountDownLatch left = new CountDownLatch(COUNT);
        ConcurrentHashMap<String, String> placeOf = new ConcurrentHashMap<>();
        Set<String> failures = ConcurrentHashMap.newKeySet();
        for (int i = 0; i < COUNT; i++) {
            String body = "message " + i;
            producer.send(new Message(topic, body.getBytes()), new SendCallback() {
                @Override
                public void onSuccess(SendResult result) {
                    String old = placeOf.put(body, place(result.getMessageQueue().getQueueId(), result.getQueueOffset()));
                    if (old != null || result.getSendStatus() != SendStatus.SEND_OK) {
                        failures.add(result.toString());
                    }
                    left.countDown();
                }

                @Override
                public void onException(Throwable e) {
                    failures.add(e.toString());
                    left.countDown();
                }
            });
        }
        Check.that(left.await(30, TimeUnit.SECONDS), "%d callbacks are missing", left.getCount());
        Check.same(Set.of(), failures, "failures");
        Check.same(COUNT, new HashSet<>(placeOf.values()).size(), "places");
        for (MessageExt message : world.readAll(topic, COUNT)) {
            Check.same(place(message.getQueueId(), message.getQueueOffset()), placeOf.get(Inbox.text(message)), "place of " + Inbox.text(message));
        }
    }

    private static String place(int queue, long offset) {
        return queue + "/" + offset;
    }
}
