package strata.interop;

import org.apache.bookkeeper.client.api.LedgerEntries;
import org.apache.bookkeeper.client.api.ReadHandle;
import org.apache.bookkeeper.client.api.WriteHandle;

/** BATCH_READ: bounded by count, bounded by bytes, and never without the first entry. v3 falls back to single reads. */
final class BatchRead implements Scenario {
    @Override
    public void run(World world) throws Exception {
        WriteHandle writer = Ledgers.create(world.client());
        Ledgers.add(writer, 200);
        writer.close();
        ReadHandle reader = Ledgers.open(world.client(conf -> conf.setBatchReadEnabled(true)), writer.getId(), false);
        try (LedgerEntries entries = reader.batchRead(10, 25, 1 << 20)) {
            Ledgers.verify(entries, 10, 34);
        }
        try (LedgerEntries entries = reader.batchRead(190, 100, 1 << 20)) {
            Ledgers.verify(entries, 190, 199);
        }
        long read = 0;
        while (read < 200) {
            try (LedgerEntries entries = reader.batchRead(read, 200, 4000)) {
                long last = read - 1;
                for (var entry : entries) {
                    last++;
                    Check.same(last, entry.getEntryId(), "id in a batch");
                    Check.bytes(Ledgers.payload(last), entry.getEntryBytes(), "entry " + last + " in a batch");
                }
                Check.that(last >= read, "a batch at %d had no entry", read);
                Check.that(world.wire == Wire.v3 || last < read + 199, "a batch bounded by 4,000 bytes held everything");
                read = last + 1;
            }
        }
    }

    /** Only the v2 protocol has a message for it. */
    @Override
    public boolean onWire(Wire wire) {
        return wire == Wire.v2;
    }
}
