package strata.etcd;

import org.apache.bookkeeper.conf.ServerConfiguration;
import org.apache.bookkeeper.discover.RegistrationManager;
import org.apache.bookkeeper.meta.LayoutManager;
import org.apache.bookkeeper.meta.LedgerManagerFactory;
import org.apache.bookkeeper.meta.MetadataBookieDriver;
import org.apache.bookkeeper.stats.StatsLogger;

/** The way of Apache's bookie to its metadata. */
public final class BookieDriver implements MetadataBookieDriver {
    private Etcd etcd;

    @Override
    public MetadataBookieDriver initialize(ServerConfiguration conf, StatsLogger stats) {
        etcd = new Etcd(conf.getMetadataServiceUriUnchecked());
        return this;
    }

    @Override
    public String getScheme() {
        return "etcd";
    }

    @Override
    public RegistrationManager createRegistrationManager() {
        return new Registration(etcd);
    }

    @Override
    public LedgerManagerFactory getLedgerManagerFactory() {
        return new Factory(etcd);
    }

    @Override
    public LayoutManager getLayoutManager() {
        return new Layout(etcd);
    }

    @Override
    public void close() {
        etcd.close();
    }
}
