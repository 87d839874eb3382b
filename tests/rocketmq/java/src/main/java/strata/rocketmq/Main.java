package strata.rocketmq;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Supplier;

/** Runs scenarios on servers that stand already: `Main SIDE CLIENT NAMESRV quick|full [PART OF A NAME]`. */
public final class Main {
    /** Most scenarios wait most of their time. */
    private static final int AT_ONCE = 8;
    private static int passed;
    private static int failed;

    private Main() { }

    public static void main(String[] arguments) {
        try {
            run(arguments);
        } catch (Throwable e) {
            e.printStackTrace();
            Runtime.getRuntime().halt(1);
        }
    }

    private static void run(String[] arguments) throws Exception {
        Target target = new Target(arguments[0], arguments[1], arguments[2]);
        boolean full = arguments[3].equals("full");
        String only = arguments.length > 4 ? arguments[4] : "";
        ExecutorService pool = Executors.newFixedThreadPool(AT_ONCE);
        List<Future<?>> running = new ArrayList<>();
        List<Map.Entry<String, Supplier<Scenario>>> alone = new ArrayList<>();
        for (Map.Entry<String, Supplier<Scenario>> each : Scenarios.ALL.entrySet()) {
            Scenario scenario = each.getValue().get();
            if (!each.getKey().contains(only) || !full && !scenario.quick()) {
                continue;
            }
            if (scenario.alone()) {
                alone.add(each);
            } else {
                running.add(pool.submit(() -> runOne(target, each.getKey(), scenario)));
            }
        }
        for (Future<?> each : running) {
            each.get();
        }
        for (Map.Entry<String, Supplier<Scenario>> each : alone) {
            runOne(target, each.getKey(), each.getValue().get());
        }
        System.out.printf("%d passed, %d failed%n", passed, failed);
        System.out.flush();
        Runtime.getRuntime().halt(failed == 0 && passed > 0 ? 0 : 1);
    }

    private static void runOne(Target target, String name, Scenario scenario) {
        long start = System.nanoTime();
        World world = new World(target, name);
        ExecutorService thread = Executors.newSingleThreadExecutor(task -> {
            Thread daemon = new Thread(task, name);
            daemon.setDaemon(true);
            return daemon;
        });
        Future<?> result = thread.submit(() -> {
            scenario.run(world);
            return null;
        });
        Throwable why = null;
        try {
            result.get(scenario.seconds(), TimeUnit.SECONDS);
        } catch (TimeoutException e) {
            why = new AssertionError("not done after " + scenario.seconds() + " s");
        } catch (ExecutionException | InterruptedException e) {
            why = e.getCause() == null ? e : e.getCause();
        }
        thread.shutdownNow();
        report(target, name, (System.nanoTime() - start) / 1e9, why);
        world.close();
    }

    private static synchronized void report(Target target, String name, double seconds, Throwable why) {
        if (why == null) {
            passed++;
        } else {
            failed++;
            System.err.println("FAIL " + name);
            why.printStackTrace();
        }
        String reason = why == null ? "" : ": " + why.toString().replaceAll("\\s+", " ");
        System.out.printf("%s %s java %s %s (%.1f s)%s%n", why == null ? "ok  " : "FAIL", target.side, target.client, name, seconds, reason);
        System.out.flush();
    }
}
