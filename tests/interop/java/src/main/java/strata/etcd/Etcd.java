package strata.etcd;

import io.etcd.jetcd.ByteSequence;
import io.etcd.jetcd.Client;
import io.etcd.jetcd.KeyValue;
import io.etcd.jetcd.op.Cmp;
import io.etcd.jetcd.op.CmpTarget;
import io.etcd.jetcd.op.Op;
import io.etcd.jetcd.options.DeleteOption;
import io.etcd.jetcd.options.GetOption;
import io.etcd.jetcd.options.PutOption;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.apache.bookkeeper.common.net.ServiceURI;

/** etcd as the drivers use it: keys below one scope. */
final class Etcd implements AutoCloseable {
    final Client client;
    private final String scope;

    Etcd(String uri) {
        ServiceURI parsed = ServiceURI.create(uri);
        scope = parsed.getServicePath();
        List<String> endpoints = new ArrayList<>();
        for (String host : parsed.getServiceHosts()) {
            endpoints.add("http://" + host);
        }
        client = Client.builder().endpoints(endpoints.toArray(String[]::new)).build();
    }

    String scope() {
        return scope;
    }

    String key(String below) {
        return scope + "/" + below;
    }

    static ByteSequence bytes(String text) {
        return ByteSequence.from(text, StandardCharsets.UTF_8);
    }

    static <T> T wait(CompletableFuture<T> answer) throws Exception {
        return answer.get(10, TimeUnit.SECONDS);
    }

    /** The key, or null. */
    KeyValue get(String key) throws Exception {
        List<KeyValue> found = wait(client.getKVClient().get(bytes(key))).getKvs();
        return found.isEmpty() ? null : found.get(0);
    }

    List<KeyValue> below(String prefix) throws Exception {
        return wait(client.getKVClient().get(bytes(prefix), GetOption.builder().isPrefix(true).build())).getKvs();
    }

    /** The ends of all keys below a prefix. */
    List<String> names(String prefix) throws Exception {
        return below(prefix).stream()
            .map(each -> each.getKey().toString(StandardCharsets.UTF_8).substring(prefix.length())).collect(Collectors.toList());
    }

    /** Puts a key that must not exist (revision 0), or must have been modified last at this revision; -1 if not so. */
    long swap(String key, long revision, byte[] value, PutOption option) throws Exception {
        CmpTarget<?> target = revision == 0 ? CmpTarget.createRevision(0) : CmpTarget.modRevision(revision);
        var done = wait(client.getKVClient().txn().If(new Cmp(bytes(key), Cmp.Op.EQUAL, target))
            .Then(Op.put(bytes(key), ByteSequence.from(value), option)).commit());
        return done.isSucceeded() ? done.getHeader().getRevision() : -1;
    }

    long create(String key, String value) throws Exception {
        return swap(key, 0, value.getBytes(StandardCharsets.UTF_8), PutOption.DEFAULT);
    }

    /** Deletes a key that was modified last at this revision. */
    boolean remove(String key, long revision) throws Exception {
        return wait(client.getKVClient().txn().If(new Cmp(bytes(key), Cmp.Op.EQUAL, CmpTarget.modRevision(revision)))
            .Then(Op.delete(bytes(key), DeleteOption.DEFAULT)).commit()).isSucceeded();
    }

    @Override
    public void close() {
        client.close();
    }
}
