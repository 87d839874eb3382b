package strata.interop;

import java.io.OutputStream;
import java.util.concurrent.TimeUnit;
import org.apache.bookkeeper.client.BookKeeper;
import org.apache.bookkeeper.client.api.LedgerMetadata;
import org.apache.bookkeeper.client.api.ListLedgersResult;
import org.apache.bookkeeper.client.api.ReadHandle;

/** Java recovers a ledger while our writer is in the middle of it: our writer ends with an error, and is told so. */
final class JavaFencesOurs implements Scenario {
    @Override
    public void run(World world) throws Exception {
        Process writer = world.startStratamq(Ours.create(world));
        try (OutputStream lines = writer.getOutputStream()) {
            long before = newest(world);
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
        Check.that(said.contains("fenced") || said.contains("recover"), "our fenced writer said: %s", said);
    }

    /** An open ledger that was not there before. */
    private static long appears(World world, long known) throws Exception {
        for (int attempt = 0; attempt < 100; attempt++) {
            long found = newest(world);
            if (found != known) {
                return found;
            }
            Thread.sleep(100);
        }
        throw new AssertionError("our writer has made no ledger in 10 s");
    }

    /** The one open ledger of this scenario, or -1. */
    private static long newest(World world) throws Exception {
        BookKeeper client = world.client();
        long found = -1;
        try (ListLedgersResult ledgers = client.newListLedgersOp().execute().get(10, TimeUnit.SECONDS)) {
            for (long id : ledgers.toIterable()) {
                LedgerMetadata metadata = client.getLedgerMetadata(id).get(10, TimeUnit.SECONDS);
                if (metadata.getState() == LedgerMetadata.State.OPEN && metadata.getCtime() >= 0 && metadata.getCToken() != 0) {
                    found = id;
                }
            }
        }
        return found;
    }
}
