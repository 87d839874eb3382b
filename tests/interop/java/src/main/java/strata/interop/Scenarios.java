package strata.interop;

import java.util.Map;

/** All scenarios by the name they are reported under. */
final class Scenarios {
    private Scenarios() { }

    static final Map<String, Scenario> ALL = Map.ofEntries(
        Map.entry("add and read", new AddAndRead()),
        Map.entry("striped ledger", new StripedLedger()),
        Map.entry("digest kinds", new DigestKinds()),
        Map.entry("batch read", new BatchRead()),
        Map.entry("LAC piggy-backed", new LacPiggyBack()),
        Map.entry("LAC explicit", new LacExplicit()),
        Map.entry("LAC long poll", new LacLongPoll()),
        Map.entry("fence while writing", new FenceWhileWriting()),
        Map.entry("recover after writer death", new RecoverAfterWriterDeath()),
        Map.entry("recover without one bookie", new RecoverWithoutOneBookie()),
        Map.entry("ensemble change", new EnsembleChange()),
        Map.entry("delete ledger", new DeleteLedger()),
        Map.entry("deferred sync", new DeferredSync()),
        Map.entry("force ordinary ledger", new ForceOrdinaryLedger()),
        Map.entry("list of entries", new ListOfEntries()),
        Map.entry("bookie space", new BookieSpace()),
        Map.entry("wrong password", new WrongPassword()),
        Map.entry("advanced writer", new AdvancedWriter()),
        Map.entry("large entries", new LargeEntries()),
        Map.entry("custom metadata", new CustomMetadata()),
        Map.entry("ours reads Java's ledger", new OursReadsJava()),
        Map.entry("ours reads and recovers Java's fragments", new OursReadsFragments()),
        Map.entry("ours recovers while Java writes", new OursRecoversJava()),
        Map.entry("Java reads and recovers ours", new JavaReadsOurs()),
        Map.entry("Java recovers while ours writes", new JavaFencesOurs()),
        Map.entry("replicate by Apache", new ReplicateByApache()));
}
