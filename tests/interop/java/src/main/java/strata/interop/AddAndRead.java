package strata.interop;

import org.apache.bookkeeper.client.BookKeeper;
import org.apache.bookkeeper.client.api.ReadHandle;
import org.apache.bookkeeper.client.api.WriteHandle;

/** Entries of all sizes, the empty one too, come back as they were written; a closed ledger ends where it ended. */
final class AddAndRead implements Scenario {
    @Override
    public void run(World world) throws Exception {
        WriteHandle writer = Ledgers.create(world.client());
        Ledgers.add(writer, 300);
        Ledgers.verify(writer, 0, 299);
        writer.close();

        BookKeeper other = world.client();
        ReadHandle reader = Ledgers.open(other, writer.getId(), false);
        Check.that(reader.isClosed(), "the ledger is open after its writer closed it");
        Check.same(299L, reader.getLastAddConfirmed(), "last entry of the closed ledger");
        Check.same(Ledgers.bytes(299), reader.getLength(), "length of the closed ledger");
        Ledgers.verify(reader, 0, 299);
    }
}
