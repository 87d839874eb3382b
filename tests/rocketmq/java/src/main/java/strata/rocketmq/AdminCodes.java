package strata.rocketmq;

import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;

/** What brokers and name servers tell to tools that no command of mqadmin shows whole. */
final class AdminCodes implements Scenario {
    @Override
    public void run(World world) throws Exception {
        String topic = world.topic(2);
        String group = world.group();
        Inbox inbox = new Inbox();
        var consumer = world.pushConsumer(group, topic);
        consumer.registerMessageListener(PushConcurrent.taking(inbox));
        consumer.start();
        world.producer().send(new Message(topic, "one".getBytes()));
        Check.eventually(60, () -> inbox.size() == 1 ? null : "nothing arrived");
        Raw raw = world.raw();
        String broker = world.target.brokerAddress();
        String namesrv = world.target.nameServers().get(0);
        Check.eventually(15, () -> text(raw.ask(broker, 43, null)).contains(topic + "@" + group) ? null : "43 does not show the group's offset");
        says(raw.ask(broker, 21, null), "21", "topicConfigTable", topic, "dataVersion");
        says(raw.ask(broker, 201, null), "201", "subscriptionGroupTable", group, "dataVersion");
        says(raw.ask(broker, 45, null), "45", "offsetTable");
        says(raw.ask(broker, 28, null), "28", "\"table\"", "bootTimestamp", "brokerVersionDesc");
        says(raw.ask(broker, 300, null, "topic", topic), "300", group);
        says(raw.ask(broker, 343, null, "group", group), "343", "topicList");
        says(raw.ask(broker, 345, null, "group", group, "topic", topic), "345", "subString");
        says(raw.ask(broker, 351, null, "topic", topic), "351", topic, "readQueueNums");
        says(raw.ask(broker, 352, null, "group", group), "352", group, "retryMaxTimes");
        says(raw.ask(broker, 303, null, "topic", topic, "group", group), "303", "consumeTimeSpanSet");
        says(raw.ask(broker, 308, null, "compareGroup", group, "topic", topic), "308", "correctionOffsets");
        says(raw.ask(broker, 223, null, "topic", topic, "group", group, "clientAddr", ""), "223", "consumerTable", topic);
        Raw.code(1, raw.ask(broker, 223, null, "topic", topic, "group", "nobody", "clientAddr", ""), "223 of a group without members");
        says(raw.ask(broker, 305, null), "305", "topicList", "TBW102");
        says(raw.ask(broker, 315, null, "statsName", "TOPIC_PUT_NUMS", "statsKey", topic), "315", "statsMinute", "statsDay");
        says(raw.ask(namesrv, 224, null, "cluster", world.target.clusters().get(0)), "224", topic);
        says(raw.ask(namesrv, 206, null), "206", topic);
        says(raw.ask(namesrv, 304, null), "304", "topicList", world.target.brokerName());
        Raw.code(0, raw.ask(namesrv, 100, null, "namespace", "codes", "key", group, "value", "a value"), "100");
        Check.same("a value", raw.ask(namesrv, 101, null, "namespace", "codes", "key", group).getExtFields().get("value"), "101");
        says(raw.ask(namesrv, 219, null, "namespace", "codes"), "219", group, "a value");
        Raw.code(0, raw.ask(namesrv, 102, null, "namespace", "codes", "key", group), "102");
        Raw.code(22, raw.ask(namesrv, 101, null, "namespace", "codes", "key", group), "101 of a key that is gone");
    }

    private static String text(RemotingCommand answer) {
        return answer.getBody() == null ? "" : new String(answer.getBody());
    }

    private static void says(RemotingCommand answer, String code, String... words) {
        Raw.code(0, answer, "code " + code);
        for (String word : words) {
            Check.that(text(answer).contains(word), "%s does not say %s: %s", code, word, text(answer).substring(0, Math.min(300, text(answer).length())));
        }
    }
}
