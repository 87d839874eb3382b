package strata.rocketmq;

import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.common.message.Message;

/** What a broker tells of a group: its members, their subscriptions, its lag; and of a producer group. */
final class Groups implements Scenario {
    @Override
    public void run(World world) throws Exception {
        String topic = world.topic(2);
        String group = world.group();
        String producers = world.name("producers");
        var admin = world.admin();
        var producer = world.idleProducer(producers);
        producer.start();
        for (int i = 0; i < 20; i++) {
            producer.send(new Message(topic, "A", ("m" + i).getBytes()));
        }
        Raw.code(206, world.raw().ask(world.target.brokerAddress(), 203, null, "consumerGroup", group), "the connections of a group that is not there");
        Inbox inbox = new Inbox();
        var consumer = world.pushConsumer(group, topic, "A || B");
        consumer.registerMessageListener(PushConcurrent.taking(inbox));
        consumer.start();
        Check.eventually(60, () -> inbox.size() == 20 ? null : inbox.size() + " of 20 arrived");
        var connections = admin.examineConsumerConnectionInfo(group);
        Check.same(1, connections.getConnectionSet().size(), "connections");
        var connection = connections.getConnectionSet().iterator().next();
        Check.same("JAVA", connection.getLanguage().name(), "language");
        Check.that(connection.getVersion() > 0, "version %d", connection.getVersion());
        Check.same("CONSUME_PASSIVELY", connections.getConsumeType().name(), "consume type");
        Check.same("CLUSTERING", connections.getMessageModel().name(), "model");
        Check.same("CONSUME_FROM_FIRST_OFFSET", connections.getConsumeFromWhere().name(), "consume from");
        Check.same("A || B", connections.getSubscriptionTable().get(topic).getSubString(), "subscription");
        var running = admin.getConsumerRunningInfo(group, connection.getClientId(), true);
        Check.same(2L, running.getMqTable().keySet().stream().filter(queue -> queue.getTopic().equals(topic)).count(), "queues that run");
        Check.that(running.getJstack() != null && running.getJstack().contains("Thread"), "no stack came");
        Check.that(admin.queryTopicConsumeByWho(topic).getGroupList().contains(group), "the topic does not know its group");
        // A 4.9 producer makes itself known with its second heartbeat.
        Check.eventually(45, () -> producerIsKnown(world, producers, topic));
        String id = inbox.all().get(0).getMsgId();
        var direct = admin.consumeMessageDirectly(group, connection.getClientId(), topic, id);
        Check.same("CR_SUCCESS", direct.getConsumeResult().name(), "result of consuming directly");
        Check.same(21, inbox.size(), "messages after one more was consumed directly");
        consumer.shutdown();
        Check.eventually(10, () -> world.raw().ask(world.target.brokerAddress(), 203, null, "consumerGroup", group).getCode() == 206 ? null
            : "the member is still there after it left");
    }

    private static String producerIsKnown(World world, String group, String topic) throws Exception {
        try {
            int connections = world.admin().examineProducerConnectionInfo(group, topic).getConnectionSet().size();
            return connections == 1 ? null : connections + " producers are connected";
        } catch (MQBrokerException e) {
            Check.same(1, e.getResponseCode(), "code for a producer group that is not there");
            return e.toString();
        }
    }
}
