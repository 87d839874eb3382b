package strata.rocketmq;

/** Sends that no client of ours would let through, each with its own code. */
final class Refusals implements Scenario {
    @Override
    public void run(World world) throws Exception {
        Raw raw = world.raw();
        String broker = world.target.brokerAddress();
        String topic = world.topic(2);
        byte[] body = "x".getBytes();
        Raw.code(0, raw.send(broker, topic, 0, "", body), "a good send");
        Raw.code(29, raw.send(broker, topic, 2, "", body), "a send to queue 2 of 2");
        // Apache leaves this to its clients, who see no queue to write to.
        Raw.code(world.target.isApache() ? 0 : 16, raw.send(broker, world.topic(2, 2, 4), 0, "", body), "a send to a topic without W");
        Raw.code(29, raw.send(broker, "topic with spaces", 0, "", body), "a topic with spaces");
        Raw.code(29, raw.send(broker, "t".repeat(128), 0, "", body), "a topic of 128 characters");
        Raw.code(13, raw.send(broker, topic, 0, "", new byte[5 << 20]), "5 MiB");
        for (String system : new String[] {"SCHEDULE_TOPIC_XXXX", "RMQ_SYS_TRANS_HALF_TOPIC", "RMQ_SYS_TRANS_OP_HALF_TOPIC"}) {
            int code = raw.send(broker, system, 0, "", body).getCode();
            Check.that(code != 0, "a send to %s was accepted", system);
        }
        Raw.code(0, raw.send(broker, world.topic(4, 2, 6), 3, "", body), "a send between write and read queues");
        Check.same(1, world.readAll(topic, 1).size(), "messages that were stored");
    }
}
