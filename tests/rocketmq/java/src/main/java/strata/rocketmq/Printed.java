package strata.rocketmq;

import java.util.Arrays;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/** What a command printed, without what changes from run to run: addresses, ids, times, rates, widths of columns. */
final class Printed {
    /** Of these only the names of what they print are compared, and the values of what both sides know or the run has set. */
    private static final Pattern NAMES_ONLY = Pattern.compile("brokerStatus|getBrokerConfig|getNamesrvConfig");
    private static final String VALUES = "transaction(?:CheckMax|TimeOut|CheckInterval)|orderMessageEnable|broker(?:ClusterName|Name|Id|IP1|Permission)"
        + "|autoCreate(?:TopicEnable|SubscriptionGroup)|defaultTopicQueueNums|maxMessageSize|messageDelayLevel|fileReservedTime"
        + "|maxTransfer(?:Bytes|Count)OnMessageInMemory|notifyConsumerIdsChangedEnable|rejectTransactionMessage|trace(?:On|TopicEnable)"
        + "|deleteTopicWithBrokerRegistration";
    private static final String[][] RULES = {
        {"\\d{4}-\\d{2}-\\d{2}[ #]\\d{2}:\\d{2}:\\d{2}[,.:]\\d+", "TIME"},
        {"\\d{4}-\\d{2}-\\d{2} \\d{2}:\\d{2}:\\d{2}", "TIME"},
        {"\\b1[5-8]\\d{11}\\b", "MILLIS"},
        {"\\b20\\d{15}\\b", "TIME"},
        {"\\b(?:[0-9A-F]{56}|[0-9A-F]{32})\\b", "ID"},
        {"/?127\\.0\\.0\\.1:\\d+", "ADDRESS"},
        {"\\d+@[0-9a-z]+#\\d+", "PROCESS"},
        {"\\bV\\d+_\\d+_\\d+\\w*|\\bStrataMQ_\\d+\\.\\d+\\.\\d+", "VERSION"},
        {"(?m)^producer group.*@administrator,.*$", ""},
        {"\\b\\d+\\.\\d+\\b", "N.N"},
        {"(?i)((?:commitLog ?Offset|physicOffset)[:=]\\s*)\\d+", "$1N"},
        {"(?m)@\\d+[ \\t]*$", "@N"},
        {"\\S+@mqadmin-[-\\w]+-i-\\d+", "CLIENT"},
        {"commitLogDiskRatio_[^\\s:]+", "commitLogDiskRatio_PATH"},
        {"\\d+-\\d+\\(", "N-N("},
        {"version=\\d+", "version=N"},
        {"(dataVersion/(?:counter|stateVersion) is) \\d+", "$1 N"},
        {"(?m)(true|false)\\s+\\d+$", "$1 N"},
        {"(PUSH\\s+CLUSTERING|OFFLINE)\\s+\\d+", "$1 N"},
        {"@[0-9a-f]{6,8}\\b", "@HASH"},
        {"(?m)^\\s*(at |\\.\\.\\. |See |For more information).*$", ""},
        {"(CODE: \\d+) .*", "$1"},
        {"[ \\t]+", " "},
        // Depends on whether the group's first pull of its retry topic had ended when its member left.
        {"(?m)^%RETRY%(IdleGroup broker-\\d|GoldenGroup broker-1) .*$", ""},
        // Of both brokers together, as of 4.9 and if the group's member lived until it had found the other one.
        {"(/(?:IdleGroup|GoldenGroup)/retryQueueNums is) \\d", "$1 N"},
        // Is there, and counted below, if a reader of the tools lived until its first heartbeat.
        {"(?m)^%RETRY%TOOLS_CONSUMER$", ""},
        {"(?m)^(Pub .*) \\d+ms ", "$1 Nms "},
        {"(name server\\[NAMESRV\\] OK, )[1-9]\\d*", "$1N"},
        // Apache counts what came within a day only after a while.
        {"(?m)( \\d+ N\\.N N\\.N) \\d+ \\d+$", "$1 N N"},
    };
    private final Map<String, String> names;

    Printed(Map<String, String> names) {
        this.names = names;
    }

    String normal(String command, String text) {
        String normal = text.replace(names.get("broker"), "BROKER").replace(names.get("client"), "MEMBER").replace(names.get("folder"), "FOLDER");
        for (String namesrv : names.get("namesrv").split(";")) {
            normal = normal.replace(namesrv, "NAMESRV");
        }
        for (String[] rule : RULES) {
            normal = Pattern.compile(rule[0]).matcher(normal).replaceAll(rule[1]);
        }
        // Java's hash maps: in any order.
        normal = Pattern.compile("(properties=|Properties: )\\{([^}]*)\\}").matcher(normal).replaceAll(found -> Matcher.quoteReplacement(
            Arrays.stream(found.group(2).split(", ")).sorted().collect(Collectors.joining(", ", found.group(1) + "{", "}"))));
        if (NAMES_ONLY.matcher(command).lookingAt()) {
            normal = normal.replaceAll("(?m)^(?!(?:" + VALUES + ")\\s*[=:])(\\S+)\\s*[=:].*$", "$1");
        }
        var lines = Arrays.stream(normal.split("\n")).map(String::strip).filter(line -> !line.isEmpty());
        // Tables of hash maps come in any order.
        return lines.sorted().map(line -> line + "\n").collect(Collectors.joining());
    }
}
