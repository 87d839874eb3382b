package strata.interop;

import org.apache.bookkeeper.client.LedgerHandle;
import org.apache.bookkeeper.client.api.WriteHandle;

/** WRITE_LAC and READ_LAC: the last entry becomes readable without another add. */
final class LacExplicit implements Scenario {
    @Override
    public void run(World world) throws Exception {
        WriteHandle writer = Ledgers.create(world.client(conf -> conf.setExplictLacInterval(100)));
        Ledgers.add(writer, 10);
        LedgerHandle reader = (LedgerHandle) Ledgers.open(world.client(), writer.getId(), false);
        long end = System.nanoTime() + 15_000_000_000L;
        while (reader.readExplicitLastConfirmed() < 9) {
            Check.that(System.nanoTime() < end, "the explicit LAC is %d after 15 s, expected 9", reader.readExplicitLastConfirmed());
            Thread.sleep(50);
        }
        Ledgers.verify(reader, 0, 9);
        writer.close();
    }
}
