//! Bugs that can be switched on, to show that the simulation is able to fail.
//!
//! A planted bug is one changed line of production code: `if !planted::on(Bug::AckBeforeSync) { file.sync()? }`.
//! Without the cargo feature `planted` (every product build) [`on`] is the constant `false` and the line is the
//! correct one. With it, `./test planted` chooses a bug at run time and counts the seeds until it is caught.

macro_rules! bugs {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// Every planted bug; the text says what the changed line does wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Bug { $($(#[doc = $doc])+ $name,)+ }

        impl Bug {
            pub const ALL: &'static [Bug] = &[$(Bug::$name,)+];

            pub fn name(self) -> &'static str {
                match self { $(Bug::$name => stringify!($name),)+ }
            }

            pub fn about(self) -> &'static str {
                match self { $(Bug::$name => concat!($($doc),+).trim_ascii(),)+ }
            }
        }
    };
}

bugs! {
    /// A bookie acknowledges an add before its group is on disk.
    AckBeforeSync,
    /// Recovery reads do not carry the fencing flag (BK#2614).
    RecoveryReadWithoutFence,
    /// A fencing read that finds nothing is answered before the fence is on disk.
    NegativeAnswerBeforeFence,
    /// A bookie whose sync failed goes on as if it had not.
    FailedSyncIgnored,
    /// A deleted ledger takes normal adds (BK PR4462).
    TombstoneForgotten,
    /// A checkpoint leaves out the states of ledgers without new entries (BK PR4843).
    StatesNotInCheckpoint,
    /// Fences and keys are not written again when their segment is deleted.
    StatesLostWithSegment,
    /// Damage below the ack mark is cut off as if it were a torn tail.
    DamageTakenForTail,
    /// What is replayed at start is served although it may be in the page cache only.
    ReplayedTailNotSynced,
    /// An entry that cannot be read is answered as absent (BK#2908).
    DamagedEntryIsAbsent,
    /// A ledger in limbo answers in the negative (BK#2612).
    LimboAnswersNo,
    /// A deleted ledger's bytes are counted twice, so that a segment is deleted with live entries in it.
    SegmentDroppedWithLive,
    /// The write set is computed with the entry id narrowed to 32 bits.
    NarrowModulus,
    /// Recovery counts "I cannot tell" as "it is not here".
    UnknownCountsAsNo,
    /// Recovery writes entries again with the LAC it has reached, not with the one it found.
    RecoveryLacAdvances,
    /// A recovery that finds nothing behind the LAC closes the ledger with length 0.
    EmptyTailHasNoLength,
    /// A writer acknowledges an entry that one bookie fewer than the ack quorum has.
    AckBeforeQuorum,
    /// A log acknowledges entries of its next ledger before the transaction that links it is known to be done.
    AckBeforeRoll,
    /// A log sends what was not acknowledged again in its next ledger in the wrong order.
    ResendOutOfOrder,
    /// A log takes a roll transaction whose outcome is unclear for done.
    UnclearRollTakenAsDone,
    /// A compare-and-swap that timed out is taken as failed instead of read again.
    TimeoutTakenAsFailure,
    /// The embedded metadata store answers a transaction that is not on disk.
    StoreAnswersBeforeSync,
    /// The first add for a ledger that a bookie does not know is not checked against metadata (BK#4812).
    FirstAddUnchecked,
    /// Requests are taken beyond the budget of what may be in flight.
    BudgetIgnored,
    /// GC deletes what a listing of metadata omits, without looking again (BK#870).
    GcTrustsListing,
    /// A bookie whose disk was restored from a snapshot serves as if nothing were lost.
    OldSnapshotTrusted,
    /// Repair copies all but the last entry of a segment before it names the new bookie.
    RepairStopsShort,
    /// Repair recovers open links of logs, whose owners may be alive (P#26074).
    RepairClosesLinks,
    /// A broker tells senders that their messages are stored when the entry before theirs is.
    EffectBeforeAcknowledged,
    /// A link is replaced by its sparse copy before bookies have all of that.
    CopyNotAwaited,
    /// The ledger of a link is deleted before its sparse copy is in its place.
    LinkDeletedBeforeSwap,
    /// The first message of each entry is left out of the sparse copy of its link.
    NeededLeftOut,
    /// Consumers are given messages that are not acknowledged yet.
    RowsBeforeAcknowledged,
    /// An owner whose log has ended tells its senders that everything is stored.
    FencedTakenForAcknowledged,
    /// A sender who has waited for long is told that his message is stored.
    SlowTakenForAcknowledged,
    /// Records of one unit go into several entries.
    UnitSplit,
    /// Store times are the clock's, even where it goes back.
    StoreTimeFollowsClock,
    /// A new owner does not go on from the newest store time.
    TimeNotReplayed,
    /// A new owner does not read the last entries.
    ReplayStopsShort,
    /// A new owner reads messages only: no topics, no offsets.
    ChangesNotReplayed,
    /// A new owner does not know which half messages wait.
    HalvesNotReplayed,
    /// A half message that was decided can be decided again.
    DecisionForgotten,
    /// A consumer is told that its commit holds before it is in the log.
    CommitConfirmedEarly,
    /// An owner whose lease has ended claims again what another has owned meanwhile.
    ClaimIgnoresEpoch,
    /// An owner whose log has ended leaves its doors open.
    DoorsStayOpen,
    /// The log's old end is deleted before the checkpoint is saved that says so.
    TrimBeforeCheckpoint,
    /// What a checkpoint took from the core is not given back when nobody waits for it any more.
    CutNotGivenBack,
}

impl Bug {
    /// Whether it is a broker's: then the ledger layer alone never meets it.
    pub fn is_of_brokers(self) -> bool {
        self >= Bug::EffectBeforeAcknowledged
    }
}

#[cfg(feature = "planted")]
mod chosen {
    use std::sync::atomic::{AtomicUsize, Ordering};

    static CHOSEN: AtomicUsize = AtomicUsize::new(usize::MAX);

    /// Switches one bug on, or all off. One for the process: the simulator runs one bug at a time.
    pub fn choose(bug: Option<super::Bug>) {
        CHOSEN.store(bug.map_or(usize::MAX, |b| b as usize), Ordering::Relaxed);
    }

    pub fn on(bug: super::Bug) -> bool {
        CHOSEN.load(Ordering::Relaxed) == bug as usize
    }
}

#[cfg(feature = "planted")]
pub use chosen::{choose, on};

/// Whether `bug` is switched on. Never, in a product build.
#[cfg(not(feature = "planted"))]
#[inline(always)]
pub const fn on(_bug: Bug) -> bool {
    false
}
