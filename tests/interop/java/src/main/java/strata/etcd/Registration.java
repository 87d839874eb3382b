package strata.etcd;

import io.etcd.jetcd.KeyValue;
import io.etcd.jetcd.lease.LeaseKeepAliveResponse;
import io.etcd.jetcd.options.PutOption;
import io.etcd.jetcd.support.CloseableClient;
import io.grpc.stub.StreamObserver;
import java.nio.charset.StandardCharsets;
import java.util.UUID;
import org.apache.bookkeeper.bookie.BookieException;
import org.apache.bookkeeper.discover.BookieServiceInfo;
import org.apache.bookkeeper.discover.RegistrationManager;
import org.apache.bookkeeper.net.BookieId;
import org.apache.bookkeeper.versioning.LongVersion;
import org.apache.bookkeeper.versioning.Version;
import org.apache.bookkeeper.versioning.Versioned;

/** What a bookie says of itself: registration on a lease, cookie; and the formatting of a cluster. */
final class Registration implements RegistrationManager {
    private static final long LEASE_SECONDS = 10;
    private static final String LAYOUT = "2\norg.apache.bookkeeper.metadata.etcd.EtcdLedgerManagerFactory:0";

    private final Etcd etcd;
    private Long lease;
    private CloseableClient keeping;
    private RegistrationListener listener = () -> { };

    Registration(Etcd etcd) {
        this.etcd = etcd;
    }

    private interface Work<T> {
        T run() throws Exception;
    }

    private static <T> T tried(Work<T> work) throws BookieException {
        try {
            return work.run();
        } catch (BookieException e) {
            throw e;
        } catch (Exception e) {
            throw new BookieException.MetadataStoreException(e);
        }
    }

    private synchronized long lease() throws Exception {
        if (lease == null) {
            lease = Etcd.wait(etcd.client.getLeaseClient().grant(LEASE_SECONDS)).getID();
            keeping = etcd.client.getLeaseClient().keepAlive(lease, new StreamObserver<LeaseKeepAliveResponse>() {
                @Override
                public void onNext(LeaseKeepAliveResponse alive) { }

                @Override
                public void onError(Throwable why) {
                    listener.onRegistrationExpired();
                }

                @Override
                public void onCompleted() { }
            });
        }
        return lease;
    }

    private String key(BookieId id, boolean readOnly) {
        return etcd.key(readOnly ? "bookies/readonly/" : "bookies/writable/") + id;
    }

    /** Waits for the lease of an earlier process of this bookie to expire. */
    @Override
    public void registerBookie(BookieId id, boolean readOnly, BookieServiceInfo info) throws BookieException {
        tried(() -> {
            PutOption leased = PutOption.builder().withLeaseId(lease()).build();
            for (int attempt = 0; etcd.swap(key(id, readOnly), 0, new byte[0], leased) < 0; attempt++) {
                KeyValue found = etcd.get(key(id, readOnly));
                if (found != null && found.getLease() == lease()) {
                    break;
                }
                if (attempt > 20 * LEASE_SECONDS) {
                    throw new BookieException.MetadataStoreException("another process is registered as " + id);
                }
                Thread.sleep(100);
            }
            if (readOnly) {
                unregisterBookie(id, false);
            }
            return null;
        });
    }

    @Override
    public void unregisterBookie(BookieId id, boolean readOnly) throws BookieException {
        tried(() -> Etcd.wait(etcd.client.getKVClient().delete(Etcd.bytes(key(id, readOnly)))));
    }

    @Override
    public boolean isBookieRegistered(BookieId id) throws BookieException {
        return tried(() -> etcd.get(key(id, false)) != null || etcd.get(key(id, true)) != null);
    }

    @Override
    public String getClusterInstanceId() throws BookieException {
        return tried(() -> {
            KeyValue found = etcd.get(etcd.key("instanceid"));
            if (found == null) {
                throw new BookieException.MetadataStoreException("the cluster is not formatted");
            }
            return found.getValue().toString(StandardCharsets.UTF_8);
        });
    }

    private String cookie(BookieId id) {
        return etcd.key("cookies/") + id;
    }

    @Override
    public void writeCookie(BookieId id, Versioned<byte[]> cookie) throws BookieException {
        tried(() -> {
            long known = Version.NEW == cookie.getVersion() ? 0 : ((LongVersion) cookie.getVersion()).getLongVersion();
            if (etcd.swap(cookie(id), known, cookie.getValue(), PutOption.DEFAULT) < 0) {
                throw new BookieException.CookieExistException("the cookie of " + id + " has changed");
            }
            return null;
        });
    }

    @Override
    public Versioned<byte[]> readCookie(BookieId id) throws BookieException {
        return tried(() -> {
            KeyValue found = etcd.get(cookie(id));
            if (found == null) {
                throw new BookieException.CookieNotFoundException(id.toString());
            }
            return new Versioned<>(found.getValue().getBytes(), new LongVersion(found.getModRevision()));
        });
    }

    @Override
    public void removeCookie(BookieId id, Version version) throws BookieException {
        tried(() -> etcd.remove(cookie(id), ((LongVersion) version).getLongVersion()));
    }

    @Override
    public boolean prepareFormat() throws Exception {
        return etcd.get(etcd.scope()) != null;
    }

    @Override
    public boolean initNewCluster() throws Exception {
        if (etcd.create(etcd.scope(), "") < 0) {
            return false;
        }
        etcd.create(etcd.key("layout"), LAYOUT);
        etcd.create(etcd.key("instanceid"), UUID.randomUUID().toString());
        for (String folder : new String[] {"bookies", "bookies/writable", "bookies/readonly", "cookies", "ledgers", "buckets", "underreplication"}) {
            etcd.create(etcd.key(folder), "");
        }
        return true;
    }

    @Override
    public boolean format() {
        throw new UnsupportedOperationException("a test formats new clusters only");
    }

    @Override
    public boolean nukeExistingCluster() {
        throw new UnsupportedOperationException("a test nukes no cluster");
    }

    @Override
    public void addRegistrationListener(RegistrationListener added) {
        listener = added;
    }

    @Override
    public synchronized void close() {
        if (keeping != null) {
            keeping.close();
        }
        if (lease != null) {
            etcd.client.getLeaseClient().revoke(lease);
        }
    }
}
