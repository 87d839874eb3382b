//! What a shelf tells the service around it.

use crate::position::{Position, SegmentId};

/// What was found on the disk at start. The service compares it with what it knows of this bookie (cookie,
/// incarnation, clean stop) and may order limbo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartReport {
    /// There was no segment: a new disk, or a wiped one.
    pub empty: bool,
    /// How often this disk was started, this time included: it never goes back on one disk.
    pub boot: u32,
    /// The last group's number: it never goes back on one disk.
    pub sequence: u64,
    /// The log ends with the mark of [`super::Shelf::close`].
    pub clean: bool,
    /// Where a torn tail was cut.
    pub torn: Option<Position>,
    /// Groups that had been acknowledged and cannot be read: from, to. All ledgers of the shelf are in limbo.
    pub damaged: Vec<(Position, Position)>,
    /// Segments that should be there. All ledgers of the shelf are in limbo.
    pub missing: Vec<SegmentId>,
    pub index: IndexFound,
    /// Bytes of segments that were scanned.
    pub scanned: u64,
    /// No negative answers: set now, or earlier and not yet cleared.
    pub limbo: bool,
    /// Why it was set now.
    pub lost: Option<&'static str>,
}

impl StartReport {
    /// No group of an earlier start was found.
    pub fn begins_anew(&self) -> bool {
        self.sequence <= 1
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexFound {
    /// It goes with the segments.
    Current,
    /// There is no segment either.
    New,
    /// It was lost, or older than the oldest segments: all segments were scanned.
    Rebuilt,
}

/// Whether normal adds are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    Plenty,
    /// The next segment could not be allocated; there is still room for normal adds in this one.
    Last,
    /// Only recovery adds and fences.
    ReadOnly,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentUse {
    pub segment: SegmentId,
    /// Bytes of entries written.
    pub written: u64,
    /// Of these, bytes that a read could still ask for.
    pub live: u64,
    /// Nothing is appended any more, and the index has all of it: it may be copied and dropped.
    pub sealed: bool,
}
