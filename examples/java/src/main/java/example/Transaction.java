package example;

import java.nio.charset.StandardCharsets;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * Messages that are seen only if the work that goes with them succeeds: `Transaction NAMESRV TOPIC`. Payment 0 succeeds,
 * payment 1 fails; of payment 2 nothing is known until the broker asks, which takes up to a minute.
 */
public final class Transaction {
    private Transaction() { }

    public static void main(String[] arguments) throws Exception {
        CountDownLatch asked = new CountDownLatch(1);
        TransactionMQProducer producer = new TransactionMQProducer("example-payments");
        producer.setNamesrvAddr(arguments[0]);
        producer.setSendMsgTimeout(15_000);
        producer.setTransactionListener(new TransactionListener() {
            @Override
            public LocalTransactionState executeLocalTransaction(Message message, Object payment) {
                return switch ((int) payment) {
                    case 0 -> LocalTransactionState.COMMIT_MESSAGE;
                    case 1 -> LocalTransactionState.ROLLBACK_MESSAGE;
                    default -> LocalTransactionState.UNKNOW;
                };
            }

            @Override
            public LocalTransactionState checkLocalTransaction(MessageExt message) {
                System.out.println("asked about " + message.getTransactionId() + ": it is paid");
                asked.countDown();
                return LocalTransactionState.COMMIT_MESSAGE;
            }
        });
        producer.start();
        for (int payment = 0; payment < 3; payment++) {
            Message message = new Message(arguments[1], ("payment " + payment).getBytes(StandardCharsets.UTF_8));
            System.out.println(producer.sendMessageInTransaction(message, payment));
        }
        if (!asked.await(90, TimeUnit.SECONDS)) {
            throw new IllegalStateException("the broker did not ask about payment 2");
        }
        // The answer goes out after the check has returned.
        Thread.sleep(500);
        producer.shutdown();
    }
}
