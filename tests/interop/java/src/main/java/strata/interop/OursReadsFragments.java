package strata.interop;

import org.apache.bookkeeper.client.LedgerHandle;
import org.apache.bookkeeper.client.api.WriteHandle;

/** A ledger of several fragments, as Java's ensemble changes leave it, read and recovered by us. */
final class OursReadsFragments implements Scenario {
    @Override
    public void run(World world) throws Exception {
        WriteHandle writer = Ledgers.create(world.client());
        Ledgers.add(writer, 20);
        Object victim = writer.getLedgerMetadata().getEnsembleAt(0).get(0);
        world.killBookie(victim);
        try {
            Ledgers.add(writer, 20);
            int fragments = ((LedgerHandle) writer).getLedgerMetadata().getAllEnsembles().size();
            Check.that(fragments >= 2, "the ensemble did not change though %s is dead", victim);
            String closed = world.stratamq("admin", "--metadata", world.uri, "ledger", "recover", "--json", Long.toString(writer.getId()));
            Check.same(39L, Ours.number(closed, "last_entry"), "last entry after our recovery");
            Ours.verify(world, writer.getId(), 39);
        } finally {
            world.startBookie(victim);
        }
    }
}
