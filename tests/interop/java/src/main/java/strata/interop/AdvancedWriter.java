package strata.interop;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.apache.bookkeeper.client.BookKeeper;
import org.apache.bookkeeper.client.api.DigestType;
import org.apache.bookkeeper.client.api.WriteAdvHandle;

/** A writer that chooses the ids may send them out of order. */
final class AdvancedWriter implements Scenario {
    @Override
    public void run(World world) throws Exception {
        BookKeeper client = world.client();
        WriteAdvHandle writer = client.newCreateLedgerOp().withEnsembleSize(3).withWriteQuorumSize(3).withAckQuorumSize(2)
            .withDigestType(DigestType.CRC32C).withPassword(World.PASSWORD).makeAdv().execute().get(10, TimeUnit.SECONDS);
        List<CompletableFuture<Long>> adds = new ArrayList<>();
        for (long entry = 19; entry >= 0; entry--) {
            adds.add(writer.writeAsync(entry, Ledgers.payload(entry)));
        }
        for (CompletableFuture<Long> add : adds) {
            add.get(20, TimeUnit.SECONDS);
        }
        writer.close();
        Ledgers.verify(Ledgers.open(world.client(), writer.getId(), false), 0, 19);
    }
}
