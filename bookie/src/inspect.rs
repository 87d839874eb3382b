//! Looking at a disk's segments without a bookie, without an index, and without changing anything.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use disk::Disk;
use protocol::entry::Header;
use protocol::{EntryId, LedgerId};

use crate::position::{Position, SegmentId};
use crate::segment::Segments;
use crate::segment::files::name_of;
use crate::segment::format::{Kind, SEGMENT_HEADER};
use crate::segment::record::{decode_ledger, decode_shelf};
use crate::segment::walk;
use crate::state::{LedgerState, ShelfState};

/// A disk's segments.
pub struct Inspector {
    segments: Segments,
    ids: Vec<SegmentId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    pub segment: SegmentId,
    pub file: String,
    pub bytes: u64,
    /// Up to the end of its last group.
    pub used: u64,
}

/// One record, as it is found.
#[derive(Clone, Debug)]
pub struct RecordInfo {
    pub at: Position,
    /// Bytes of its body.
    pub length: u32,
    /// Its body is what was written.
    pub intact: bool,
    pub what: What,
}

#[derive(Clone, Debug)]
pub enum What {
    Entry {
        ledger: LedgerId,
        entry: EntryId,
        lac: EntryId,
    },
    Ledger(LedgerId, LedgerState),
    /// With the segments that counted when it was written, as ranges.
    Shelf(ShelfState, Vec<(u32, u32)>),
    /// Damaged so that nothing can be said of it.
    Unreadable,
}

/// How a segment ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    pub at: Position,
    pub what: EndKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndKind {
    Clean,
    /// The last group is not whole, and no later group says that it was acknowledged: a bookie cuts it off.
    TornTail,
    /// Acknowledged bytes from `at` on cannot be read.
    Damaged {
        at: Position,
        why: &'static str,
    },
}

impl Inspector {
    pub fn new(disk: Arc<dyn Disk>) -> io::Result<Inspector> {
        let segments = Segments::of_any(disk);
        let ids = segments.list()?.segments;
        Ok(Inspector { segments, ids })
    }

    pub fn segments(&self) -> io::Result<Vec<SegmentInfo>> {
        let mut infos = Vec::new();
        for id in &self.ids {
            let file = name_of(*id);
            let (bytes, used) = match self.segments.open(*id) {
                Ok(open) => {
                    let mut used = SEGMENT_HEADER as u32;
                    while let Some(group) = walk::find(&open, used, |_| true)? {
                        used = walk::after(&group);
                    }
                    (open.size, used)
                }
                Err(_) => (0, 0),
            };
            infos.push(SegmentInfo { segment: *id, file, bytes: bytes.into(), used: used.into() });
        }
        Ok(infos)
    }

    /// Shows every record of a segment, in the order of the log; how the segment ends, or its first damage.
    pub fn scan(&self, segment: SegmentId, each: &mut dyn FnMut(RecordInfo)) -> io::Result<End> {
        let file = self.segments.open(segment).map_err(|error| error.into_io())?;
        let mut at = SEGMENT_HEADER as u32;
        let mut damage: Option<(u32, &'static str)> = None;
        let mut sequence = None;
        while let Some(group) =
            walk::find(&file, at, |header| sequence.is_none_or(|last| header.sequence > last))?
        {
            if group.offset > at {
                damage = damage.or(Some((at, "a group's header cannot be read")));
            }
            let content = walk::content(&file, &group)?;
            for record in &content.records {
                each(RecordInfo {
                    at: Position::new(segment, record.offset),
                    length: record.header.length,
                    intact: record.intact,
                    what: what(record),
                });
            }
            if !content.complete {
                damage = damage.or(Some((group.offset, "a record's header cannot be read")));
            } else if !content.intact() {
                damage = damage.or(Some((group.offset, "a record's body is damaged")));
            }
            sequence = Some(group.header.sequence);
            at = walk::after(&group);
        }
        let what = match damage {
            None => EndKind::Clean,
            Some((offset, why)) => {
                let at = Position::new(segment, offset);
                if self.acked_beyond(at)? { EndKind::Damaged { at, why } } else { EndKind::TornTail }
            }
        };
        Ok(End { at: Position::new(segment, at), what })
    }

    fn acked_beyond(&self, at: Position) -> io::Result<bool> {
        for id in self.ids.iter().filter(|id| **id >= at.segment) {
            let Ok(file) = self.segments.open(*id) else { continue };
            if walk::find(&file, SEGMENT_HEADER as u32, |header| header.acked > at)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Bytes of entries in a segment by ledger, live or not.
    pub fn bytes_by_ledger(&self, segment: SegmentId) -> io::Result<BTreeMap<LedgerId, u64>> {
        let mut bytes = BTreeMap::new();
        self.scan(segment, &mut |record| {
            if let What::Entry { ledger, .. } = record.what {
                *bytes.entry(ledger).or_default() += u64::from(record.length);
            }
        })?;
        Ok(bytes)
    }
}

fn what(record: &walk::Record) -> What {
    let what = match record.header.kind {
        Kind::Entry => Header::of(&record.body).map(|header| What::Entry {
            ledger: header.ledger,
            entry: header.entry,
            lac: header.lac,
        }),
        _ if !record.intact => None,
        Kind::Ledger => decode_ledger(&record.body).map(|(ledger, state)| What::Ledger(ledger, state)),
        Kind::Shelf => decode_shelf(&record.body).map(|(state, ranges)| What::Shelf(state, ranges)),
    };
    what.unwrap_or(What::Unreadable)
}
