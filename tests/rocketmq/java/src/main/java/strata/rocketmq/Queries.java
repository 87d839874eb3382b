package strata.rocketmq;

import java.util.HashSet;
import java.util.Set;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** A message is found by its key, by both of its ids; what is not there is not found. */
final class Queries implements Scenario {
    @Override
    public void run(World world) throws Exception {
        String topic = world.topic(2);
        var producer = world.producer();
        // The time of an index entry may be rounded down to a second.
        long before = System.currentTimeMillis() - 1500;
        SendResult[] sent = new SendResult[20];
        for (int i = 0; i < 20; i++) {
            sent[i] = producer.send(new Message(topic, "Tag", "each-" + i + " half-" + i % 2 + " common", ("m" + i).getBytes()));
        }
        long after = System.currentTimeMillis() + 1000;
        var admin = world.admin();
        Check.eventually(10, () -> keyed(world, topic, "common", 64, before, after).size() == 20 ? null : "the key index is behind");
        Check.same(Set.of("m7"), keyed(world, topic, "each-7", 10, before, after), "messages of one key");
        Check.same(10, keyed(world, topic, "half-1", 64, before, after).size(), "messages of a key of ten");
        Check.same(5, keyed(world, topic, "common", 5, before, after).size(), "messages when five are asked for");
        for (String[] none : new String[][] {{"no-such-key", "0"}, {"common", "1"}}) {
            try {
                boolean longAgo = none[1].equals("1");
                var result = admin.queryMessage(topic, none[0], 10, longAgo ? 1 : before, longAgo ? before - 10_000 : after);
                throw new AssertionError(none[0] + " found " + result.getMessageList());
            } catch (MQClientException e) {
                Check.same(208, e.getResponseCode(), "code of the client when nothing is found");
            }
        }
        for (int i = 0; i < 20; i++) {
            MessageExt byOffset = admin.viewMessage(topic, sent[i].getOffsetMsgId());
            MessageExt byUnique = admin.viewMessage(topic, sent[i].getMsgId());
            Check.same("m" + i, Inbox.text(byOffset), "message by offsetMsgId");
            Check.same("m" + i, Inbox.text(byUnique), "message by unique key");
            Check.same(sent[i].getQueueOffset(), byUnique.getQueueOffset(), "queue offset");
            Check.same(sent[i].getMsgId(), byOffset.getMsgId(), "message id");
        }
        String id = sent[0].getOffsetMsgId();
        try {
            MessageExt found = admin.viewMessage(topic, id.substring(0, 16) + "7FFFFFFFFFFFFFF0");
            throw new AssertionError("found a message beyond the end: " + found);
        } catch (MQBrokerException e) {
            Check.same(1, e.getResponseCode(), "code for a message beyond the end");
        } catch (MQClientException e) {
            // The client tries the id as a unique key as well.
            Check.same(208, e.getResponseCode(), "code of the client for a message beyond the end");
        }
        Raw.code(1, world.raw().ask(world.target.brokerAddress(), 33, null, "offset", Long.MAX_VALUE - 20), "a message beyond the end");
    }

    private static Set<String> keyed(World world, String topic, String key, int most, long begin, long end) throws Exception {
        Set<String> bodies = new HashSet<>();
        try {
            for (MessageExt message : world.admin().queryMessage(topic, key, most, begin, end).getMessageList()) {
                Check.that(bodies.add(Inbox.text(message)), "%s came twice for key %s", Inbox.text(message), key);
            }
        } catch (MQClientException e) {
            Check.same(208, e.getResponseCode(), "code of a query that finds nothing");
        }
        return bodies;
    }
}
