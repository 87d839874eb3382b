package strata.interop;

import java.util.concurrent.TimeUnit;
import org.apache.bookkeeper.client.BookKeeper;
import org.apache.bookkeeper.client.api.BKException;
import org.apache.bookkeeper.client.api.WriteHandle;

/** A deleted ledger cannot be opened, and its id is not given again. */
final class DeleteLedger implements Scenario {
    @Override
    public void run(World world) throws Exception {
        BookKeeper client = world.client();
        WriteHandle writer = Ledgers.create(client);
        Ledgers.add(writer, 10);
        writer.close();
        client.newDeleteLedgerOp().withLedgerId(writer.getId()).execute().get(10, TimeUnit.SECONDS);
        Check.fails(BKException.Code.NoSuchLedgerExistsException, () -> {
            try {
                return Ledgers.open(client, writer.getId(), false);
            } catch (java.util.concurrent.ExecutionException e) {
                throw (Exception) e.getCause();
            }
        });
        WriteHandle next = Ledgers.create(client);
        Check.that(next.getId() != writer.getId(), "the id %d was given twice", next.getId());
        next.close();
    }
}
