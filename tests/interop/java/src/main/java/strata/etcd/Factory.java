package strata.etcd;

import org.apache.bookkeeper.conf.AbstractConfiguration;
import org.apache.bookkeeper.meta.LayoutManager;
import org.apache.bookkeeper.meta.LedgerAuditorManager;
import org.apache.bookkeeper.meta.LedgerIdGenerator;
import org.apache.bookkeeper.meta.LedgerManager;
import org.apache.bookkeeper.meta.LedgerManagerFactory;
import org.apache.bookkeeper.meta.LedgerUnderreplicationManager;

/** What a client or a bookie asks for ledgers and ids. As with Apache's driver there is no replication on etcd. */
final class Factory implements LedgerManagerFactory {
    private final Etcd etcd;

    Factory(Etcd etcd) {
        this.etcd = etcd;
    }

    @Override
    public int getCurrentVersion() {
        return 0;
    }

    @Override
    public LedgerManagerFactory initialize(AbstractConfiguration conf, LayoutManager layout, int version) {
        return this;
    }

    @Override
    public LedgerIdGenerator newLedgerIdGenerator() {
        return new Ids(etcd);
    }

    @Override
    public LedgerManager newLedgerManager() {
        return new Ledgers(etcd);
    }

    @Override
    public LedgerUnderreplicationManager newLedgerUnderreplicationManager() {
        throw new UnsupportedOperationException("no replication on etcd");
    }

    @Override
    public LedgerAuditorManager newLedgerAuditorManager() {
        throw new UnsupportedOperationException("no auditor on etcd");
    }

    @Override
    public void format(AbstractConfiguration<?> conf, LayoutManager layout) {
        throw new UnsupportedOperationException("a test formats new clusters only");
    }

    @Override
    public boolean validateAndNukeExistingCluster(AbstractConfiguration<?> conf, LayoutManager layout) {
        throw new UnsupportedOperationException("a test nukes no cluster");
    }

    @Override
    public void close() { }
}
