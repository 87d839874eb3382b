package strata.interop;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Our command line's words on ledgers, and ledgers whose entries are lines. */
final class Ours {
    private static final Pattern ENTRY = Pattern.compile("\"entry\":(\\d+),\"payload\":\"([0-9a-f]*)\"");

    private Ours() { }

    /** The number under a key of a JSON object. */
    static long number(String json, String key) {
        Matcher found = Pattern.compile("\"" + key + "\":(-?\\d+)").matcher(json);
        Check.that(found.find(), "no number '%s' in %s", key, json);
        return Long.parseLong(found.group(1));
    }

    /** Payloads as `admin ledger read` gives them, which must have the ids from 0 on. */
    static List<byte[]> read(World world, long ledger) throws Exception {
        List<byte[]> payloads = new ArrayList<>();
        Matcher found = ENTRY.matcher(world.stratamq("admin", "--metadata", world.uri, "ledger", "read", "--json", Long.toString(ledger)));
        while (found.find()) {
            Check.same((long) payloads.size(), Long.parseLong(found.group(1)), "id of an entry");
            payloads.add(HexFormat.of().parseHex(found.group(2)));
        }
        return payloads;
    }

    /** Our reader must give what a Java writer has written. */
    static void verify(World world, long ledger, long last) throws Exception {
        List<byte[]> payloads = read(world, ledger);
        Check.same(last + 1, (long) payloads.size(), "number of entries that our client reads");
        for (int entry = 0; entry <= last; entry++) {
            Check.bytes(Ledgers.payload(entry), payloads.get(entry), "entry " + entry + " as our client reads it");
        }
    }

    static byte[] line(long entry) {
        return ("line " + entry + " of a ledger of ours").getBytes(StandardCharsets.UTF_8);
    }

    static String lines(int count) {
        StringBuilder text = new StringBuilder();
        for (int entry = 0; entry < count; entry++) {
            text.append(new String(line(entry), StandardCharsets.UTF_8)).append('\n');
        }
        return text.toString();
    }

    static String[] create(World world, String... more) {
        List<String> command = new ArrayList<>(List.of("admin", "--metadata", world.uri, "ledger", "create", "--json",
            "--ensemble", "3", "--write-quorum", "3", "--ack-quorum", "2", "--password", new String(World.PASSWORD)));
        command.addAll(List.of(more));
        return command.toArray(String[]::new);
    }
}
