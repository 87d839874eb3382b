package strata.interop;

import org.apache.bookkeeper.client.BookKeeper;
import org.apache.bookkeeper.client.BookKeeperAdmin;
import org.apache.bookkeeper.client.api.LedgerMetadata;
import org.apache.bookkeeper.client.api.WriteHandle;
import org.apache.bookkeeper.net.BookieId;
import java.util.concurrent.TimeUnit;

/** Apache's admin client copies a dead bookie's entries to another bookie. */
final class ReplicateByApache implements Scenario {
    private static final int ENTRIES = 60;

    @Override
    public void run(World world) throws Exception {
        BookKeeper client = world.client();
        WriteHandle writer = Ledgers.create(client, 3, 2, 2);
        Ledgers.add(writer, ENTRIES);
        BookieId victim = writer.getLedgerMetadata().getEnsembleAt(0).get(0);
        writer.close();
        world.killBookie(victim);
        try {
            BookKeeperAdmin admin = world.admin();
            waitUntilUnregistered(admin, victim);
            admin.recoverBookieData(writer.getId(), java.util.Set.of(victim), false, false);
            LedgerMetadata after = world.client().getLedgerMetadata(writer.getId()).get(10, TimeUnit.SECONDS);
            Check.that(!after.getEnsembleAt(0).contains(victim), "%s is still in the ensemble", victim);
            Ledgers.verify(Ledgers.open(world.client(), writer.getId(), false), 0, ENTRIES - 1);
        } finally {
            world.startBookie(victim);
        }
    }

    private static void waitUntilUnregistered(BookKeeperAdmin admin, BookieId victim) throws Exception {
        for (int attempt = 0; attempt < 150 && admin.getAvailableBookies().contains(victim); attempt++) {
            Thread.sleep(200);
        }
    }
}
