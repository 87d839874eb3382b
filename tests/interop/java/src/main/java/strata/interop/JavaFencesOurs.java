package strata.interop;

import java.io.OutputStream;
import java.util.HashSet;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import org.apache.bookkeeper.client.BookKeeper;
import org.apache.bookkeeper.client.api.LedgerMetadata;
import org.apache.bookkeeper.client.api.ListLedgersResult;
import org.apache.bookkeeper.client.api.ReadHandle;

/** Java recovers a ledger while our writer is in the middle of it: our writer ends with an error, and is told so. */
final class JavaFencesOurs implements Scenario {
    @Override
    public void run(World world) throws Exception {
        Set<Long> before = open(world);
        Process writer = world.startStratamq(Ours.create(world));
        try (OutputStream lines = writer.getOutputStream()) {
            lines.write(Ours.lines(20).getBytes());
            lines.flush();
            long ledger = appears(world, before);
            Thread.sleep(1_000);
            ReadHandle recovered = Ledgers.open(world.client(), ledger, true);
            Check.same(19L, recovered.getLastAddConfirmed(), "last entry that Java recovers");
            lines.write(Ours.lines(5).getBytes());
            lines.flush();
        } catch (java.io.IOException closed) {
            // Our writer has ended already: it reads no more lines.
        }
        Check.that(writer.waitFor(30, TimeUnit.SECONDS), "our fenced writer has not ended in 30 s");
        String said = new String(writer.getErrorStream().readAllBytes());
        Check.that(writer.exitValue() != 0, "our fenced writer ended with success");
        Check.that(said.contains("fenced") || said.contains("taken over"), "our fenced writer said: %s", said);
    }

    /** An open ledger that was not there before. */
    private static long appears(World world, Set<Long> known) throws Exception {
        for (int attempt = 0; attempt < 100; attempt++) {
            Set<Long> now = open(world);
            now.removeAll(known);
            if (!now.isEmpty()) {
                return now.iterator().next();
            }
            Thread.sleep(100);
        }
        throw new AssertionError("our writer has made no ledger in 10 s");
    }

    private static Set<Long> open(World world) throws Exception {
        BookKeeper client = world.client();
        Set<Long> found = new HashSet<>();
        try (ListLedgersResult ledgers = client.newListLedgersOp().execute().get(10, TimeUnit.SECONDS)) {
            for (long id : ledgers.toIterable()) {
                if (client.getLedgerMetadata(id).get(10, TimeUnit.SECONDS).getState() == LedgerMetadata.State.OPEN) {
                    found.add(id);
                }
            }
        }
        return found;
    }
}
