package strata.interop;

/** One thing that must work between Apache's client and a cluster. Throws when it does not. */
interface Scenario {
    void run(World world) throws Exception;

    /** A feature that v2 has no encoding for is asked of v3 only. */
    default boolean onWire(Wire wire) {
        return true;
    }
}
