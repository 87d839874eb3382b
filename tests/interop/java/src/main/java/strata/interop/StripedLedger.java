package strata.interop;

import org.apache.bookkeeper.client.api.WriteHandle;

/** With E greater than Qw, each entry is on its write set only, and is found there. */
final class StripedLedger implements Scenario {
    @Override
    public void run(World world) throws Exception {
        WriteHandle writer = Ledgers.create(world.client(), 3, 2, 2);
        Ledgers.add(writer, 60);
        writer.close();
        Ledgers.verify(Ledgers.open(world.client(), writer.getId(), false), 0, 59);
    }
}
