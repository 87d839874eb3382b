package strata.interop;

import org.apache.bookkeeper.client.api.ReadHandle;
import org.apache.bookkeeper.client.api.WriteHandle;

/** A reader of an open ledger learns how far it may read from the entries themselves. */
final class LacPiggyBack implements Scenario {
    @Override
    public void run(World world) throws Exception {
        WriteHandle writer = Ledgers.create(world.client());
        Ledgers.add(writer, 20);
        ReadHandle reader = Ledgers.open(world.client(), writer.getId(), false);
        Check.that(!reader.isClosed(), "a ledger that is being written is closed");
        Check.that(reader.getLastAddConfirmed() < 20, "LAC above what was written");
        for (int round = 0; round < 5; round++) {
            Ledgers.add(writer, 1);
        }
        long confirmed = reader.readLastAddConfirmed();
        Check.that(confirmed == 23 || confirmed == 24, "LAC is %d after 25 adds", confirmed);
        Check.same(confirmed, reader.tryReadLastAddConfirmed(), "LAC by the first answer");
        Ledgers.verify(reader, 0, confirmed);
        writer.close();
    }
}
