package strata.interop;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.apache.bookkeeper.client.BookKeeper;
import org.apache.bookkeeper.client.api.DigestType;
import org.apache.bookkeeper.client.api.LedgerEntries;
import org.apache.bookkeeper.client.api.LedgerEntry;
import org.apache.bookkeeper.client.api.ReadHandle;
import org.apache.bookkeeper.client.api.WriteHandle;

/** Ledgers whose payloads follow from their ids, so that any reader can check them. */
final class Ledgers {
    private Ledgers() { }

    static WriteHandle create(BookKeeper client) throws Exception {
        return create(client, 3, 3, 2);
    }

    static WriteHandle create(BookKeeper client, int ensemble, int writeQuorum, int ackQuorum) throws Exception {
        return client.newCreateLedgerOp().withEnsembleSize(ensemble).withWriteQuorumSize(writeQuorum)
            .withAckQuorumSize(ackQuorum).withDigestType(DigestType.CRC32C).withPassword(World.PASSWORD).execute().get();
    }

    static ReadHandle open(BookKeeper client, long id, boolean recovery) throws Exception {
        return client.newOpenLedgerOp().withLedgerId(id).withPassword(World.PASSWORD).withDigestType(DigestType.CRC32C)
            .withRecovery(recovery).execute().get(30, TimeUnit.SECONDS);
    }

    /** Sizes from nothing to some kilobytes, contents that name the entry. */
    static byte[] payload(long entry) {
        byte[] text = ("entry " + entry + " ").getBytes(StandardCharsets.UTF_8);
        byte[] payload = new byte[(int) (entry * 37 % 3000)];
        for (int at = 0; at < payload.length; at++) {
            payload[at] = text[at % text.length];
        }
        return payload;
    }

    static void add(WriteHandle writer, int count) throws Exception {
        long first = writer.getLastAddPushed() + 1;
        List<CompletableFuture<Long>> adds = new ArrayList<>();
        for (long entry = first; entry < first + count; entry++) {
            adds.add(writer.appendAsync(payload(entry)));
        }
        for (int at = 0; at < count; at++) {
            Check.same(first + at, adds.get(at).get(30, TimeUnit.SECONDS), "id of an add");
        }
    }

    static void verify(ReadHandle reader, long first, long last) throws Exception {
        for (long from = first; from <= last; from += 100) {
            long to = Math.min(last, from + 99);
            try (LedgerEntries entries = reader.readAsync(from, to).get(30, TimeUnit.SECONDS)) {
                verify(entries, from, to);
            }
        }
    }

    static void verify(LedgerEntries entries, long first, long last) {
        long expected = first;
        for (LedgerEntry entry : entries) {
            Check.same(expected, entry.getEntryId(), "id of a read entry");
            Check.bytes(payload(expected), entry.getEntryBytes(), "entry " + expected);
            expected++;
        }
        Check.same(last + 1, expected, "id after the last read entry");
    }

    static long bytes(long last) {
        long sum = 0;
        for (long entry = 0; entry <= last; entry++) {
            sum += payload(entry).length;
        }
        return sum;
    }

    static byte[] filled(int size, int with) {
        byte[] bytes = new byte[size];
        Arrays.fill(bytes, (byte) with);
        return bytes;
    }
}
