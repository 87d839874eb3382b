//! What is to be known of a ledger, and of a shelf, besides entries. Whether a ledger is fenced is decided here.

use bytes::Bytes;
use protocol::entry::MasterKey;
use protocol::{EntryId, LedgerId};

/// A ledger's state. Each change is written whole: the last one in the log counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerState {
    /// The first key that was shown, unless it was lost.
    pub key: Option<MasterKey>,
    pub fenced: bool,
    /// The metadata allowed a normal add here once.
    pub vouched: bool,
    /// A tombstone.
    pub deleted: bool,
    /// Entries of it may be lost here.
    pub limbo: bool,
    /// The shelf's cleared count when this shelf first heard of the ledger: while the shelf is in limbo itself, whatever
    /// it hears of may be old.
    pub born: u32,
    /// The shelf's damage count when all entries were known to be here.
    pub cleared: u32,
    /// The explicit LAC with its packet.
    pub lac: Option<(EntryId, Bytes)>,
}

/// A shelf's own state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShelfState {
    /// How often something was lost that could be of any ledger.
    pub damages: u32,
    /// The count when it was known which ledgers should be here: those that are not known are not lost.
    pub cleared: u32,
}

impl ShelfState {
    /// Both only grow. What a replay has found by itself may be ahead of what it reads.
    pub fn max(self, other: ShelfState) -> ShelfState {
        let (damages, cleared) = (self.damages.max(other.damages), self.cleared.max(other.cleared));
        ShelfState { damages, cleared }
    }

    /// Whether a ledger that the shelf does not know may have been lost.
    pub fn limbo(&self) -> bool {
        self.cleared < self.damages
    }
}

impl LedgerState {
    /// Whether normal adds are refused. Of a ledger that was here when something was lost, the fence may be what was
    /// lost.
    pub fn fenced(&self, shelf: &ShelfState) -> bool {
        self.fenced || self.born < shelf.damages
    }

    /// Whether nothing may be said to be absent. A ledger that was here when something was lost comes out by itself only:
    /// what clears the shelf is a listing of metadata, and that may be incomplete.
    pub fn limbo(&self, shelf: &ShelfState) -> bool {
        self.limbo || self.cleared.max(self.born) < shelf.damages
    }

    /// The key rule: the first key shown is the ledger's. `Some(true)`: it is to be taken over.
    pub fn admits(&self, key: &MasterKey) -> Option<bool> {
        match &self.key {
            None => Some(true),
            Some(own) if own == key => Some(false),
            Some(_) => None,
        }
    }

    pub fn explicit_lac(&self) -> EntryId {
        self.lac.as_ref().map_or(EntryId::NONE, |(lac, _)| *lac)
    }
}

/// Whether an id can be a ledger's.
pub fn is_ledger(ledger: LedgerId) -> bool {
    ledger.0 >= 0
}
