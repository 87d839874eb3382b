package strata.rocketmq;

import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;

/** Pulls, offsets and counts on the wire: the codes and fields that clients decide by. */
final class PullCodes implements Scenario {
    @Override
    public void run(World world) throws Exception {
        String topic = world.topic(2);
        String broker = world.target.brokerAddress();
        Raw raw = world.raw();
        String group = world.group();
        var producer = world.producer();
        for (int i = 0; i < 6; i++) {
            producer.send(new Message(topic, i < 3 ? "A" : "B", ("m" + i).getBytes()));
        }
        long[] have = new long[2];
        for (int queue = 0; queue < 2; queue++) {
            have[queue] = Long.parseLong(raw.ask(broker, 30, null, "topic", topic, "queueId", queue).getExtFields().get("offset"));
        }
        Check.same(6L, have[0] + have[1], "sum of the maxima");
        // Group, topic and queue are looked at in this order; 26 first needs that groups are not made by asking.
        Raw.code(0, heartbeat(raw, broker, group, topic), "a heartbeat");
        Raw.code(17, pull(raw, broker, group, world.name("none"), 0, 0, 4), "a pull of an unknown topic");
        Raw.code(29, pull(raw, broker, group, topic, 2, 0, 4), "a pull of queue 2 of 2");
        Raw.code(16, pull(raw, broker, group, world.topic(2, 2, 2), 0, 0, 4), "a pull of a topic without R");
        RemotingCommand found = Raw.code(0, pull(raw, broker, group, topic, 0, 0, 4), "a pull");
        Check.same("" + have[0], found.getExtFields().get("nextBeginOffset"), "next offset");
        Check.same("0", found.getExtFields().get("minOffset"), "minimum");
        Check.same("" + have[0], found.getExtFields().get("maxOffset"), "maximum");
        Check.same("0", found.getExtFields().get("suggestWhichBrokerId"), "suggested broker");
        Raw.code(19, pull(raw, broker, group, topic, 0, have[0], 4), "a pull at the end that must not wait");
        Raw.code(21, pull(raw, broker, group, topic, 0, have[0] + 1, 4), "a pull beyond the end");
        Raw.code(21, pull(raw, broker, group, topic, 0, 99, 4), "a pull far beyond the end");
        long started = System.nanoTime();
        Raw.code(19, pull(raw, broker, group, topic, 0, have[0], 4 | 2), "a pull at the end that waits");
        Check.between(800, 8000, (System.nanoTime() - started) / 1_000_000, "milliseconds that a pull of one second waited");
        Raw.code(24, pull(raw, broker, world.group(), topic, 0, 0, 0), "a pull of a group without a heartbeat");

        Raw.code(22, raw.ask(broker, 14, null, "consumerGroup", group, "topic", topic, "queueId", 0, "setZeroIfNotFound", false), "an unknown offset");
        Raw.code(0, raw.ask(broker, 15, null, "consumerGroup", group, "topic", topic, "queueId", 0, "commitOffset", 2), "a commit");
        RemotingCommand offset = Raw.code(0, raw.ask(broker, 14, null, "consumerGroup", group, "topic", topic, "queueId", 0), "a known offset");
        Check.same("2", offset.getExtFields().get("offset"), "committed offset");
        Check.same("0", raw.ask(broker, 31, null, "topic", topic, "queueId", 0).getExtFields().get("offset"), "minimum");
        Check.same("-1", raw.ask(broker, 32, null, "topic", world.topic(1), "queueId", 0).getExtFields().get("timestamp"), "time of an empty queue");
        Raw.code(0, raw.ask(broker, 38, null, "consumerGroup", group), "the members of a group");
        Raw.code(1, raw.ask(broker, 38, null, "consumerGroup", world.group()), "the members of nobody's group");
        Raw.code(17, raw.ask(world.target.nameServers().get(0), 105, null, "topic", world.name("none")), "the route of an unknown topic");
    }

    private static RemotingCommand pull(Raw raw, String broker, String group, String topic, int queue, long offset, int flags) throws Exception {
        return raw.ask(broker, 11, null, "consumerGroup", group, "topic", topic, "queueId", queue, "queueOffset", offset, "maxMsgNums", 32,
            "sysFlag", flags, "commitOffset", 0, "suspendTimeoutMillis", 1000, "subscription", "*", "subVersion", 0, "expressionType", "TAG");
    }

    private static RemotingCommand heartbeat(Raw raw, String broker, String group, String topic) throws Exception {
        String body = "{\"clientID\":\"127.0.0.1@raw-" + group + "\",\"consumerDataSet\":[{\"consumeFromWhere\":\"CONSUME_FROM_FIRST_OFFSET\","
            + "\"consumeType\":\"CONSUME_ACTIVELY\",\"groupName\":\"" + group + "\",\"messageModel\":\"CLUSTERING\",\"subscriptionDataSet\":[{"
            + "\"classFilterMode\":false,\"codeSet\":[],\"expressionType\":\"TAG\",\"subString\":\"*\",\"subVersion\":1,\"tagsSet\":[],\"topic\":\""
            + topic + "\"}],\"unitMode\":false}],\"producerDataSet\":[]}";
        return raw.ask(broker, 34, body.getBytes());
    }
}
