package strata.rocketmq;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.apache.rocketmq.common.message.MessageExt;

/** What consumers have been given, in order of arrival. */
final class Inbox {
    private final List<MessageExt> messages = new ArrayList<>();

    synchronized void put(MessageExt message) {
        messages.add(message);
        notifyAll();
    }

    synchronized void put(List<MessageExt> some) {
        messages.addAll(some);
        notifyAll();
    }

    synchronized List<MessageExt> all() {
        return new ArrayList<>(messages);
    }

    synchronized int size() {
        return messages.size();
    }

    static String text(MessageExt message) {
        return new String(message.getBody());
    }

    synchronized Set<String> bodies() {
        Set<String> bodies = new HashSet<>();
        messages.forEach(message -> bodies.add(text(message)));
        return bodies;
    }

    synchronized int times(String body) {
        return (int) messages.stream().filter(message -> text(message).equals(body)).count();
    }

    /** Bodies by queue, in order of arrival. */
    synchronized Map<Integer, List<String>> byQueue() {
        Map<Integer, List<String>> queues = new TreeMap<>();
        messages.forEach(m -> queues.computeIfAbsent(m.getQueueId(), q -> new ArrayList<>()).add(text(m)));
        return queues;
    }

    /** Waits for all of these bodies; there must be no others. */
    void expect(int seconds, Set<String> wanted) throws Exception {
        Check.eventually(seconds, () -> {
            Set<String> missing = new HashSet<>(wanted);
            missing.removeAll(bodies());
            return missing.isEmpty() ? null : "these did not arrive: " + missing + ", arrived: " + size();
        });
        Check.same(wanted, bodies(), "what arrived");
    }

    /** The same, and nothing twice: right after `expect`, and a little later as well. */
    void expectOnce(int seconds, Set<String> wanted) throws Exception {
        expect(seconds, wanted);
        Thread.sleep(500);
        Check.same(wanted.size(), size(), "messages that arrived");
        Check.same(wanted, bodies(), "what arrived");
    }
}
