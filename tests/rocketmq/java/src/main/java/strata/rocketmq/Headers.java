package strata.rocketmq;

import java.util.List;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;

/** Old and new send headers, in JSON and in binary, and a code that nobody knows. */
final class Headers implements Scenario {
    @Override
    public void run(World world) throws Exception {
        String topic = world.topic(1);
        String broker = world.target.brokerAddress();
        Raw raw = world.raw();
        Object[] old = {"producerGroup", "raw", "topic", topic, "defaultTopic", "TBW102", "defaultTopicQueueNums", 4, "queueId", 0, "sysFlag", 0,
            "bornTimestamp", 12345, "flag", 7, "properties", "KEYS\u0001a b\u0002", "reconsumeTimes", 0, "unitMode", false, "batch", false};
        Object[] letters = {"a", "raw", "b", topic, "c", "TBW102", "d", 4, "e", 0, "f", 0, "g", 12345, "h", 7, "i", "KEYS\u0001a b\u0002", "j", 0,
            "k", false, "m", false, "n", world.target.brokerName(), "unknown", "ignored"};
        stored(raw.ask(broker, 10, "one".getBytes(), old), 0);
        stored(raw.ask(broker, 310, "two".getBytes(), letters), 1);
        stored(raw.askBinary(broker, 10, "three".getBytes(), old), 2);
        stored(raw.askBinary(broker, 310, "four".getBytes(), letters), 3);
        Raw.code(3, raw.ask(broker, 31999, null), "code 31999");
        Raw.code(3, raw.askBinary(broker, 31999, null), "code 31999 in binary");
        Raw.code(3, raw.ask(world.target.nameServers().get(0), 31999, null), "code 31999 at the name server");
        List<MessageExt> all = world.readAll(topic, 4);
        for (int i = 0; i < 4; i++) {
            Check.same(List.of("one", "two", "three", "four").get(i), Inbox.text(all.get(i)), "body");
            Check.same(12345L, all.get(i).getBornTimestamp(), "born");
            Check.same(7, all.get(i).getFlag(), "flag");
            Check.same("a b", all.get(i).getKeys(), "keys");
        }
    }

    private static void stored(RemotingCommand answer, int offset) {
        Raw.code(0, answer, "a send");
        Check.same("" + offset, answer.getExtFields().get("queueOffset"), "queue offset");
        Check.same("0", answer.getExtFields().get("queueId"), "queue");
        Check.same(32, answer.getExtFields().get("msgId").length(), "length of msgId");
    }
}
