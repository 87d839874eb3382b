package strata.interop;

import java.util.concurrent.atomic.AtomicLong;
import org.apache.bookkeeper.client.api.BKException;
import org.apache.bookkeeper.client.api.ReadHandle;
import org.apache.bookkeeper.client.api.WriteHandle;

/** Our recovery beside a running Java writer: the writer is fenced, and what it was told is stored is there. */
final class OursRecoversJava implements Scenario {
    @Override
    public void run(World world) throws Exception {
        WriteHandle writer = Ledgers.create(world.client());
        Ledgers.add(writer, 30);
        AtomicLong acknowledged = new AtomicLong(29);
        AtomicLong refusal = new AtomicLong();
        Thread writing = new Thread(() -> {
            try {
                for (long entry = 30; entry < 100_000; entry++) {
                    writer.append(Ledgers.payload(entry));
                    acknowledged.set(entry);
                }
            } catch (BKException e) {
                refusal.set(e.getCode());
            } catch (InterruptedException e) {
                refusal.set(1);
            }
        });
        writing.start();
        String closed = world.stratamq("admin", "--metadata", world.uri, "ledger", "recover", "--json", Long.toString(writer.getId()));
        writing.join(20_000);
        Check.that(!writing.isAlive(), "the Java writer goes on after our recovery");
        Check.that(refusal.get() == BKException.Code.LedgerFencedException || refusal.get() == BKException.Code.LedgerClosedException,
            "the Java writer was refused with code %d, expected fenced", refusal.get());
        long last = Ours.number(closed, "last_entry");
        Check.that(last >= acknowledged.get() && acknowledged.get() > 29, "acknowledged up to %d, closed at %d", acknowledged.get(), last);
        Check.same(Ledgers.bytes(last), Ours.number(closed, "length"), "length after our recovery");
        ReadHandle reader = Ledgers.open(world.client(), writer.getId(), true);
        Check.same(last, reader.getLastAddConfirmed(), "last entry as Java sees it");
        Ledgers.verify(reader, 0, last);
    }
}
