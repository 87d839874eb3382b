package strata.rocketmq;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;

/** The same few topics, messages and members for every run of mqadmin; its names go into the commands. */
final class GoldenTraffic {
    static final String TOPIC = "GoldenTopic";
    static final String GROUP = "GoldenGroup";
    private static final String IDLE = "IdleGroup";
    private static final String TRACE = "GoldenTrace";
    private static final String PRODUCERS = "GoldenProducers";
    private static final int MESSAGES = 40;

    private GoldenTraffic() { }

    /** Sends, consumes and leaves one producer and one consumer connected; returns what {names} of commands stand for. */
    static Map<String, String> flow(World world) throws Exception {
        Target target = world.target;
        for (String topic : new String[] {TOPIC, "GoldenOther", TRACE}) {
            world.admin().createAndUpdateTopicConfig(target.brokerAddress(), new TopicConfig(topic, 4, 4, 6));
            world.awaitRoute(topic, 1);
        }
        var producer = world.idleProducer(PRODUCERS);
        producer.start();
        SendResult first = null;
        for (int i = 0; i < MESSAGES; i++) {
            Message message = new Message(TOPIC, "Tag" + i % 2, "golden-" + i, ("golden message " + i).getBytes());
            SendResult sent = producer.send(message, new MessageQueue(TOPIC, target.brokerName(), i % 4));
            first = first == null ? sent : first;
        }
        consume(world, IDLE).shutdown();
        // Its pulls are held until its connection is seen to be closed: what woke one would count as handed out.
        Thread.sleep(1500);
        for (int i = 0; i < 8; i++) {
            producer.send(new Message(TOPIC, "Late", "late-" + i, ("late " + i).getBytes()), new MessageQueue(TOPIC, target.brokerName(), i % 4));
        }
        var consumer = consume(world, GROUP);
        Check.eventually(45, () -> {
            long lag = world.admin().examineConsumeStats(GROUP, TOPIC).computeTotalDiff();
            return lag == 0 ? null : "the lag of " + GROUP + " is " + lag;
        });
        // The member commits its place in the retry topic when the first pull of that has ended.
        Check.eventually(60, () -> {
            var queues = world.admin().examineConsumeStats(GROUP).getOffsetTable().keySet();
            boolean committed = queues.stream().anyMatch(queue -> queue.getTopic().startsWith("%RETRY%")
                && queue.getBrokerName().equals(target.brokerName()));
            return committed ? null : "nothing is committed in the retry topic of " + GROUP;
        });
        // A member of 4.9 tells every broker of the cluster, of 5.5 those of its topics. One that took more than 10 ms to start
        // may hear of the others, and tell them, only 30 s later.
        var told = target.client.startsWith("4") ? target.brokers.values() : List.of(target.brokerAddress());
        Check.eventually(60, () -> {
            for (String address : told) {
                if (world.admin().examineSubscriptionGroupConfig(address, GROUP) == null) {
                    return address + " has no group " + GROUP;
                }
            }
            return null;
        });
        Map<String, String> names = new LinkedHashMap<>();
        names.put("namesrv", target.namesrv);
        names.put("broker", target.brokerAddress());
        names.put("brokerName", target.brokerName());
        names.put("folder", System.getProperty("user.home"));
        names.put("cluster", target.clusters().get(0));
        names.put("topic", TOPIC);
        names.put("group", GROUP);
        names.put("idle", IDLE);
        names.put("producers", PRODUCERS);
        names.put("id", first.getOffsetMsgId());
        names.put("nowhere", first.getOffsetMsgId().substring(0, 16) + "00000000FFFFFFFF");
        names.put("unique", first.getMsgId());
        names.put("traced", traced(world));
        names.put("client", consumer.getDefaultMQPushConsumerImpl().getmQClientFactory().getClientId());
        return names;
    }

    /** The key of a message that was sent with tracing on, once its trace can be found. The topic of traces is on one broker. */
    private static String traced(World world) throws Exception {
        var producer = new DefaultMQProducer("TracedProducers", true, TRACE);
        producer.setNamesrvAddr(world.target.namesrv);
        producer.setInstanceName(world.name("traced"));
        producer.start();
        String key = producer.send(new Message("GoldenOther", "traced".getBytes()), new MessageQueue("GoldenOther", world.target.brokerName(), 0)).getMsgId();
        Check.eventually(30, () -> {
            try {
                return world.admin().queryMessage(TRACE, key, 1, 0, Long.MAX_VALUE).getMessageList().isEmpty() ? "no trace" : null;
            } catch (MQClientException e) {
                return "the trace of " + key + ": " + e;
            }
        });
        producer.shutdown();
        return key;
    }

    private static org.apache.rocketmq.client.consumer.DefaultMQPushConsumer consume(World world, String group) throws Exception {
        Inbox inbox = new Inbox();
        var consumer = world.pushConsumer(group, TOPIC);
        consumer.registerMessageListener(PushConcurrent.taking(inbox));
        consumer.start();
        int expected = group.equals(GROUP) ? MESSAGES + 8 : MESSAGES;
        Check.eventually(60, () -> inbox.size() >= expected ? null : group + " got " + inbox.size() + " of " + expected);
        Thread.sleep(300);
        return consumer;
    }
}
