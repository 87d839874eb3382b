package strata.rocketmq;

import java.lang.reflect.Field;
import java.util.Map;
import java.util.TreeMap;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;

/** Every request code that RocketMQ has gets an answer, even without a field: work, a refusal, or 3 with a reason. */
final class EveryCode implements Scenario {
    /** A transaction's end is one-way. */
    private static final int END_TRANSACTION = 37;

    @Override
    public boolean alone() {
        return true;
    }

    @Override
    public void run(World world) throws Exception {
        // Apache leaves some without an answer.
        Map<String, Integer> codes = world.target.isApache() ? Map.of("HEART_BEAT", 34, "GET_BROKER_CONFIG", 26) : codes();
        Raw raw = world.raw();
        for (Map.Entry<String, Integer> each : codes.entrySet()) {
            if (each.getValue() == END_TRANSACTION) {
                continue;
            }
            for (String address : new String[] {world.target.brokerAddress(), world.target.nameServers().get(0)}) {
                RemotingCommand answer = raw.ask(address, each.getValue(), null);
                boolean broker = address.equals(world.target.brokerAddress());
                System.err.printf("code %d %s %s: %d %s%n", each.getValue(), each.getKey(), broker ? "broker" : "namesrv", answer.getCode(), answer.getRemark());
                Check.that(answer.getCode() != 3 || answer.getRemark() != null && !answer.getRemark().isBlank(),
                    "%s (%d) is answered 3 without a reason", each.getKey(), each.getValue());
            }
        }
        Raw.code(0, raw.ask(world.target.brokerAddress(), 30, null, "topic", world.topic(1), "queueId", 0), "a good request after all of them");
    }

    private static Map<String, Integer> codes() throws Exception {
        Map<String, Integer> codes = new TreeMap<>();
        for (Field field : requestCodes().getFields()) {
            codes.put(field.getName(), field.getInt(null));
        }
        return codes;
    }

    /** Where 5 and 4.9 have it. */
    private static Class<?> requestCodes() throws ClassNotFoundException {
        try {
            return Class.forName("org.apache.rocketmq.remoting.protocol.RequestCode");
        } catch (ClassNotFoundException e) {
            return Class.forName("org.apache.rocketmq.common.protocol.RequestCode");
        }
    }
}
