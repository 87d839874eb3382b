package strata.interop;

import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.apache.bookkeeper.client.api.LastConfirmedAndEntry;
import org.apache.bookkeeper.client.api.ReadHandle;
import org.apache.bookkeeper.client.api.WriteHandle;

/** A long poll is answered when the LAC moves, with the entry that was asked for; or empty when its time is up. */
final class LacLongPoll implements Scenario {
    @Override
    public void run(World world) throws Exception {
        WriteHandle writer = Ledgers.create(world.client());
        Ledgers.add(writer, 5);
        ReadHandle reader = Ledgers.open(world.client(), writer.getId(), false);
        long known = reader.readLastAddConfirmed();

        CompletableFuture<LastConfirmedAndEntry> poll = reader.readLastAddConfirmedAndEntryAsync(known + 1, 20_000, false);
        Thread.sleep(300);
        Check.that(!poll.isDone(), "a long poll for entry %d was answered before anything was added", known + 1);
        Ledgers.add(writer, 3);
        try (LastConfirmedAndEntry answer = poll.get(10, TimeUnit.SECONDS)) {
            Check.that(answer.getLastAddConfirmed() > known, "LAC did not move: %d", answer.getLastAddConfirmed());
            Check.that(answer.hasEntry(), "a long poll woke without its entry");
            Check.same(known + 1, answer.getEntry().getEntryId(), "entry of the long poll");
            Check.bytes(Ledgers.payload(known + 1), answer.getEntry().getEntryBytes(), "entry of the long poll");
        }

        long last = reader.readLastAddConfirmed();
        long start = System.nanoTime();
        try (LastConfirmedAndEntry answer = reader.readLastAddConfirmedAndEntryAsync(last + 5, 1_000, false).get(15, TimeUnit.SECONDS)) {
            Check.that(!answer.hasEntry(), "an entry that was never written");
        }
        Check.that(System.nanoTime() - start < 14_000_000_000L, "a long poll of a second took over 14 s");
        writer.close();
    }

    @Override
    public boolean onWire(Wire wire) {
        return wire == Wire.v3;
    }
}
