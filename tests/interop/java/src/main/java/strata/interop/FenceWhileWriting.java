package strata.interop;

import java.util.concurrent.atomic.AtomicLong;
import org.apache.bookkeeper.client.api.BKException;
import org.apache.bookkeeper.client.api.ReadHandle;
import org.apache.bookkeeper.client.api.WriteHandle;

/** A recovery beside a running writer: the writer is fenced, and what it was told is stored is in the closed ledger. */
final class FenceWhileWriting implements Scenario {
    @Override
    public void run(World world) throws Exception {
        WriteHandle writer = Ledgers.create(world.client());
        Ledgers.add(writer, 50);
        AtomicLong acknowledged = new AtomicLong(49);
        AtomicLong refusal = new AtomicLong(0);
        Thread writing = new Thread(() -> {
            for (long entry = 50; entry < 100_000; entry++) {
                try {
                    writer.append(Ledgers.payload(entry));
                    acknowledged.set(entry);
                } catch (BKException e) {
                    refusal.set(e.getCode());
                    return;
                } catch (InterruptedException e) {
                    return;
                }
            }
        });
        writing.start();
        Thread.sleep(300);
        ReadHandle recovered = Ledgers.open(world.client(), writer.getId(), true);
        writing.join(20_000);
        Check.that(!writing.isAlive(), "the writer goes on after a recovery");
        Check.that(refusal.get() == BKException.Code.LedgerFencedException || refusal.get() == BKException.Code.LedgerClosedException,
            "the writer was refused with code %d, expected fenced", refusal.get());
        Check.that(acknowledged.get() > 49, "nothing was acknowledged beside the recovery");
        Check.that(recovered.getLastAddConfirmed() >= acknowledged.get(), "acknowledged up to %d, closed at %d",
            acknowledged.get(), recovered.getLastAddConfirmed());
        checkLength(acknowledged.get(), recovered);
        Ledgers.verify(recovered, 0, recovered.getLastAddConfirmed());
    }

    /**
     * Apache's client closes with the length of the entry that carried the last confirmed id, which is a later one. If one bookie
     * alone stored that before it was fenced, it is not recovered and still counted: 5 of 400 runs on Apache's bookies. Here
     * that is the one entry under way.
     */
    private static void checkLength(long acknowledged, ReadHandle recovered) {
        long stored = Ledgers.bytes(recovered.getLastAddConfirmed());
        long underWay = Ledgers.bytes(acknowledged + 1);
        Check.that(recovered.getLength() == stored || recovered.getLength() == underWay,
            "length of the recovered ledger is %d, expected %d, or %d with the entry under way", recovered.getLength(), stored, underWay);
    }
}
