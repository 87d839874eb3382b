package strata.interop;

import org.apache.bookkeeper.meta.MetadataDrivers;
import org.apache.bookkeeper.metadata.etcd.EtcdMetadataBookieDriver;
import org.apache.bookkeeper.metadata.etcd.EtcdMetadataClientDriver;

/** Apache's etcd metadata driver has to be named before it is used. */
final class Drivers {
    private Drivers() { }

    static void register() {
        MetadataDrivers.registerClientDriver("etcd", EtcdMetadataClientDriver.class);
        MetadataDrivers.registerBookieDriver("etcd", EtcdMetadataBookieDriver.class);
    }
}
