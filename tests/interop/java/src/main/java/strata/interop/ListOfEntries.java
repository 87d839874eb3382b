package strata.interop;

import java.util.List;
import java.util.concurrent.TimeUnit;
import org.apache.bookkeeper.client.BookKeeperAdmin;
import org.apache.bookkeeper.client.api.WriteHandle;
import org.apache.bookkeeper.net.BookieId;
import org.apache.bookkeeper.util.AvailabilityOfEntriesOfLedger;

/** GET_LIST_OF_ENTRIES: each bookie names exactly the entries whose write set it is in. */
final class ListOfEntries implements Scenario {
    private static final int ENTRIES = 50;

    @Override
    public void run(World world) throws Exception {
        WriteHandle writer = Ledgers.create(world.client(), 3, 2, 2);
        Ledgers.add(writer, ENTRIES);
        List<BookieId> ensemble = List.copyOf(writer.getLedgerMetadata().getEnsembleAt(0));
        writer.close();
        BookKeeperAdmin admin = world.admin();
        for (int at = 0; at < ensemble.size(); at++) {
            AvailabilityOfEntriesOfLedger stored =
                admin.asyncGetListOfEntriesOfLedger(ensemble.get(at), writer.getId()).get(10, TimeUnit.SECONDS);
            for (long entry = 0; entry < ENTRIES; entry++) {
                boolean expected = entry % 3 == at || (entry + 1) % 3 == at;
                Check.same(expected, stored.isEntryAvailable(entry), "entry " + entry + " on " + ensemble.get(at));
            }
        }
    }

    /** On a v2 client Apache sends this v3 message over its v2 connection, which Apache's bookie cannot read. */
    @Override
    public boolean onWire(Wire wire) {
        return wire == Wire.v3;
    }
}
