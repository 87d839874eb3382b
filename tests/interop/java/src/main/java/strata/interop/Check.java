package strata.interop;

import java.util.Arrays;
import java.util.concurrent.Callable;

/** Assertions that say what was expected. */
final class Check {
    private Check() { }

    static void that(boolean holds, String text, Object... arguments) {
        if (!holds) {
            throw new AssertionError(String.format(text, arguments));
        }
    }

    static void same(Object expected, Object actual, String what) {
        that(expected.equals(actual), "%s is %s, expected %s", what, actual, expected);
    }

    static void bytes(byte[] expected, byte[] actual, String what) {
        that(Arrays.equals(expected, actual), "%s differs: %d bytes, expected %d", what, actual.length, expected.length);
    }

    /** The call must fail with this BookKeeper code. */
    static void fails(int code, Callable<?> call) throws Exception {
        try {
            call.call();
        } catch (org.apache.bookkeeper.client.api.BKException e) {
            same(code, e.getCode(), "error code (" + e + ")");
            return;
        }
        throw new AssertionError("succeeded, expected error code " + code);
    }
}
