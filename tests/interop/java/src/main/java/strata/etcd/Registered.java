package strata.etcd;

import io.etcd.jetcd.Watch;
import io.etcd.jetcd.options.WatchOption;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import org.apache.bookkeeper.client.BKException;
import org.apache.bookkeeper.discover.RegistrationClient;
import org.apache.bookkeeper.net.BookieId;
import org.apache.bookkeeper.versioning.LongVersion;
import org.apache.bookkeeper.versioning.Versioned;

/** Which bookies there are, for clients. */
final class Registered implements RegistrationClient {
    private final Etcd etcd;
    private final Map<RegistrationListener, Watch.Watcher> watchers = new HashMap<>();

    Registered(Etcd etcd) {
        this.etcd = etcd;
    }

    private CompletableFuture<Versioned<Set<BookieId>>> read(String below) {
        return CompletableFuture.supplyAsync(() -> {
            try {
                return now(below);
            } catch (Exception e) {
                throw new java.util.concurrent.CompletionException(new BKException.MetaStoreException(e));
            }
        });
    }

    private Versioned<Set<BookieId>> now(String below) throws Exception {
        Set<BookieId> bookies = new HashSet<>();
        for (String name : etcd.names(etcd.key(below))) {
            bookies.add(BookieId.parse(name));
        }
        return new Versioned<>(bookies, new LongVersion(System.nanoTime()));
    }

    @Override
    public CompletableFuture<Versioned<Set<BookieId>>> getWritableBookies() {
        return read("bookies/writable/");
    }

    @Override
    public CompletableFuture<Versioned<Set<BookieId>>> getReadOnlyBookies() {
        return read("bookies/readonly/");
    }

    @Override
    public CompletableFuture<Versioned<Set<BookieId>>> getAllBookies() {
        return read("cookies/");
    }

    private CompletableFuture<Void> watch(String below, RegistrationListener listener) {
        WatchOption all = WatchOption.builder().isPrefix(true).build();
        var watcher = etcd.client.getWatchClient().watch(Etcd.bytes(etcd.key(below)), all, changed -> tell(below, listener));
        synchronized (watchers) {
            watchers.put(listener, watcher);
        }
        return read(below).thenAccept(listener::onBookiesChanged);
    }

    private void tell(String below, RegistrationListener listener) {
        read(below).thenAccept(listener::onBookiesChanged);
    }

    private void unwatch(RegistrationListener listener) {
        synchronized (watchers) {
            Watch.Watcher watcher = watchers.remove(listener);
            if (watcher != null) {
                watcher.close();
            }
        }
    }

    @Override
    public CompletableFuture<Void> watchWritableBookies(RegistrationListener listener) {
        return watch("bookies/writable/", listener);
    }

    @Override
    public void unwatchWritableBookies(RegistrationListener listener) {
        unwatch(listener);
    }

    @Override
    public CompletableFuture<Void> watchReadOnlyBookies(RegistrationListener listener) {
        return watch("bookies/readonly/", listener);
    }

    @Override
    public void unwatchReadOnlyBookies(RegistrationListener listener) {
        unwatch(listener);
    }

    @Override
    public void close() {
        synchronized (watchers) {
            watchers.values().forEach(Watch.Watcher::close);
            watchers.clear();
        }
    }
}
