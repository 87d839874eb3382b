package strata.rocketmq;

import java.util.Arrays;
import java.util.Objects;
import java.util.concurrent.Callable;
import org.apache.rocketmq.client.exception.MQBrokerException;

/** Assertions that say what was expected. */
final class Check {
    private Check() { }

    static void that(boolean holds, String text, Object... arguments) {
        if (!holds) {
            throw new AssertionError(String.format(text, arguments));
        }
    }

    static void same(Object expected, Object actual, String what) {
        that(Objects.equals(expected, actual), "%s is %s, expected %s", what, brief(actual), brief(expected));
    }

    static void bytes(byte[] expected, byte[] actual, String what) {
        that(Arrays.equals(expected, actual), "%s differs: %d bytes, expected %d", what, actual.length, expected.length);
    }

    static void between(long least, long most, long actual, String what) {
        that(least <= actual && actual <= most, "%s is %d, expected %d to %d", what, actual, least, most);
    }

    /** The broker must refuse the call with this code. */
    static void refused(int code, Callable<?> call) throws Exception {
        try {
            call.call();
        } catch (MQBrokerException e) {
            same(code, e.getResponseCode(), "response code (" + e.getErrorMessage() + ")");
            return;
        }
        throw new AssertionError("succeeded, expected response code " + code);
    }

    /** Asks again until the text is null, which means that all is well. */
    static void eventually(int seconds, Callable<String> whatIsMissing) throws Exception {
        long end = System.nanoTime() + seconds * 1_000_000_000L;
        String missing = whatIsMissing.call();
        while (missing != null) {
            that(System.nanoTime() < end, "after %d s %s", seconds, missing);
            Thread.sleep(100);
            missing = whatIsMissing.call();
        }
    }

    private static String brief(Object value) {
        String text = String.valueOf(value);
        return text.length() <= 600 ? text : text.substring(0, 600) + "…";
    }
}
