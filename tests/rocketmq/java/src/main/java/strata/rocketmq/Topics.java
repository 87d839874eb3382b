package strata.rocketmq;

import java.util.HashSet;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.Message;

/** A topic changes its queues and permission, is deleted, and begins at 0 when it is made again. */
final class Topics implements Scenario {
    @Override
    public void run(World world) throws Exception {
        String topic = world.topic(2);
        var admin = world.admin();
        String broker = world.target.brokerAddress();
        var producer = world.producer();
        for (int i = 0; i < 10; i++) {
            producer.send(new Message(topic, ("m" + i).getBytes()));
        }
        admin.createAndUpdateTopicConfig(broker, new TopicConfig(topic, 5, 3, 4));
        Check.eventually(10, () -> {
            var queues = admin.examineTopicRouteInfo(topic).getQueueDatas().get(0);
            String have = queues.getReadQueueNums() + " " + queues.getWriteQueueNums() + " " + queues.getPerm();
            return have.equals("5 3 4") ? null : "the route says " + have + ", not 5 3 4";
        });
        Check.eventually(10, () -> sum(world, topic) == 10 ? null : "topic stats count " + sum(world, topic));
        Check.that(admin.fetchAllTopicList().getTopicList().contains(topic), "the topic is not listed");
        var brokers = new HashSet<>(java.util.Set.of(broker));
        admin.deleteTopicInBroker(brokers, topic);
        for (String namesrv : world.target.nameServers()) {
            Raw.code(0, world.raw().ask(namesrv, 216, null, "topic", topic), "deleting the topic at a name server");
            Raw.code(17, world.raw().ask(namesrv, 105, null, "topic", topic), "the route of the deleted topic");
        }
        Check.that(!admin.fetchAllTopicList().getTopicList().contains(topic), "the topic is still listed");
        admin.createAndUpdateTopicConfig(broker, new TopicConfig(topic, 2, 2, 6));
        world.awaitRoute(topic, 1);
        Check.eventually(30, () -> sum(world, topic) == 0 ? null : "the topic that was made again has messages: " + sum(world, topic));
        Check.same(0L, world.producer().send(new Message(topic, "again".getBytes())).getQueueOffset(), "first offset of the new topic");
        Check.same("again", Inbox.text(world.readAll(topic, 1).get(0)), "its message");
        refused(world, topic, 0, 4);
        refused(world, topic, 4, -1);
    }

    private static long sum(World world, String topic) throws Exception {
        var stats = world.admin().examineTopicStats(topic);
        return stats.getOffsetTable().values().stream().mapToLong(offsets -> offsets.getMaxOffset() - offsets.getMinOffset()).sum();
    }

    /** Apache takes absurd counts; ours must not. */
    private static void refused(World world, String topic, int read, int write) throws Exception {
        if (!world.target.isApache()) {
            var answer = world.raw().ask(world.target.brokerAddress(), 17, null, "topic", topic, "defaultTopic", "TBW102", "readQueueNums", read,
                "writeQueueNums", write, "perm", 6, "topicFilterType", "SINGLE_TAG", "topicSysFlag", 0, "order", false);
            Check.that(answer.getCode() != 0, "%d read and %d write queues were accepted", read, write);
        }
    }
}
