package strata.interop;

import java.io.PrintStream;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.apache.bookkeeper.client.BookKeeper;
import org.apache.bookkeeper.client.BookKeeperAdmin;
import org.apache.bookkeeper.client.LedgerHandle;
import org.apache.bookkeeper.client.api.BKException;
import org.apache.bookkeeper.client.api.DigestType;
import org.apache.bookkeeper.client.api.ReadHandle;
import org.apache.bookkeeper.client.api.WriteFlag;
import org.apache.bookkeeper.client.api.WriteHandle;
import org.apache.bookkeeper.conf.ClientConfiguration;
import org.apache.bookkeeper.net.BookieId;

/**
 * Writes down what Apache's client and bookie say to each other: `Golden URI TAP_REGISTRATION_COMMAND REAL_PORT OUT`.
 * The cluster has one bookie, which is registered under the tap's port instead of its own.
 */
public final class Golden {
    private final PrintStream out;
    private final String uri;

    private Golden(String uri, PrintStream out) {
        this.uri = uri;
        this.out = out;
    }

    public static void main(String[] arguments) {
        int code = 1;
        try {
            recordAll(arguments);
            code = 0;
        } catch (Exception e) {
            e.printStackTrace();
        }
        Runtime.getRuntime().halt(code);
    }

    private static void recordAll(String[] arguments) throws Exception {
        Drivers.register();
        for (Wire wire : Wire.values()) {
            Path file = Path.of(arguments[3], "bookie-wire-" + wire + "-apache-4.17.2.txt");
            try (PrintStream out = new PrintStream(file.toFile())) {
                out.println("# Apache BookKeeper 4.17.2, its client and its bookie, wire " + wire
                    + ". Whole frames in hex, the length field first.");
                Golden golden = new Golden(arguments[0], out);
                Tap tap = new Tap(Integer.parseInt(arguments[2]), golden::line);
                new ProcessBuilder(arguments[1], Integer.toString(tap.port())).inheritIO().start().waitFor();
                golden.record(wire);
            }
        }
    }

    private synchronized void line(String text) {
        out.println(text);
        out.flush();
    }

    private void step(String what) throws InterruptedException {
        Thread.sleep(300);
        line("");
        line("# " + what);
    }

    private BookKeeper client(Wire wire, int explicitLac) throws Exception {
        ClientConfiguration conf = new ClientConfiguration();
        conf.setMetadataServiceUri(uri).setUseV2WireProtocol(wire == Wire.v2).setNumIOThreads(1);
        conf.setExplictLacInterval(explicitLac);
        conf.setBatchReadEnabled(true);
        return BookKeeper.forConfig(conf).build();
    }

    private static WriteHandle create(BookKeeper client, WriteFlag... flags) throws Exception {
        var builder = client.newCreateLedgerOp().withEnsembleSize(1).withWriteQuorumSize(1).withAckQuorumSize(1)
            .withDigestType(DigestType.CRC32C).withPassword(new byte[0]);
        return (flags.length == 0 ? builder : builder.withWriteFlags(flags)).execute().get(10, TimeUnit.SECONDS);
    }

    private static ReadHandle open(BookKeeper client, long id, boolean recovery) throws Exception {
        return client.newOpenLedgerOp().withLedgerId(id).withDigestType(DigestType.CRC32C).withPassword(new byte[0])
            .withRecovery(recovery).execute().get(10, TimeUnit.SECONDS);
    }

    private void record(Wire wire) throws Exception {
        BookKeeper client = client(wire, 0);
        WriteHandle writer = create(client);
        step("add of `hello`, of nothing, of `strata`");
        for (String payload : List.of("hello", "", "strata")) {
            writer.append(payload.getBytes());
        }
        step("read of 0, 1 and 2");
        writer.read(0, 2).close();
        if (wire == Wire.v2) {
            step("batch read from 0");
            ((LedgerHandle) writer).batchReadAsync(0, 3, 10_000).get(10, TimeUnit.SECONDS).close();
        }
        step("open without recovery: the last entry");
        ReadHandle reader = open(client, writer.getId(), false);
        if (wire == Wire.v3) {
            step("long poll for entry 3, answered by its add");
            var poll = reader.readLastAddConfirmedAndEntryAsync(2, 5_000, false);
            Thread.sleep(200);
            writer.append("three".getBytes());
            poll.get(10, TimeUnit.SECONDS).close();
            step("list of entries");
            try (BookKeeperAdmin admin = new BookKeeperAdmin(client)) {
                BookieId bookie = writer.getLedgerMetadata().getEnsembleAt(0).get(0);
                admin.asyncGetListOfEntriesOfLedger(bookie, writer.getId()).get(10, TimeUnit.SECONDS);
            }
            step("force");
            writer.force().get(10, TimeUnit.SECONDS);
            step("a ledger with DEFERRED_SYNC: add, force");
            WriteHandle deferred = create(client, WriteFlag.DEFERRED_SYNC);
            deferred.append("later".getBytes());
            deferred.force().get(10, TimeUnit.SECONDS);
            deferred.close();
        }
        step("bookie info");
        client.getBookieInfo();
        step("recovery: a read of the last entry that fences, reads that fence, adds that recover");
        open(client(wire, 0), writer.getId(), true);
        step("an add to the fenced ledger");
        try {
            writer.append("late".getBytes());
        } catch (BKException expected) {
            line("# the client was told " + expected.getCode());
        }
        step("explicit LAC written and read");
        BookKeeper explicit = client(wire, 100);
        WriteHandle lac = create(explicit);
        lac.append("lac".getBytes());
        Thread.sleep(500);
        ((LedgerHandle) open(explicit, lac.getId(), false)).readExplicitLastConfirmed();
        step("end");
    }
}
