package strata.interop;

import org.apache.bookkeeper.client.BookKeeper;
import org.apache.bookkeeper.client.api.ReadHandle;
import org.apache.bookkeeper.client.api.WriteHandle;

/** A writer that went without closing: recovery finds its last entry; a second recovery finds the same. An empty ledger too. */
final class RecoverAfterWriterDeath implements Scenario {
    @Override
    public void run(World world) throws Exception {
        BookKeeper dying = world.client();
        WriteHandle writer = Ledgers.create(dying);
        Ledgers.add(writer, 120);
        WriteHandle unused = Ledgers.create(dying);

        for (int round = 0; round < 2; round++) {
            ReadHandle recovered = Ledgers.open(world.client(), writer.getId(), true);
            Check.same(119L, recovered.getLastAddConfirmed(), "last entry after recovery");
            Check.same(Ledgers.bytes(119), recovered.getLength(), "length after recovery");
            Ledgers.verify(recovered, 0, 119);
        }
        ReadHandle empty = Ledgers.open(world.client(), unused.getId(), true);
        Check.same(-1L, empty.getLastAddConfirmed(), "last entry of a ledger without entries");
        Check.same(0L, empty.getLength(), "length of a ledger without entries");
    }
}
