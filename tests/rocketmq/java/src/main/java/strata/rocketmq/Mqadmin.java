package strata.rocketmq;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.tools.command.MQAdminStartup;

/**
 * Runs mqadmin's commands on fixed traffic and compares what they print with what Apache's servers made them print:
 * `Mqadmin SIDE VERSION NAMESRV FOLDER compare|write [PART OF A COMMAND]`. FOLDER has `commands`, `golden/VERSION` and,
 * where we differ on purpose, `differs/VERSION`. What two name servers and two brokers make them print otherwise is in
 * `golden/VERSION-of-two` and `differs/VERSION-of-two`.
 */
public final class Mqadmin {
    private static final int SECONDS_PER_COMMAND = 60;

    private Mqadmin() { }

    public static void main(String[] arguments) {
        PrintStream console = System.out;
        try {
            Target target = new Target(arguments[0], arguments[1], arguments[2]);
            World world = new World(target, "mqadmin");
            Map<String, String> names = GoldenTraffic.flow(world);
            Path folder = Path.of(arguments[3]);
            String only = arguments.length > 5 ? arguments[5] : "";
            Map<String, String> printed = new LinkedHashMap<>();
            for (String line : Files.readAllLines(folder.resolve("commands"))) {
                if (!line.isBlank() && !line.startsWith("#") && line.contains(only) && isFor(arguments[1], line)) {
                    printed.put(unused(printed, line), new Printed(names).normal(line, Exported.with(run(line, names))));
                }
            }
            Kept kept = new Kept(folder, arguments[1], target.brokers.size() > 1);
            if (arguments[4].equals("write")) {
                kept.write(printed);
                console.println("1 passed, 0 failed");
                Runtime.getRuntime().halt(0);
            }
            Runtime.getRuntime().halt(compare(console, target, kept, printed) ? 0 : 1);
        } catch (Throwable e) {
            e.printStackTrace();
            Runtime.getRuntime().halt(1);
        }
    }

    /** The same command may come again, later. */
    private static String unused(Map<String, String> printed, String line) {
        String name = line;
        for (int time = 2; printed.containsKey(name); time++) {
            name = line + " (" + time + ")";
        }
        return name;
    }

    /** A command that has other options in 4.9 begins with `[4]` or `[5]`. */
    private static boolean isFor(String version, String line) {
        return !line.startsWith("[") || line.startsWith("[" + version.charAt(0) + "]");
    }

    private static boolean compare(PrintStream console, Target target, Kept kept, Map<String, String> printed) throws Exception {
        Map<String, String> golden = kept.read("golden");
        Map<String, String> differs = kept.read("differs");
        int passed = 0;
        int failed = 0;
        for (Map.Entry<String, String> each : printed.entrySet()) {
            String what = target.side + " mqadmin " + target.client + " " + each.getKey();
            String apache = golden.get(each.getKey());
            if (each.getValue().equals(apache)) {
                passed++;
                console.println("ok   " + what);
            } else if (!target.isApache() && each.getValue().equals(differs.get(each.getKey()))) {
                passed++;
                console.println("differs " + what);
            } else {
                failed++;
                console.println("FAIL " + what + ": " + Sections.firstDifference(apache, each.getValue()));
                System.err.println("== " + each.getKey() + "\n" + each.getValue());
            }
        }
        console.printf("%d passed, %d failed%n", passed, failed);
        console.flush();
        return failed == 0 && passed > 0;
    }

    /** What the command prints; one that does not end says so. */
    private static String run(String line, Map<String, String> names) throws Exception {
        List<String> words = new ArrayList<>();
        for (String word : line.replaceFirst("^\\[\\d] ", "").trim().split("\\s+")) {
            for (Map.Entry<String, String> name : names.entrySet()) {
                word = word.replace("{" + name.getKey() + "}", name.getValue());
            }
            words.add(word.replace('_', ' ').replace("  ", "_"));
        }
        words.add("-n");
        words.add(names.get("namesrv"));
        ByteArrayOutputStream printed = new ByteArrayOutputStream();
        PrintStream console = System.err;
        // mqadmin leaves the process when it does not know an option.
        Thread leaving = new Thread(() -> console.println("mqadmin ended in: " + line + "\n" + printed));
        Runtime.getRuntime().addShutdownHook(leaving);
        PrintStream out = System.out;
        PrintStream err = System.err;
        System.setOut(new PrintStream(printed, true));
        System.setErr(System.out);
        Thread thread = new Thread(() -> MQAdminStartup.main0(words.toArray(new String[0]), null));
        thread.setDaemon(true);
        try {
            thread.start();
            if (!ends(thread)) {
                System.out.println("not done after " + SECONDS_PER_COMMAND + " s");
            }
        } finally {
            thread.interrupt();
            Runtime.getRuntime().removeShutdownHook(leaving);
            System.out.flush();
            System.setOut(out);
            System.setErr(err);
        }
        return printed.toString();
    }

    /**
     * Whether the command ends in time. At its end 5.5.0's waits until one of its threads has looked at a queue in vain for 3 s:
     * that thread is woken up.
     */
    private static boolean ends(Thread command) throws Exception {
        for (int i = 0; i < SECONDS_PER_COMMAND * 10; i++) {
            command.join(100);
            if (!command.isAlive()) {
                return true;
            }
            if (Arrays.stream(command.getStackTrace()).anyMatch(call -> call.getMethodName().equals("shutdown"))) {
                Thread[] all = new Thread[2 * Thread.activeCount()];
                Thread.enumerate(all);
                Arrays.stream(all).filter(each -> each != null && each.getName().startsWith("NettyEventExecutor")).forEach(Thread::interrupt);
            }
        }
        return false;
    }
}
