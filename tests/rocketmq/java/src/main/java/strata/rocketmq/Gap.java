package strata.rocketmq;

import java.nio.charset.StandardCharsets;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;

/**
 * How long a producer with everyday settings is without an acknowledgement: `Gap NAMESRV SECONDS [MILLISECONDS between
 * looks at routes, 30,000 unless given]`. Prints `sending` once
 * it is at work, and at the end the longest time between two acknowledgements.
 */
public final class Gap {
    private static final int WARM = 20;

    private Gap() { }

    public static void main(String[] arguments) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer("gap-java");
        producer.setNamesrvAddr(arguments[0]);
        if (arguments.length > 2) {
            producer.setPollNameServerInterval(Integer.parseInt(arguments[2]));
        }
        producer.start();
        long end = 0;
        long last = 0;
        long longest = 0;
        int sent = 0;
        int failed = 0;
        while (end == 0 || System.nanoTime() < end) {
            boolean stored = false;
            try {
                Message message = new Message("gap-java", ("message " + sent).getBytes(StandardCharsets.UTF_8));
                stored = producer.send(message).getSendStatus() == SendStatus.SEND_OK;
            } catch (Exception e) {
                failed++;
            }
            long now = System.nanoTime();
            if (stored) {
                sent++;
                longest = sent > WARM ? Math.max(longest, now - last) : 0;
                last = now;
            }
            if (sent == WARM && end == 0) {
                System.out.println("sending");
                end = now + TimeUnit.SECONDS.toNanos(Long.parseLong(arguments[1]));
            }
            TimeUnit.MILLISECONDS.sleep(5);
        }
        boolean after = System.nanoTime() - last < TimeUnit.SECONDS.toNanos(1);
        System.out.printf("longest gap %.2f s, %d sent, %d failed%s%n", longest / 1e9, sent, failed, after ? "" : ", NOTHING at the end");
        Runtime.getRuntime().halt(after ? 0 : 1);
    }
}
