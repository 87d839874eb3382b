package strata.interop;

import org.apache.bookkeeper.client.BookKeeperAdmin;
import org.apache.bookkeeper.conf.ServerConfiguration;

/** Formats a cluster as `bkctl cluster init` does: the etcd keys that Apache's tools make. */
public final class Format {
    private Format() { }

    public static void main(String[] arguments) throws Exception {
        Drivers.register();
        ServerConfiguration conf = new ServerConfiguration();
        conf.setMetadataServiceUri(arguments[0]);
        if (!BookKeeperAdmin.initNewCluster(conf)) {
            System.err.println("Apache's tools would not format " + arguments[0]);
            System.exit(1);
        }
        System.exit(0);
    }
}
