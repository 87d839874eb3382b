package strata.rocketmq;

import java.util.Arrays;
import java.util.Map;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/** What a command printed, without what changes from run to run: addresses, ids, times, rates, widths of columns. */
final class Printed {
    /** Of these only the names of what they print are compared. */
    private static final Pattern NAMES_ONLY = Pattern.compile("brokerStatus|getBrokerConfig|getNamesrvConfig");
    private static final String[][] RULES = {
        {"\\d{4}-\\d{2}-\\d{2}[ #]\\d{2}:\\d{2}:\\d{2}[,.:]\\d+", "TIME"},
        {"\\d{4}-\\d{2}-\\d{2} \\d{2}:\\d{2}:\\d{2}", "TIME"},
        {"\\b1[78]\\d{11}\\b", "MILLIS"},
        {"\\b20\\d{15}\\b", "TIME"},
        {"\\b(?:[0-9A-F]{56}|[0-9A-F]{32})\\b", "ID"},
        {"/?127\\.0\\.0\\.1:\\d+", "ADDRESS"},
        {"\\d+@[0-9a-z]+#\\d+", "PROCESS"},
        {"\\bV\\d+_\\d+_\\d+\\w*", "VERSION"},
        {"\\b\\d+\\.\\d+\\b", "N.N"},
        {"(?i)((?:commitLog ?Offset|physicOffset)[:=] ?)\\d+", "$1N"},
        {"@\\d+$", "@N"},
        {"\\S+@mqadmin-\\w+-i-\\d+", "CLIENT"},
        {"commitLogDiskRatio_[^\\s:]+", "commitLogDiskRatio_PATH"},
        {"\\d+-\\d+\\(", "N-N("},
        {"version=\\d+", "version=N"},
        {"(?m)(true|false)\\s+\\d+$", "$1 N"},
        {"(PUSH\\s+CLUSTERING|OFFLINE)\\s+\\d+", "$1 N"},
        {"@[0-9a-f]{6,8}\\b", "@HASH"},
        {"(?m)^\\s*(at |\\.\\.\\. |See |For more information).*$", ""},
        {"(CODE: \\d+) .*", "$1"},
        {"[ \\t]+", " "},
    };
    private final Map<String, String> names;

    Printed(Map<String, String> names) {
        this.names = names;
    }

    String normal(String command, String text) {
        String normal = text.replace(names.get("broker"), "BROKER").replace(names.get("namesrv"), "NAMESRV").replace(names.get("client"), "MEMBER")
            .replace(names.get("folder"), "FOLDER");
        for (String[] rule : RULES) {
            normal = Pattern.compile(rule[0]).matcher(normal).replaceAll(rule[1]);
        }
        if (NAMES_ONLY.matcher(command).lookingAt()) {
            normal = normal.replaceAll("(?m)^(\\S+)\\s*[=:].*$", "$1");
        }
        var lines = Arrays.stream(normal.split("\n")).map(String::strip).filter(line -> !line.isEmpty());
        // Tables of hash maps come in any order.
        return lines.sorted().map(line -> line + "\n").collect(Collectors.joining());
    }
}
