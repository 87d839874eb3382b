package strata.rocketmq;

import java.util.Set;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** The producer that began a transaction is gone: another of its group is asked. */
final class CheckAnyProducer implements Scenario {
    @Override
    public int seconds() {
        return 120;
    }

    @Override
    public void run(World world) throws Exception {
        String topic = world.topic(1);
        String group = world.name("producers");
        TransactionMQProducer gone = start(world, group, LocalTransactionState.UNKNOW);
        // A producer tells the brokers of topics that it has sent to that it is there.
        start(world, group, LocalTransactionState.COMMIT_MESSAGE).send(new Message(topic, "plain".getBytes()));
        Inbox inbox = new Inbox();
        var consumer = world.pushConsumer(world.group(), topic);
        consumer.registerMessageListener(PushConcurrent.taking(inbox));
        consumer.start();
        gone.sendMessageInTransaction(new Message(topic, "orphan".getBytes()), null);
        gone.shutdown();
        inbox.expectOnce(70, Set.of("plain", "orphan"));
    }

    private static TransactionMQProducer start(World world, String group, LocalTransactionState answer) throws Exception {
        TransactionMQProducer producer = world.transactionProducer(group);
        producer.setTransactionListener(new TransactionListener() {
            @Override
            public LocalTransactionState executeLocalTransaction(Message message, Object argument) {
                return LocalTransactionState.UNKNOW;
            }

            @Override
            public LocalTransactionState checkLocalTransaction(MessageExt message) {
                return answer;
            }
        });
        producer.start();
        return producer;
    }
}
