package strata.interop;

import java.util.concurrent.TimeUnit;
import org.apache.bookkeeper.client.BookKeeper;
import org.apache.bookkeeper.client.api.DigestType;
import org.apache.bookkeeper.client.api.WriteHandle;

/** What Java wrote, metadata and entries, with each digest, our client understands; of an open ledger the confirmed part. */
final class OursReadsJava implements Scenario {
    @Override
    public void run(World world) throws Exception {
        BookKeeper client = world.client();
        for (DigestType digest : DigestType.values()) {
            WriteHandle writer = client.newCreateLedgerOp().withEnsembleSize(3).withWriteQuorumSize(2).withAckQuorumSize(2)
                .withDigestType(digest).withPassword(World.PASSWORD).execute().get(10, TimeUnit.SECONDS);
            Ledgers.add(writer, 40);
            writer.close();
            String info = world.stratamq("admin", "--metadata", world.uri, "ledger", "info", "--json", Long.toString(writer.getId()));
            Check.same(39L, Ours.number(info, "last_entry"), "last entry of " + digest);
            Check.same(Ledgers.bytes(39), Ours.number(info, "length"), "length of " + digest);
            Ours.verify(world, writer.getId(), 39);
        }
        WriteHandle open = Ledgers.create(client);
        Ledgers.add(open, 30);
        Ledgers.add(open, 1);
        int read = Ours.read(world, open.getId()).size();
        Check.that(read == 30 || read == 31, "our client reads %d of 31 entries of an open ledger", read);
        open.close();
    }
}
