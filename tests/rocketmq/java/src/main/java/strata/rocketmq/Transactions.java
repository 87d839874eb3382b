package strata.rocketmq;

import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Commit, roll back, and both after the broker has asked; what is not committed is never seen. */
final class Transactions implements Scenario {
    private final Map<String, Integer> asked = new ConcurrentHashMap<>();
    private final Map<String, String> idWhenAsked = new ConcurrentHashMap<>();
    /** What was consumed before it was committed. */
    private final Set<String> tooEarly = ConcurrentHashMap.newKeySet();
    private Inbox inbox;

    private final TransactionListener listener = new TransactionListener() {
        @Override
        public LocalTransactionState executeLocalTransaction(Message message, Object argument) {
            return (LocalTransactionState) argument;
        }

        @Override
        public LocalTransactionState checkLocalTransaction(MessageExt message) {
            String body = Inbox.text(message);
            idWhenAsked.put(body, message.getTransactionId() + " " + message.getTopic() + " " + message.getKeys());
            int times = asked.merge(body, 1, Integer::sum);
            int decided = body.equals("second commit") ? 2 : 1;
            if (times <= decided && inbox.bodies().contains(body)) {
                tooEarly.add(body);
            }
            if (body.endsWith(" commit") && times >= decided) {
                return LocalTransactionState.COMMIT_MESSAGE;
            }
            return body.equals("late rollback") ? LocalTransactionState.ROLLBACK_MESSAGE : LocalTransactionState.UNKNOW;
        }
    };

    @Override
    public int seconds() {
        return 120;
    }

    @Override
    public void run(World world) throws Exception {
        asked.clear();
        tooEarly.clear();
        inbox = new Inbox();
        String topic = world.topic(4);
        var producer = world.transactionProducer(world.name("producers"));
        producer.setTransactionListener(listener);
        producer.start();
        var consumer = world.pushConsumer(world.group(), topic);
        consumer.registerMessageListener(PushConcurrent.taking(inbox));
        consumer.start();
        String committed = send(producer, topic, "commit", LocalTransactionState.COMMIT_MESSAGE);
        send(producer, topic, "rollback", LocalTransactionState.ROLLBACK_MESSAGE);
        String late = send(producer, topic, "late commit", LocalTransactionState.UNKNOW);
        String lateRollback = send(producer, topic, "late rollback", LocalTransactionState.UNKNOW);
        send(producer, topic, "second commit", LocalTransactionState.UNKNOW);
        // The consumer may be so late with its first message (docs/compatibility.md) that it finds all three.
        inbox.expectOnce(100, Set.of("commit", "late commit", "second commit"));
        Check.same(Set.of(), tooEarly, "consumed before they were committed");
        Check.same(1, asked.get("late rollback"), "times asked for the rollback");
        Check.that(asked.get("second commit") >= 2, "asked %d times for the second commit", asked.get("second commit"));
        Check.that(!asked.containsKey("commit") && !asked.containsKey("rollback"), "asked for what had ended: %s", asked);
        Check.same(late + " " + topic + " key of late commit", idWhenAsked.get("late commit"), "message of the check");
        Check.same(lateRollback + " " + topic + " key of late rollback", idWhenAsked.get("late rollback"), "message of the check");
        for (MessageExt message : inbox.all()) {
            if (Inbox.text(message).equals("commit")) {
                Check.same(committed, message.getMsgId(), "message id");
                Check.same(committed, message.getTransactionId(), "transaction id");
                Check.same("key of commit", message.getKeys(), "keys");
                Check.same("kept", message.getUserProperty("mine"), "user property");
                Check.same(8, message.getSysFlag() & 0xC, "transaction bits of sysFlag");
            }
        }
    }

    private static String send(org.apache.rocketmq.client.producer.TransactionMQProducer producer, String topic, String body,
            LocalTransactionState state) throws Exception {
        Message message = new Message(topic, "Tag", "key of " + body, body.getBytes());
        message.putUserProperty("mine", "kept");
        var result = producer.sendMessageInTransaction(message, state);
        Check.same(state, result.getLocalTransactionState(), "state of " + body);
        Check.that(result.getTransactionId() != null, "no transaction id");
        return result.getMsgId();
    }
}
