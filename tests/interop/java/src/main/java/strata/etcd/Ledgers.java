package strata.etcd;

import io.etcd.jetcd.KeyValue;
import io.etcd.jetcd.options.PutOption;
import java.io.IOException;
import java.util.HashSet;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import org.apache.bookkeeper.client.BKException;
import org.apache.bookkeeper.client.api.LedgerMetadata;
import org.apache.bookkeeper.meta.LedgerManager;
import org.apache.bookkeeper.meta.LedgerMetadataSerDe;
import org.apache.bookkeeper.proto.BookkeeperInternalCallbacks.LedgerMetadataListener;
import org.apache.bookkeeper.proto.BookkeeperInternalCallbacks.Processor;
import org.apache.bookkeeper.versioning.LongVersion;
import org.apache.bookkeeper.versioning.Version;
import org.apache.bookkeeper.versioning.Versioned;
import org.apache.zookeeper.AsyncCallback;

/** Ledger metadata below `ledgers/`, changed by compare-and-swap on the key's revision. */
final class Ledgers implements LedgerManager {
    private final Etcd etcd;
    private final LedgerMetadataSerDe format = new LedgerMetadataSerDe();
    private final ExecutorService thread = Executors.newSingleThreadExecutor(task -> {
        Thread daemon = new Thread(task, "etcd-ledgers");
        daemon.setDaemon(true);
        return daemon;
    });

    Ledgers(Etcd etcd) {
        this.etcd = etcd;
    }

    private String key(long id) {
        return etcd.key("ledgers/") + new UUID(0, id);
    }

    private interface Work<T> {
        T run() throws Exception;
    }

    private <T> CompletableFuture<T> later(Work<T> work) {
        CompletableFuture<T> result = new CompletableFuture<>();
        thread.execute(() -> {
            try {
                result.complete(work.run());
            } catch (BKException e) {
                result.completeExceptionally(e);
            } catch (Exception e) {
                result.completeExceptionally(new BKException.MetaStoreException(e));
            }
        });
        return result;
    }

    @Override
    public CompletableFuture<Versioned<LedgerMetadata>> createLedgerMetadata(long id, LedgerMetadata metadata) {
        return later(() -> {
            long revision = etcd.swap(key(id), 0, format.serialize(metadata), PutOption.DEFAULT);
            if (revision < 0) {
                throw new BKException.BKLedgerExistException();
            }
            return new Versioned<>(metadata, new LongVersion(revision));
        });
    }

    @Override
    public CompletableFuture<Void> removeLedgerMetadata(long id, Version version) {
        return later(() -> {
            KeyValue found = present(id);
            long revision = version == Version.ANY ? found.getModRevision() : ((LongVersion) version).getLongVersion();
            if (!etcd.remove(key(id), revision)) {
                throw new BKException.BKMetadataVersionException();
            }
            return null;
        });
    }

    private KeyValue present(long id) throws Exception {
        KeyValue found = etcd.get(key(id));
        if (found == null) {
            throw new BKException.BKNoSuchLedgerExistsException();
        }
        return found;
    }

    @Override
    public CompletableFuture<Versioned<LedgerMetadata>> readLedgerMetadata(long id) {
        return later(() -> {
            KeyValue found = present(id);
            LedgerMetadata metadata = format.parseConfig(found.getValue().getBytes(), id, Optional.empty());
            return new Versioned<>(metadata, new LongVersion(found.getModRevision()));
        });
    }

    @Override
    public CompletableFuture<Versioned<LedgerMetadata>> writeLedgerMetadata(long id, LedgerMetadata metadata, Version version) {
        return later(() -> {
            long known = ((LongVersion) version).getLongVersion();
            long revision = etcd.swap(key(id), known, format.serialize(metadata), PutOption.DEFAULT);
            if (revision < 0) {
                present(id);
                throw new BKException.BKMetadataVersionException();
            }
            return new Versioned<>(metadata, new LongVersion(revision));
        });
    }

    /** Changes of metadata are not followed: readers of the scenarios ask. */
    @Override
    public void registerLedgerMetadataListener(long id, LedgerMetadataListener listener) { }

    @Override
    public void unregisterLedgerMetadataListener(long id, LedgerMetadataListener listener) { }

    private Set<Long> all() throws IOException {
        try {
            Set<Long> ids = new HashSet<>();
            for (String name : etcd.names(etcd.key("ledgers/"))) {
                ids.add(UUID.fromString(name).getLeastSignificantBits());
            }
            return ids;
        } catch (Exception e) {
            throw new IOException(e);
        }
    }

    @Override
    public void asyncProcessLedgers(Processor<Long> processor, AsyncCallback.VoidCallback done, Object context, int ok, int failed) {
        later(() -> {
            int result = ok;
            for (long id : all()) {
                CompletableFuture<Integer> one = new CompletableFuture<>();
                processor.process(id, (code, path, ctx) -> one.complete(code));
                result = Etcd.wait(one) == ok ? result : failed;
            }
            return result;
        }).whenComplete((code, error) -> done.processResult(error == null ? code : failed, null, context));
    }

    @Override
    public LedgerRangeIterator getLedgerRanges(long timeoutMs) {
        return new LedgerRangeIterator() {
            private Set<Long> ids;

            @Override
            public boolean hasNext() throws IOException {
                if (ids == null) {
                    ids = all();
                }
                return !ids.isEmpty();
            }

            @Override
            public LedgerRange next() throws IOException {
                hasNext();
                LedgerRange range = new LedgerRange(ids);
                ids = Set.of();
                return range;
            }
        };
    }

    @Override
    public void close() {
        thread.shutdownNow();
    }
}
