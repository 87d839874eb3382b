package strata.interop;

import org.apache.bookkeeper.client.BookKeeper;
import org.apache.bookkeeper.client.LedgerHandle;
import org.apache.bookkeeper.client.api.ReadHandle;
import org.apache.bookkeeper.client.api.WriteHandle;

/** A member of the open ensemble is killed: the writer goes on with another, and readers follow the fragments. */
final class EnsembleChange implements Scenario {
    @Override
    public void run(World world) throws Exception {
        BookKeeper client = world.client();
        WriteHandle writer = Ledgers.create(client);
        Ledgers.add(writer, 40);
        Object victim = writer.getLedgerMetadata().getEnsembleAt(0).get(1);
        world.killBookie(victim);
        try {
            Ledgers.add(writer, 40);
            writer.close();
            int fragments = ((LedgerHandle) writer).getLedgerMetadata().getAllEnsembles().size();
            Check.that(fragments >= 2, "the ensemble did not change though %s is dead", victim);
            ReadHandle reader = Ledgers.open(world.client(), writer.getId(), false);
            Check.same(79L, reader.getLastAddConfirmed(), "last entry");
            Ledgers.verify(reader, 0, 79);
        } finally {
            world.startBookie(victim);
        }
        Ledgers.verify(Ledgers.open(world.client(), writer.getId(), false), 0, 79);
    }
}
