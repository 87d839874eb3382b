package strata.interop;

import java.io.File;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.apache.bookkeeper.client.BookKeeper;
import org.apache.bookkeeper.client.BookKeeperAdmin;
import org.apache.bookkeeper.conf.ClientConfiguration;

/** The cluster that a scenario runs on, and clients of it; closes what the scenario opened. */
final class World implements AutoCloseable {
    static final byte[] PASSWORD = "secret".getBytes(StandardCharsets.UTF_8);

    final String uri;
    final Wire wire;
    private final String clusterScript;
    private final String clusterDir;
    private final List<AutoCloseable> opened = new ArrayList<>();

    World(String uri, Wire wire, String clusterScript, String clusterDir) {
        this.uri = uri;
        this.wire = wire;
        this.clusterScript = clusterScript;
        this.clusterDir = clusterDir;
    }

    BookKeeper client() throws Exception {
        return client(conf -> { });
    }

    BookKeeper client(Consumer<ClientConfiguration> settings) throws Exception {
        BookKeeper client = BookKeeper.forConfig(configuration(settings)).build();
        opened.add(client);
        return client;
    }

    BookKeeperAdmin admin() throws Exception {
        BookKeeperAdmin admin = new BookKeeperAdmin(configuration(conf -> { }));
        opened.add(admin);
        return admin;
    }

    private ClientConfiguration configuration(Consumer<ClientConfiguration> settings) {
        ClientConfiguration conf = new ClientConfiguration();
        conf.setMetadataServiceUri(uri);
        conf.setUseV2WireProtocol(wire == Wire.v2);
        conf.setNumIOThreads(1);
        conf.setNumWorkerThreads(1);
        conf.setAddEntryTimeout(4);
        conf.setReadEntryTimeout(4);
        settings.accept(conf);
        return conf;
    }

    void killBookie(Object id) throws Exception {
        cluster("bookie-kill", id.toString());
    }

    void startBookie(Object id) throws Exception {
        cluster("bookie-start", id.toString());
    }

    private void cluster(String verb, String id) throws Exception {
        output("", clusterScript, verb, clusterDir, id);
    }

    /** Runs our command line and gives what it printed. */
    String stratamq(String... arguments) throws Exception {
        return stratamqWith("", arguments);
    }

    /** The same, with something to read on standard input. */
    String stratamqWith(String input, String... arguments) throws Exception {
        return output(input, ours(arguments));
    }

    /** Starts our command line, and leaves it to the scenario; it is killed in the end. */
    Process startStratamq(String... arguments) throws Exception {
        Process process = new ProcessBuilder(ours(arguments)).redirectOutput(ProcessBuilder.Redirect.DISCARD).start();
        opened.add(process::destroyForcibly);
        return process;
    }

    private static String[] ours(String... arguments) {
        String binary = System.getenv("STRATAMQ");
        Check.that(binary != null && !binary.isEmpty(), "STRATAMQ does not name our binary");
        List<String> command = new ArrayList<>(List.of(binary));
        command.addAll(Arrays.asList(arguments));
        return command.toArray(String[]::new);
    }

    private static String output(String input, String... command) throws Exception {
        File in = File.createTempFile("interop", ".in");
        File out = File.createTempFile("interop", ".out");
        File errors = File.createTempFile("interop", ".err");
        try {
            Files.writeString(in.toPath(), input);
            Process process = new ProcessBuilder(command).redirectInput(in).redirectError(errors).redirectOutput(out).start();
            if (!process.waitFor(90, TimeUnit.SECONDS)) {
                process.destroyForcibly();
                throw new AssertionError(String.join(" ", command) + " did not end in 90 s");
            }
            String text = Files.readString(out.toPath());
            Check.that(process.exitValue() == 0, "%s: exit code %d: %s", String.join(" ", command), process.exitValue(),
                Files.readString(errors.toPath()));
            return text;
        } finally {
            in.delete();
            out.delete();
            errors.delete();
        }
    }

    /** Clients take seconds to close; nothing waits for that. */
    @Override
    public void close() {
        Thread closing = new Thread(() -> opened.forEach(World::close));
        closing.setDaemon(true);
        closing.start();
    }

    private static void close(AutoCloseable client) {
        try {
            client.close();
        } catch (Exception e) {
            System.err.println("closing a client: " + e);
        }
    }
}
