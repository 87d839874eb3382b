package strata.rocketmq;

import java.util.ArrayList;
import java.util.List;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageClientExt;
import org.apache.rocketmq.common.message.MessageExt;

/** A batch lies in one queue, in order, without holes; each message has an id of its own. */
final class SendBatch implements Scenario {
    @Override
    public void run(World world) throws Exception {
        String topic = world.topic(1);
        var producer = world.producer();
        producer.send(new Message(topic, "before".getBytes()));
        List<Message> batch = new ArrayList<>();
        for (int i = 0; i < 32; i++) {
            Message message = new Message(topic, "Tag" + i % 2, "batch-key-" + i, World.body("batch " + i, 10 + i));
            message.putUserProperty("at", "" + i);
            message.setFlag(i);
            batch.add(message);
        }
        SendResult result = producer.send(batch);
        Check.same(SendStatus.SEND_OK, result.getSendStatus(), "status");
        Check.same(1L, result.getQueueOffset(), "queue offset of the first");
        String[] ids = result.getOffsetMsgId().split(",");
        String[] keys = result.getMsgId().split(",");
        Check.same(32, ids.length, "offsetMsgIds");
        Check.same(32, keys.length, "msgIds");
        SendResult after = producer.send(new Message(topic, "after".getBytes()));
        Check.same(33L, after.getQueueOffset(), "queue offset of the next");

        List<MessageExt> all = world.readAll(topic, 34);
        for (int i = 0; i < 32; i++) {
            MessageExt message = all.get(i + 1);
            Check.same(i + 1L, message.getQueueOffset(), "queue offset of " + i);
            Check.bytes(World.body("batch " + i, 10 + i), message.getBody(), "body " + i);
            Check.same("" + i, message.getUserProperty("at"), "property");
            Check.same("Tag" + i % 2, message.getTags(), "tag");
            Check.same(i, message.getFlag(), "flag");
            Check.same(ids[i], ((MessageClientExt) message).getOffsetMsgId(), "offsetMsgId of " + i);
            Check.same(keys[i], message.getMsgId(), "msgId of " + i);
            Check.same(ids[i], ((MessageClientExt) world.admin().viewMessage(topic, ids[i])).getOffsetMsgId(), "viewed by id");
        }
    }
}
