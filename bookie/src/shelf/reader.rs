//! Looking up and reading, on any thread, past the thread that writes.

use std::collections::BTreeMap;

use bytes::Bytes;
use protocol::bookie::{Outcome, Request};
use protocol::{EntryId, LedgerId};

use crate::error::Error;
use crate::position::{Location, SegmentId};

/// Where an entry is, or why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    At(Location),
    /// Proved: the shelf has never had the ledger (or it was deleted).
    NoLedger,
    /// Proved: the shelf has the ledger, and not this entry.
    NoEntry,
    /// Limbo.
    Unknown,
}

/// A handle for reading; clone it freely.
#[derive(Clone)]
pub struct Reader {}

#[allow(unused_variables)]
impl Reader {
    /// Answers any request that reads (fences are the shelf's: they are not looked at here).
    pub fn serve(&self, request: &Request) -> Outcome {
        unreachable!("lands next")
    }

    /// Whether the shelf has anything of this ledger: its disk was chosen. A tombstone counts.
    pub fn knows(&self, ledger: LedgerId) -> Result<bool, Error> {
        unreachable!("lands next")
    }

    pub fn lookup(&self, ledger: LedgerId, entry: EntryId) -> Result<Lookup, Error> {
        unreachable!("lands next")
    }

    /// The highest LAC that this shelf has seen for a ledger (entries and explicit): for long polls.
    pub fn max_lac(&self, ledger: LedgerId) -> EntryId {
        unreachable!("lands next")
    }

    /// Consecutive entries from `first`, read with few large reads; stops at the first that is not there.
    pub fn read_batch(
        &self,
        ledger: LedgerId,
        first: EntryId,
        max_count: u32,
        max_bytes: u64,
    ) -> Result<Vec<Bytes>, Error> {
        unreachable!("lands next")
    }

    /// All ledgers with something here, tombstones apart.
    pub fn ledgers(&self) -> Result<Vec<LedgerId>, Error> {
        unreachable!("lands next")
    }

    pub fn deleted(&self) -> Result<Vec<LedgerId>, Error> {
        unreachable!("lands next")
    }

    /// Ledgers in limbo.
    pub fn in_limbo(&self) -> Result<Vec<LedgerId>, Error> {
        unreachable!("lands next")
    }

    /// Live bytes of a segment by ledger: why it is retained. Walks the whole index.
    pub fn holders(&self, segment: SegmentId) -> Result<BTreeMap<LedgerId, u64>, Error> {
        unreachable!("lands next")
    }

    /// Checks every record of a segment's bytes `from..` for about `max_bytes`: damaged entries that are live, and where
    /// to go on (`None`: done). For the scrub.
    pub fn verify(
        &self,
        segment: SegmentId,
        from: u32,
        max_bytes: u64,
    ) -> Result<(Vec<(LedgerId, EntryId)>, Option<u32>), Error> {
        unreachable!("lands next")
    }

    /// Entries that could not be read since the last call: they need repair. The shelf puts their ledgers in limbo
    /// with its next commit.
    pub fn take_damaged(&self) -> Vec<(LedgerId, EntryId)> {
        unreachable!("lands next")
    }
}
