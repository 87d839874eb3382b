package strata.rocketmq;

import java.net.InetSocketAddress;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageClientExt;
import org.apache.rocketmq.common.message.MessageExt;

/** Every field of a message and of its send result, as a reader finds them again. */
final class SendSync implements Scenario {
    private static final int COUNT = 40;

    @Override
    public void run(World world) throws Exception {
        String topic = world.topic(4);
        var producer = world.producer();
        Map<Integer, Long> next = new HashMap<>();
        Map<String, SendResult> sent = new HashMap<>();
        long before = System.currentTimeMillis();
        for (int i = 0; i < COUNT; i++) {
            Message message = new Message(topic, "Tag" + i % 3, "key-" + i + " other-" + i, i, World.body("body-" + i, 1 + i * 37), true);
            message.putUserProperty("number", "property-" + i);
            SendResult result = producer.send(message);
            Check.same(SendStatus.SEND_OK, result.getSendStatus(), "status");
            int queue = result.getMessageQueue().getQueueId();
            Check.same(next.merge(queue, 1L, Long::sum) - 1, result.getQueueOffset(), "queue offset in queue " + queue);
            Check.same(world.target.brokerName(), result.getMessageQueue().getBrokerName(), "broker");
            Check.same("DefaultRegion", result.getRegionId(), "region");
            Check.same(32, result.getOffsetMsgId().length(), "length of offsetMsgId");
            sent.put(result.getMsgId(), result);
        }
        Check.same(4, next.size(), "queues that were used");
        for (MessageExt message : world.readAll(topic, COUNT)) {
            look(message, sent.remove(message.getMsgId()), world, before);
        }
        Check.same(0, sent.size(), "results without a message");
    }

    private static void look(MessageExt message, SendResult result, World world, long before) {
        Check.that(result != null, "%s was not sent", message);
        int i = message.getFlag();
        byte[] body = World.body("body-" + i, 1 + i * 37);
        Check.bytes(body, message.getBody(), "body " + i);
        Check.same("Tag" + i % 3, message.getTags(), "tag");
        Check.same("key-" + i + " other-" + i, message.getKeys(), "keys");
        Check.same("property-" + i, message.getUserProperty("number"), "user property");
        Check.same(result.getMessageQueue().getQueueId(), message.getQueueId(), "queue");
        Check.same(result.getQueueOffset(), message.getQueueOffset(), "queue offset");
        Check.same(result.getOffsetMsgId(), ((MessageClientExt) message).getOffsetMsgId(), "offsetMsgId");
        Check.same(world.target.brokerAddress(), text(message.getStoreHost()), "store host");
        Check.same("127.0.0.1", text(message.getBornHost()).split(":")[0], "born host");
        Check.between(before - 1000, System.currentTimeMillis() + 1000, message.getBornTimestamp(), "born");
        Check.between(before - 1000, System.currentTimeMillis() + 1000, message.getStoreTimestamp(), "stored");
        Check.same(0, message.getReconsumeTimes(), "times consumed again");
        Check.same(0, message.getSysFlag(), "sysFlag");
        Check.same(0L, message.getPreparedTransactionOffset(), "prepared transaction offset");
        Check.that(message.isWaitStoreMsgOK(), "WAIT is lost: %s", message.getProperties());
        Check.that(message.getStoreSize() > body.length, "stored size %d of %d bytes", message.getStoreSize(), body.length);
        Check.same(crc(body), message.getBodyCRC(), "CRC of the body");
        for (String name : Arrays.asList("UNIQ_KEY", "MSG_REGION", "TRACE_ON", "CLUSTER")) {
            Check.that(message.getProperty(name) != null, "property %s is missing: %s", name, message.getProperties());
        }
    }

    private static int crc(byte[] body) {
        var crc = new java.util.zip.CRC32();
        crc.update(body);
        return (int) (crc.getValue() & 0x7fffffff);
    }

    private static String text(java.net.SocketAddress address) {
        InetSocketAddress inet = (InetSocketAddress) address;
        return inet.getAddress().getHostAddress() + ":" + inet.getPort();
    }
}
