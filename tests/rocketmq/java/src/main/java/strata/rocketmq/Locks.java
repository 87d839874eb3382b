package strata.rocketmq;

/** Locks of queues: one holder, per group, given back only by the holder. */
final class Locks implements Scenario {
    @Override
    public void run(World world) throws Exception {
        String topic = world.topic(2);
        String group = world.group();
        Raw raw = world.raw();
        Check.same(2, ask(world, raw, 41, group, "one", topic), "queues that the first got");
        Check.same(0, ask(world, raw, 41, group, "two", topic), "queues that the second got");
        Check.same(2, ask(world, raw, 41, group, "one", topic), "queues that the first still has");
        Check.same(2, ask(world, raw, 41, world.group(), "two", topic), "queues that another group got");
        ask(world, raw, 42, group, "two", topic);
        Check.same(0, ask(world, raw, 41, group, "two", topic), "queues that the second got after giving back what it had not");
        ask(world, raw, 42, group, "one", topic);
        Check.same(2, ask(world, raw, 41, group, "two", topic), "queues that the second got at last");
    }

    private static int ask(World world, Raw raw, int code, String group, String client, String topic) throws Exception {
        String name = world.target.brokerName();
        String queue = "{\"brokerName\":\"" + name + "\",\"queueId\":%d,\"topic\":\"" + topic + "\"}";
        String body = "{\"clientId\":\"" + client + "\",\"consumerGroup\":\"" + group + "\",\"mqSet\":["
            + String.format(queue, 0) + "," + String.format(queue, 1) + "]}";
        var answer = Raw.code(0, raw.ask(world.target.brokerAddress(), code, body.getBytes()), "code " + code);
        return answer.getBody() == null ? -1 : new String(answer.getBody()).split("\"queueId\"", -1).length - 1;
    }
}
