package strata.etcd;

import io.etcd.jetcd.options.PutOption;
import java.util.concurrent.ThreadLocalRandom;
import org.apache.bookkeeper.client.BKException;
import org.apache.bookkeeper.meta.LedgerIdGenerator;
import org.apache.bookkeeper.proto.BookkeeperInternalCallbacks.GenericCallback;

/** Ledger ids: a bucket in the top byte, below it how often the bucket's key has been put. */
final class Ids implements LedgerIdGenerator {
    private static final int BUCKETS = 128;

    private final Etcd etcd;
    private int bucket = ThreadLocalRandom.current().nextInt(BUCKETS);

    Ids(Etcd etcd) {
        this.etcd = etcd;
    }

    @Override
    public void generateLedgerId(GenericCallback<Long> callback) {
        int chosen;
        synchronized (this) {
            bucket = (bucket + 1) % BUCKETS;
            chosen = bucket;
        }
        var key = Etcd.bytes(etcd.key(String.format("buckets/%03d", chosen)));
        etcd.client.getKVClient().put(key, Etcd.bytes(""), PutOption.builder().withPrevKV().build()).whenComplete((done, error) -> {
            if (error != null) {
                callback.operationComplete(BKException.Code.MetaStoreException, null);
            } else {
                long version = done.hasPrevKv() ? done.getPrevKv().getVersion() + 1 : 1;
                callback.operationComplete(BKException.Code.OK, (long) chosen << 56 | version);
            }
        });
    }

    @Override
    public void close() { }
}
