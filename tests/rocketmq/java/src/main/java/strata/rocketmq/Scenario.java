package strata.rocketmq;

/** One thing that must work between an official client and a server. Throws when it does not. */
interface Scenario {
    void run(World world) throws Exception;

    /** Longer ones belong to the full matrix only. */
    default boolean quick() {
        return true;
    }

    /** Settings of the whole broker are touched: nothing else may run meanwhile. */
    default boolean alone() {
        return false;
    }

    default int seconds() {
        return 150;
    }
}
