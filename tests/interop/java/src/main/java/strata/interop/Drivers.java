package strata.interop;

import org.apache.bookkeeper.meta.MetadataBookieDriver;
import org.apache.bookkeeper.meta.MetadataClientDriver;
import org.apache.bookkeeper.meta.MetadataDrivers;

/** An etcd metadata driver has to be named before it is used: Apache's own, or the one that stands in for it. */
final class Drivers {
    private Drivers() { }

    static void register() throws ClassNotFoundException {
        MetadataDrivers.registerClientDriver("etcd",
            Class.forName(System.getProperty("bookkeeper.metadata.client.drivers")).asSubclass(MetadataClientDriver.class));
        MetadataDrivers.registerBookieDriver("etcd",
            Class.forName(System.getProperty("bookkeeper.metadata.bookie.drivers")).asSubclass(MetadataBookieDriver.class));
    }
}
