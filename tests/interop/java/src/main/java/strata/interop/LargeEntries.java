package strata.interop;

import org.apache.bookkeeper.client.api.LedgerEntries;
import org.apache.bookkeeper.client.api.WriteHandle;

/** Entries just below what the client lets through: 5 MiB less 500 bytes. */
final class LargeEntries implements Scenario {
    private static final int SIZE = 5 * 1024 * 1024 - 600;

    @Override
    public void run(World world) throws Exception {
        WriteHandle writer = Ledgers.create(world.client());
        for (int entry = 0; entry < 4; entry++) {
            writer.append(Ledgers.filled(SIZE, entry));
        }
        writer.close();
        var reader = Ledgers.open(world.client(), writer.getId(), false);
        for (int entry = 0; entry < 4; entry++) {
            try (LedgerEntries entries = reader.read(entry, entry)) {
                Check.bytes(Ledgers.filled(SIZE, entry), entries.getEntry(entry).getEntryBytes(), "entry " + entry);
            }
        }
    }
}
