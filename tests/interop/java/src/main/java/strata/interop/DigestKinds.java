package strata.interop;

import java.util.concurrent.TimeUnit;
import org.apache.bookkeeper.client.BookKeeper;
import org.apache.bookkeeper.client.api.DigestType;
import org.apache.bookkeeper.client.api.LedgerEntries;
import org.apache.bookkeeper.client.api.ReadHandle;
import org.apache.bookkeeper.client.api.WriteHandle;

/** Each of the four digests is stored and given back untouched: the client verifies it. */
final class DigestKinds implements Scenario {
    @Override
    public void run(World world) throws Exception {
        BookKeeper client = world.client();
        for (DigestType digest : DigestType.values()) {
            WriteHandle writer = client.newCreateLedgerOp().withEnsembleSize(3).withWriteQuorumSize(3).withAckQuorumSize(2)
                .withDigestType(digest).withPassword(World.PASSWORD).execute().get(30, TimeUnit.SECONDS);
            Ledgers.add(writer, 10);
            writer.close();
            ReadHandle reader = client.newOpenLedgerOp().withLedgerId(writer.getId()).withDigestType(digest)
                .withPassword(World.PASSWORD).execute().get(30, TimeUnit.SECONDS);
            try (LedgerEntries entries = reader.read(0, 9)) {
                Ledgers.verify(entries, 0, 9);
            }
        }
    }
}
