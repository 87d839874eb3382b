package strata.rocketmq;

import java.util.HashSet;
import java.util.Set;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;

/** Queue -1: the broker chooses. */
final class SendAnyQueue implements Scenario {
    @Override
    public void run(World world) throws Exception {
        String topic = world.topic(4);
        var producer = world.producer();
        Set<Integer> queues = new HashSet<>();
        for (int i = 0; i < 40; i++) {
            var result = producer.send(new Message(topic, "any".getBytes()), new MessageQueue(topic, world.target.brokerName(), -1));
            Check.between(0, 3, result.getMessageQueue().getQueueId(), "queue");
            queues.add(result.getMessageQueue().getQueueId());
        }
        Check.that(queues.size() > 1, "all 40 went to queue %s", queues);
        RemotingCommand answer = Raw.code(0, world.raw().send(world.target.brokerAddress(), topic, -1, "", "raw".getBytes()), "a send to queue -1");
        int chosen = Integer.parseInt(answer.getExtFields().get("queueId"));
        MessageExt raw = null;
        for (MessageExt message : world.readAll(topic, 41)) {
            raw = Inbox.text(message).equals("raw") ? message : raw;
        }
        Check.that(raw != null, "the raw message is missing");
        Check.same(chosen, raw.getQueueId(), "queue of the raw message");
        Check.same(answer.getExtFields().get("queueOffset"), "" + raw.getQueueOffset(), "its offset");
        Check.that(raw.getProperty("UNIQ_KEY") != null, "the broker gave no UNIQ_KEY: %s", raw.getProperties());
    }
}
