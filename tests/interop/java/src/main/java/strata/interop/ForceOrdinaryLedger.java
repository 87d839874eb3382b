package strata.interop;

import java.util.concurrent.TimeUnit;
import org.apache.bookkeeper.client.api.WriteHandle;

/** FORCE_LEDGER of a ledger whose adds are durable already succeeds. */
final class ForceOrdinaryLedger implements Scenario {
    @Override
    public void run(World world) throws Exception {
        WriteHandle writer = Ledgers.create(world.client());
        Ledgers.add(writer, 5);
        writer.force().get(10, TimeUnit.SECONDS);
        writer.close();
    }

    @Override
    public boolean onWire(Wire wire) {
        return wire == Wire.v3;
    }
}
