package strata.etcd;

import java.util.Optional;
import java.util.concurrent.ScheduledExecutorService;
import org.apache.bookkeeper.conf.ClientConfiguration;
import org.apache.bookkeeper.discover.RegistrationClient;
import org.apache.bookkeeper.meta.LayoutManager;
import org.apache.bookkeeper.meta.LedgerManagerFactory;
import org.apache.bookkeeper.meta.MetadataClientDriver;
import org.apache.bookkeeper.stats.StatsLogger;

/** The way of Apache's client to its metadata. */
public final class ClientDriver implements MetadataClientDriver {
    private Etcd etcd;

    @Override
    public MetadataClientDriver initialize(ClientConfiguration conf, ScheduledExecutorService scheduler, StatsLogger stats,
                                           Optional<Object> context) {
        etcd = new Etcd(conf.getMetadataServiceUriUnchecked());
        return this;
    }

    @Override
    public String getScheme() {
        return "etcd";
    }

    @Override
    public RegistrationClient getRegistrationClient() {
        return new Registered(etcd);
    }

    @Override
    public LedgerManagerFactory getLedgerManagerFactory() {
        return new Factory(etcd);
    }

    @Override
    public LayoutManager getLayoutManager() {
        return new Layout(etcd);
    }

    /** There is no session: nothing can expire. */
    @Override
    public void setSessionStateListener(SessionStateListener listener) { }

    @Override
    public void close() {
        etcd.close();
    }
}
