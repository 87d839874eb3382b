package strata.interop;

import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.apache.bookkeeper.client.BookKeeper;
import org.apache.bookkeeper.client.api.DigestType;
import org.apache.bookkeeper.client.api.LedgerMetadata;
import org.apache.bookkeeper.client.api.ListLedgersResult;
import org.apache.bookkeeper.client.api.WriteHandle;

/** Metadata of the application's own, and the list of ledgers. */
final class CustomMetadata implements Scenario {
    @Override
    public void run(World world) throws Exception {
        BookKeeper client = world.client();
        WriteHandle writer = client.newCreateLedgerOp().withEnsembleSize(3).withWriteQuorumSize(2).withAckQuorumSize(2)
            .withDigestType(DigestType.CRC32C).withPassword(World.PASSWORD)
            .withCustomMetadata(Map.of("app", "interop".getBytes(), "empty", new byte[0])).execute().get(10, TimeUnit.SECONDS);
        writer.close();
        LedgerMetadata metadata = world.client().getLedgerMetadata(writer.getId()).get(10, TimeUnit.SECONDS);
        Check.bytes("interop".getBytes(), metadata.getCustomMetadata().get("app"), "custom metadata");
        Check.bytes(new byte[0], metadata.getCustomMetadata().get("empty"), "empty custom metadata");
        boolean listed = false;
        try (ListLedgersResult ledgers = client.newListLedgersOp().execute().get(10, TimeUnit.SECONDS)) {
            for (Long id : ledgers.toIterable()) {
                listed |= id == writer.getId();
            }
        }
        Check.that(listed, "ledger %d is not in the list of ledgers", writer.getId());
    }
}
