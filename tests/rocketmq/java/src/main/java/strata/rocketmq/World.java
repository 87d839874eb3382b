package strata.rocketmq;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.Deque;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** What one scenario works with: topics, groups and clients of its own, all closed at its end. */
final class World implements AutoCloseable {
    /** How long a request may take, in ms: a machine that has other things to do is no failure of the server. */
    static final int PATIENCE = 15_000;
    private static final AtomicInteger COUNTER = new AtomicInteger();
    final Target target;
    private final String stem;
    private final Deque<Runnable> closers = new ArrayDeque<>();

    World(Target target, String scenario) {
        this.target = target;
        // Another version's may begin in the same second, on the same servers.
        this.stem = (scenario + " " + target.client).replaceAll("[^a-zA-Z0-9]+", "-") + "-" + Long.toString(System.currentTimeMillis() / 1000, 36);
    }

    DefaultMQAdminExt admin() {
        return target.admin;
    }

    String name(String what) {
        return stem + "-" + what + "-" + COUNTER.incrementAndGet();
    }

    /** A topic on the first broker. */
    String topic(int queues) throws Exception {
        return topic(queues, queues, 6);
    }

    String topic(int readQueues, int writeQueues, int permission) throws Exception {
        String topic = name("topic");
        admin().createAndUpdateTopicConfig(target.brokerAddress(), new TopicConfig(topic, readQueues, writeQueues, permission));
        awaitRoute(topic, 1);
        return topic;
    }

    /** A topic with these queues on every broker. */
    String wideTopic(int queues) throws Exception {
        String topic = name("topic");
        for (String address : target.brokers.values()) {
            admin().createAndUpdateTopicConfig(address, new TopicConfig(topic, queues, queues, 6));
        }
        awaitRoute(topic, target.brokers.size());
        return topic;
    }

    void awaitRoute(String topic, int brokers) throws Exception {
        Check.eventually(10, () -> {
            try {
                int have = admin().examineTopicRouteInfo(topic).getQueueDatas().size();
                return have == brokers ? null : "the route of " + topic + " has " + have + " brokers, not " + brokers;
            } catch (Exception e) {
                return "the route of " + topic + ": " + e;
            }
        });
    }

    String group() {
        return name("group");
    }

    DefaultMQProducer producer() throws Exception {
        DefaultMQProducer producer = idleProducer(name("producers"));
        producer.start();
        return producer;
    }

    /** Not started, so that a scenario can set more. */
    DefaultMQProducer idleProducer(String group) {
        DefaultMQProducer producer = new DefaultMQProducer(group);
        producer.setNamesrvAddr(target.namesrv);
        producer.setInstanceName(name("i"));
        producer.setMqClientApiTimeout(PATIENCE);
        producer.setSendMsgTimeout(PATIENCE);
        closers.push(producer::shutdown);
        return producer;
    }

    TransactionMQProducer transactionProducer(String group) {
        TransactionMQProducer producer = new TransactionMQProducer(group);
        producer.setNamesrvAddr(target.namesrv);
        producer.setInstanceName(name("i"));
        producer.setMqClientApiTimeout(PATIENCE);
        producer.setSendMsgTimeout(PATIENCE);
        closers.push(producer::shutdown);
        return producer;
    }

    DefaultMQPushConsumer pushConsumer(String group, String topic) throws Exception {
        return pushConsumer(group, topic, "*");
    }

    /** Subscribed, reads from the beginning, not started. */
    DefaultMQPushConsumer pushConsumer(String group, String topic, String tags) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(group);
        consumer.setNamesrvAddr(target.namesrv);
        consumer.setInstanceName(name("i"));
        consumer.setMqClientApiTimeout(PATIENCE);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setConsumeThreadMin(4);
        consumer.setConsumeThreadMax(4);
        consumer.subscribe(topic, tags);
        closers.push(consumer::shutdown);
        return consumer;
    }

    @SuppressWarnings("deprecation")
    DefaultMQPullConsumer pullConsumer(String group) throws Exception {
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer(group);
        consumer.setNamesrvAddr(target.namesrv);
        consumer.setInstanceName(name("i"));
        consumer.setMqClientApiTimeout(PATIENCE);
        consumer.start();
        closers.push(consumer::shutdown);
        return consumer;
    }

    DefaultLitePullConsumer litePullConsumer(String group) {
        DefaultLitePullConsumer consumer = new DefaultLitePullConsumer(group);
        consumer.setNamesrvAddr(target.namesrv);
        consumer.setInstanceName(name("i"));
        consumer.setMqClientApiTimeout(PATIENCE);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setAutoCommit(false);
        closers.push(consumer::shutdown);
        return consumer;
    }

    /** To be done at the scenario's end, before what was named earlier. */
    void closing(Runnable last) {
        closers.push(last);
    }

    Raw raw() {
        Raw raw = new Raw();
        closers.push(raw::close);
        return raw;
    }

    /** All that a topic holds, by queue, in order of offset. */
    @SuppressWarnings("deprecation")
    Map<MessageQueue, List<MessageExt>> readAll(String topic) throws Exception {
        DefaultMQPullConsumer reader = pullConsumer(name("reader"));
        Map<MessageQueue, List<MessageExt>> all = new TreeMap<>();
        for (MessageQueue queue : reader.fetchSubscribeMessageQueues(topic)) {
            List<MessageExt> messages = new ArrayList<>();
            long offset = reader.minOffset(queue);
            while (true) {
                var result = reader.pull(queue, "*", offset, 32);
                if (result.getPullStatus() != PullStatus.FOUND) {
                    break;
                }
                messages.addAll(result.getMsgFoundList());
                offset = result.getNextBeginOffset();
            }
            all.put(queue, messages);
        }
        return all;
    }

    /** The same, of a topic that is expected to hold `count` in all; in order of queue and offset. */
    List<MessageExt> readAll(String topic, int count) throws Exception {
        List<MessageExt> all = new ArrayList<>();
        Check.eventually(10, () -> {
            all.clear();
            readAll(topic).values().forEach(all::addAll);
            return all.size() >= count ? null : topic + " holds " + all.size() + " messages, not " + count;
        });
        Check.same(count, all.size(), "messages in " + topic);
        all.sort(Comparator.comparingInt(MessageExt::getQueueId).thenComparingLong(MessageExt::getQueueOffset));
        return all;
    }

    static byte[] body(String start, int bytes) {
        byte[] body = new byte[bytes];
        new Random(start.hashCode()).nextBytes(body);
        byte[] head = start.getBytes();
        System.arraycopy(head, 0, body, 0, Math.min(head.length, bytes));
        return body;
    }

    @Override
    public void close() {
        while (!closers.isEmpty()) {
            try {
                closers.pop().run();
            } catch (RuntimeException e) {
                e.printStackTrace();
            }
        }
    }
}
