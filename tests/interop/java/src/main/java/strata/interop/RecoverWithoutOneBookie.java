package strata.interop;

import org.apache.bookkeeper.client.api.ReadHandle;
import org.apache.bookkeeper.client.api.WriteHandle;

/** Recovery while a member of the last ensemble is dead. */
final class RecoverWithoutOneBookie implements Scenario {
    @Override
    public void run(World world) throws Exception {
        WriteHandle writer = Ledgers.create(world.client());
        Ledgers.add(writer, 40);
        Object victim = writer.getLedgerMetadata().getEnsembleAt(0).get(2);
        world.killBookie(victim);
        try {
            ReadHandle recovered = Ledgers.open(world.client(), writer.getId(), true);
            Check.same(39L, recovered.getLastAddConfirmed(), "last entry after recovery");
            Ledgers.verify(recovered, 0, 39);
        } finally {
            world.startBookie(victim);
        }
    }
}
