package strata.etcd;

import io.etcd.jetcd.KeyValue;
import java.io.IOException;
import org.apache.bookkeeper.meta.LayoutManager;
import org.apache.bookkeeper.meta.LedgerLayout;

/** The layout key. */
final class Layout implements LayoutManager {
    private final Etcd etcd;

    Layout(Etcd etcd) {
        this.etcd = etcd;
    }

    @Override
    public LedgerLayout readLedgerLayout() throws IOException {
        try {
            KeyValue found = etcd.get(etcd.key("layout"));
            return found == null ? null : LedgerLayout.parseLayout(found.getValue().getBytes());
        } catch (Exception e) {
            throw new IOException(e);
        }
    }

    @Override
    public void storeLedgerLayout(LedgerLayout layout) throws IOException {
        try {
            if (etcd.create(etcd.key("layout"), new String(layout.serialize())) < 0) {
                throw new LedgerLayoutExistsException("the cluster has a layout already");
            }
        } catch (LedgerLayoutExistsException e) {
            throw e;
        } catch (Exception e) {
            throw new IOException(e);
        }
    }

    @Override
    public void deleteLedgerLayout() throws IOException {
        throw new IOException("a test deletes no layout");
    }
}
