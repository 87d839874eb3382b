package strata.interop;

import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.apache.bookkeeper.client.BookKeeper;
import org.apache.bookkeeper.client.BKException;
import org.apache.bookkeeper.client.api.DigestType;
import org.apache.bookkeeper.client.api.WriteHandle;
import org.apache.bookkeeper.net.BookieId;

/** A wrong password opens nothing, and a bookie does not let it fence: the writer goes on. */
final class WrongPassword implements Scenario {
    @Override
    public void run(World world) throws Exception {
        BookKeeper client = world.client();
        // All three bookies have to know the key before a wrong one comes: they would take that for the ledger's.
        WriteHandle writer = Ledgers.create(client, 3, 3, 3);
        Ledgers.add(writer, 10);
        Check.fails(BKException.Code.UnauthorizedAccessException, () -> {
            try {
                return client.newOpenLedgerOp().withLedgerId(writer.getId()).withDigestType(DigestType.CRC32C)
                    .withPassword("wrong".getBytes()).withRecovery(true).execute().get(20, TimeUnit.SECONDS);
            } catch (ExecutionException e) {
                throw (Exception) e.getCause();
            }
        });
        for (BookieId bookie : writer.getLedgerMetadata().getEnsembleAt(0)) {
            try (RawV2 connection = new RawV2(bookie.toString())) {
                Check.same(RawV2.UNAUTHORIZED, connection.fencingRead(writer.getId(), -1, new byte[20]), "code of " + bookie);
            }
        }
        Ledgers.add(writer, 10);
        writer.close();
    }
}
