package strata.rocketmq;

import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;

/** What commands of one version of mqadmin are known to print, on one broker; of two, only what differs from that is kept. */
record Kept(Path folder, String version, boolean two) {
    /** By command: `kind` is golden or differs. */
    Map<String, String> read(String kind) throws Exception {
        Map<String, String> sections = Sections.read(one(kind));
        if (two) {
            sections.putAll(Sections.read(ofTwo(kind)));
        }
        return sections;
    }

    void write(Map<String, String> printed) throws Exception {
        if (!two) {
            Sections.write(one("golden"), printed);
            return;
        }
        Map<String, String> other = new LinkedHashMap<>(printed);
        other.entrySet().removeAll(Sections.read(one("golden")).entrySet());
        Sections.write(ofTwo("golden"), other);
    }

    private Path one(String kind) {
        return folder.resolve(kind).resolve(version);
    }

    private Path ofTwo(String kind) {
        return folder.resolve(kind).resolve(version + "-of-two");
    }
}
