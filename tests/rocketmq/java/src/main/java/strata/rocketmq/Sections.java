package strata.rocketmq;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;

/** Files of what commands print: a line `== COMMAND` before each; lines that begin with `#` explain. */
final class Sections {
    private Sections() { }

    static void write(Path file, Map<String, String> sections) throws Exception {
        Files.createDirectories(file.getParent());
        StringBuilder text = new StringBuilder();
        sections.forEach((command, printed) -> text.append("== ").append(command).append('\n').append(printed));
        Files.writeString(file, text);
    }

    static Map<String, String> read(Path file) throws Exception {
        Map<String, String> sections = new LinkedHashMap<>();
        if (!Files.exists(file)) {
            return sections;
        }
        String command = null;
        for (String line : Files.readAllLines(file)) {
            if (line.startsWith("== ")) {
                command = line.substring(3);
                sections.put(command, "");
            } else if (command != null && !line.startsWith("#!")) {
                sections.merge(command, line + "\n", String::concat);
            }
        }
        return sections;
    }

    static String firstDifference(String expected, String actual) {
        if (expected == null) {
            return "no golden output";
        }
        String[] wanted = expected.split("\n", -1);
        String[] printed = actual.split("\n", -1);
        for (int i = 0; i < Math.max(wanted.length, printed.length); i++) {
            String want = i < wanted.length ? wanted[i] : "(nothing)";
            String have = i < printed.length ? printed[i] : "(nothing)";
            if (!want.equals(have)) {
                return "line " + (i + 1) + " is '" + have + "', Apache's is '" + want + "'";
            }
        }
        return "no difference";
    }
}
