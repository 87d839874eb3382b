package strata.interop;

import org.apache.bookkeeper.client.api.LedgerEntries;
import org.apache.bookkeeper.client.api.LedgerEntry;
import org.apache.bookkeeper.client.api.ReadHandle;

/** A ledger of ours, closed or left open by a writer that died, as Java reads and recovers it. */
final class JavaReadsOurs implements Scenario {
    private static final int ENTRIES = 50;

    @Override
    public void run(World world) throws Exception {
        String closed = world.stratamqWith(Ours.lines(ENTRIES), Ours.create(world));
        ReadHandle reader = Ledgers.open(world.client(), Ours.number(closed, "ledger"), false);
        Check.that(reader.isClosed(), "the ledger is open for Java, closed by us");
        Check.same(Ours.number(closed, "length"), reader.getLength(), "length");
        verify(reader);

        String left = world.stratamqWith(Ours.lines(ENTRIES), Ours.create(world, "--leave-open"));
        ReadHandle recovered = Ledgers.open(world.client(), Ours.number(left, "ledger"), true);
        Check.same(reader.getLength(), recovered.getLength(), "length after Java's recovery");
        verify(recovered);
    }

    private static void verify(ReadHandle reader) throws Exception {
        Check.same(ENTRIES - 1L, reader.getLastAddConfirmed(), "last entry");
        try (LedgerEntries entries = reader.read(0, ENTRIES - 1)) {
            for (LedgerEntry entry : entries) {
                Check.bytes(Ours.line(entry.getEntryId()), entry.getEntryBytes(), "entry " + entry.getEntryId());
            }
        }
    }
}
