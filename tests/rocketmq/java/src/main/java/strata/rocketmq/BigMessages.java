package strata.rocketmq;

import java.util.ArrayList;
import java.util.List;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Four MiB go through, more is refused; a batch and properties have limits as well. */
final class BigMessages implements Scenario {
    private static final int MIB = 1 << 20;

    @Override
    public void run(World world) throws Exception {
        String topic = world.topic(1);
        var producer = world.idleProducer(world.name("producers"));
        producer.setCompressMsgBodyOverHowmuch(Integer.MAX_VALUE);
        producer.setMaxMessageSize(64 * MIB);
        producer.setSendMsgTimeout(20_000);
        producer.start();
        byte[] most = World.body("four", 4 * MIB);
        Check.same(SendStatus.SEND_OK, producer.send(new Message(topic, most)).getSendStatus(), "status");
        byte[] some = World.body("one", MIB);
        for (int i = 0; i < 3; i++) {
            producer.send(new Message(topic, some));
        }
        Check.refused(13, () -> producer.send(new Message(topic, new byte[5 * MIB])));
        Message wide = new Message(topic, "x".getBytes());
        wide.putUserProperty("wide", "x".repeat(33_000));
        Check.refused(13, () -> producer.send(wide));
        tooLargeBatch(world, topic);

        List<MessageExt> all = world.readAll(topic, 4);
        Check.bytes(most, all.get(0).getBody(), "four MiB");
        for (int i = 1; i < 4; i++) {
            Check.bytes(some, all.get(i).getBody(), "one MiB");
        }
    }

    private static void tooLargeBatch(World world, String topic) throws Exception {
        var producer = world.idleProducer(world.name("producers"));
        producer.setMaxMessageSize(64 * MIB);
        producer.setRetryTimesWhenSendFailed(0);
        producer.start();
        List<Message> batch = new ArrayList<>();
        for (int i = 0; i < 6; i++) {
            batch.add(new Message(topic, World.body("part", MIB)));
        }
        try {
            producer.send(batch);
        } catch (MQBrokerException e) {
            Check.same(13, e.getResponseCode(), "code of a batch of 6 MiB");
            return;
        } catch (MQClientException e) {
            // Apache answers 1, after which the client gives up its tries and says what the last one said.
            Check.same(1, ((MQBrokerException) e.getCause()).getResponseCode(), "code of a batch of 6 MiB");
            return;
        }
        throw new AssertionError("a batch of 6 MiB was stored");
    }
}
