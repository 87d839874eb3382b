package strata.interop;

import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** Runs scenarios on a cluster that stands already: `Main SIDE URI CLUSTER_SCRIPT CLUSTER_DIR [PART OF A NAME]`. */
public final class Main {
    private static final int SECONDS_PER_SCENARIO = 120;

    private Main() { }

    public static void main(String[] arguments) throws Exception {
        Drivers.register();
        String side = arguments[0];
        String only = arguments.length > 4 ? arguments[4] : "";
        int passed = 0;
        int failed = 0;
        for (Wire wire : Wire.values()) {
            for (Map.Entry<String, Scenario> each : new TreeMap<>(Scenarios.ALL).entrySet()) {
                String name = wire + " " + each.getKey();
                if (!name.contains(only) || !each.getValue().onWire(wire)) {
                    continue;
                }
                if (runOne(side, name, each.getValue(), new World(arguments[1], wire, arguments[2], arguments[3]))) {
                    passed++;
                } else {
                    failed++;
                }
            }
        }
        System.out.printf("%s: %d passed, %d failed%n", side, passed, failed);
        System.out.flush();
        Runtime.getRuntime().halt(failed == 0 && passed > 0 ? 0 : 1);
    }

    private static boolean runOne(String side, String name, Scenario scenario, World world) {
        long start = System.nanoTime();
        ExecutorService thread = Executors.newSingleThreadExecutor(task -> {
            Thread daemon = new Thread(task);
            daemon.setDaemon(true);
            return daemon;
        });
        Future<?> result = thread.submit(() -> {
            scenario.run(world);
            return null;
        });
        Throwable why = null;
        try {
            result.get(SECONDS_PER_SCENARIO, TimeUnit.SECONDS);
        } catch (TimeoutException e) {
            why = new AssertionError("not done after " + SECONDS_PER_SCENARIO + " s");
        } catch (Exception e) {
            why = e.getCause() == null ? e : e.getCause();
        }
        thread.shutdownNow();
        world.close();
        double seconds = (System.nanoTime() - start) / 1e9;
        System.out.printf("%s %s %s (%.1f s)%s%n", why == null ? "ok  " : "FAIL", side, name, seconds, why == null ? "" : ": " + why);
        System.out.flush();
        if (why != null) {
            why.printStackTrace();
        }
        return why == null;
    }
}
