package strata.interop;

import java.util.concurrent.TimeUnit;
import org.apache.bookkeeper.client.BookKeeper;
import org.apache.bookkeeper.client.api.DigestType;
import org.apache.bookkeeper.client.api.WriteFlag;
import org.apache.bookkeeper.client.api.WriteHandle;

/** With DEFERRED_SYNC nothing counts as confirmed before FORCE_LEDGER, and everything after it. */
final class DeferredSync implements Scenario {
    @Override
    public void run(World world) throws Exception {
        BookKeeper client = world.client();
        WriteHandle writer = client.newCreateLedgerOp().withEnsembleSize(3).withWriteQuorumSize(3).withAckQuorumSize(2)
            .withDigestType(DigestType.CRC32C).withPassword(World.PASSWORD).withWriteFlags(WriteFlag.DEFERRED_SYNC)
            .execute().get(10, TimeUnit.SECONDS);
        Ledgers.add(writer, 30);
        Check.same(-1L, writer.getLastAddConfirmed(), "LAC before the force");
        writer.force().get(10, TimeUnit.SECONDS);
        Check.same(29L, writer.getLastAddConfirmed(), "LAC after the force");
        Ledgers.add(writer, 1);
        writer.force().get(10, TimeUnit.SECONDS);
        writer.close();
        Ledgers.verify(Ledgers.open(world.client(), writer.getId(), false), 0, 30);
    }

    @Override
    public boolean onWire(Wire wire) {
        return wire == Wire.v3;
    }
}
