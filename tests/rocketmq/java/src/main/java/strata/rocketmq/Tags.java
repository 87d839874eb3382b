package strata.rocketmq;

import java.util.Set;
import org.apache.rocketmq.common.message.Message;

/** Filters by tag; Aa and BB have the same hash, which the broker cannot tell apart and the client must. */
final class Tags implements Scenario {
    @Override
    public void run(World world) throws Exception {
        String topic = world.topic(2);
        Inbox twoTags = new Inbox();
        Inbox collision = new Inbox();
        Inbox all = new Inbox();
        start(world, topic, "red || green", twoTags);
        start(world, topic, "Aa", collision);
        start(world, topic, "*", all);
        var producer = world.producer();
        for (String tag : new String[] {"red", "green", "blue", "Aa", "BB", null}) {
            for (int i = 0; i < 5; i++) {
                producer.send(new Message(topic, tag, (tag + " " + i).getBytes()));
            }
        }
        twoTags.expectOnce(60, Set.of("red 0", "red 1", "red 2", "red 3", "red 4", "green 0", "green 1", "green 2", "green 3", "green 4"));
        collision.expectOnce(60, Set.of("Aa 0", "Aa 1", "Aa 2", "Aa 3", "Aa 4"));
        Check.eventually(60, () -> all.size() == 30 ? null : all.size() + " of 30 arrived at the consumer of all tags");
    }

    private static void start(World world, String topic, String tags, Inbox inbox) throws Exception {
        var consumer = world.pushConsumer(world.group(), topic, tags);
        consumer.registerMessageListener(PushConcurrent.taking(inbox));
        consumer.start();
    }
}
