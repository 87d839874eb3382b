package example;

import java.nio.charset.StandardCharsets;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;

/** Sends ten messages and prints where they are: `Producer NAMESRV TOPIC`. */
public final class Producer {
    private Producer() { }

    public static void main(String[] arguments) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer("example-producers");
        producer.setNamesrvAddr(arguments[0]);
        // Unless told otherwise it gives up after 3 s, which the first message may take on a machine with other things to do.
        producer.setSendMsgTimeout(15_000);
        producer.start();
        for (int i = 0; i < 10; i++) {
            Message message = new Message(arguments[1], "greeting", "order-" + i, ("hello " + i).getBytes(StandardCharsets.UTF_8));
            // SEND_OK: enough bookies have it on disk.
            System.out.println(producer.send(message));
        }
        producer.shutdown();
    }
}
