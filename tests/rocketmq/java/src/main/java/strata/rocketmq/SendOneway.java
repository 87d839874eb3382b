package strata.rocketmq;

import java.util.HashSet;
import java.util.Set;
import org.apache.rocketmq.common.message.Message;

/** No answer, and yet all of them arrive. */
final class SendOneway implements Scenario {
    @Override
    public void run(World world) throws Exception {
        String topic = world.topic(2);
        var producer = world.producer();
        Set<String> sent = new HashSet<>();
        for (int i = 0; i < 100; i++) {
            producer.sendOneway(new Message(topic, ("oneway " + i).getBytes()));
            sent.add("oneway " + i);
        }
        Set<String> found = new HashSet<>();
        world.readAll(topic, 100).forEach(message -> found.add(Inbox.text(message)));
        Check.same(sent, found, "what is in the topic");
    }
}
