package strata.rocketmq;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import org.apache.rocketmq.remoting.protocol.RemotingSerializable;

/** The files that a command says it has written: a line for every value, named by the way to it. */
final class Exported {
    private static final Pattern WRITTEN = Pattern.compile("export (\\S+\\.json) success");

    private Exported() { }

    /** What a command printed, and after it what it has written. */
    static String with(String printed) throws Exception {
        StringBuilder all = new StringBuilder(printed);
        var written = WRITTEN.matcher(printed);
        while (written.find()) {
            all.append('\n');
            flatten("", RemotingSerializable.fromJson(Files.readString(Path.of(written.group(1))), Map.class), all);
        }
        return all.toString();
    }

    private static void flatten(String way, Object value, StringBuilder all) {
        if (value instanceof Map<?, ?> map && !map.isEmpty()) {
            map.forEach((name, inner) -> flatten(way + "/" + name, inner, all));
        } else if (value instanceof List<?> list && !list.isEmpty()) {
            list.forEach(inner -> flatten(way + "/", inner, all));
        } else {
            all.append(way).append(" is ").append(value).append('\n');
        }
    }
}
