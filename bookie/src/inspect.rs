//! Looking at a disk's segments without a bookie, without an index, and without changing anything.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use disk::Disk;
use protocol::entry::Header;
use protocol::{EntryId, LedgerId};

use crate::position::{Position, SegmentId};
use crate::segment::files::{SegmentFile, Segments};
use crate::segment::format::{CLEAN, Kind, SEGMENT_HEADER};
use crate::segment::record::{decode_ledger, decode_shelf};
use crate::segment::walk::{self, Found};
use crate::state::{LedgerState, ShelfState};

/// Segment files kept open.
const OPEN: usize = 4;

/// A disk's segments.
pub struct Inspector {
    segments: Segments,
    ids: Vec<SegmentId>,
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

/// What a segment is made of, besides its records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    pub bytes: u32,
    /// Up to the end of its last group.
    pub used: u32,
    pub groups: u64,
    /// The greatest position up to which answers had been given, as its groups say.
    pub acked: Position,
    /// It ends as a graceful stop leaves it.
    pub clean: bool,
    /// What is damaged, in the order of the log. Below the greatest mark of *any* segment ([`Inspector::acked`]) it had
    /// been acknowledged; above it, it is the torn tail of a crash, which a bookie cuts off.
    pub broken: Vec<(Position, String)>,
}

impl Inspector {
    /// Segments of another disk than `identity` are damage.
    pub fn new(disk: Arc<dyn Disk>, identity: [u8; 16]) -> io::Result<Inspector> {
        let segments = Segments::new(disk, identity, OPEN);
        let ids = segments.list()?.segments;
        Ok(Inspector { segments, ids })
    }

    pub fn segments(&self) -> &[SegmentId] {
        &self.ids
    }

    /// Shows every record of a segment, in the order of the log, until told to stop.
    pub fn scan(
        &self,
        segment: SegmentId,
        each: &mut dyn FnMut(RecordInfo) -> ControlFlow<()>,
    ) -> io::Result<Scan> {
        let file = match self.segments.open(segment) {
            Ok(file) => file,
            Err(error) => {
                let broken = vec![(Position::new(segment, 0), error.into_io().to_string())];
                return Ok(Scan { broken, ..Scan::default() });
            }
        };
        let mut scan = Scan { bytes: file.size, used: SEGMENT_HEADER as u32, ..Scan::default() };
        let mut last = None;
        while let Some(group) = next_group(&file, scan.used, last)? {
            if group.offset > scan.used {
                let lost = group.offset - scan.used;
                let what = format!("{lost} bytes without a group, and groups behind them");
                scan.broken.push((Position::new(segment, scan.used), what));
            }
            last = Some(group);
            scan.used = walk::after(&group);
            scan.groups += 1;
            scan.acked = scan.acked.max(group.header.acked);
            scan.clean = group.header.flags & CLEAN != 0;
            if scan.records(&file, &group, each)?.is_break() {
                break;
            }
        }
        Ok(scan)
    }

    /// The greatest position up to which answers had been given, as all groups of all segments say.
    pub fn acked(&self) -> io::Result<Position> {
        let mut acked = Position::default();
        for id in &self.ids {
            let Ok(file) = self.segments.open(*id) else { continue };
            let (mut at, mut last) = (SEGMENT_HEADER as u32, None);
            while let Some(group) = next_group(&file, at, last)? {
                acked = acked.max(group.header.acked);
                (at, last) = (walk::after(&group), Some(group));
            }
        }
        Ok(acked)
    }
}

impl Scan {
    /// Shows the records of one group.
    fn records(
        &mut self,
        file: &SegmentFile,
        group: &Found,
        each: &mut dyn FnMut(RecordInfo) -> ControlFlow<()>,
    ) -> io::Result<ControlFlow<()>> {
        let content = walk::content(file, group)?;
        for record in &content.records {
            let at = Position::new(file.id, record.offset);
            let what = what(record);
            if !record.intact {
                self.broken.push((at, format!("{what}: its checksum is wrong")));
            }
            let info = RecordInfo { at, length: record.header.length, intact: record.intact, what };
            if each(info).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        if !content.complete {
            let (read, all) = (content.records.len(), group.header.records);
            let what = format!("a group of {all} records of which {read} can be read");
            self.broken.push((Position::new(file.id, group.offset), what));
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// The next group at `at` or behind it that was written after the last one: what is older are leftovers.
fn next_group(file: &SegmentFile, at: u32, last: Option<Found>) -> io::Result<Option<Found>> {
    walk::find(file, at, |header| {
        last.is_none_or(|last| header.sequence > last.header.sequence && header.boot >= last.header.boot)
    })
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            What::Entry { ledger, entry, .. } => write!(f, "entry {entry} of ledger {ledger}"),
            What::Ledger(ledger, state) => {
                let flags = [
                    (state.fenced, "fenced"),
                    (state.deleted, "deleted"),
                    (state.limbo, "in limbo"),
                    (state.lac.is_some(), "explicit LAC"),
                ];
                let flags: Vec<_> = flags.into_iter().filter(|(set, _)| *set).map(|(_, flag)| flag).collect();
                write!(f, "state of ledger {ledger}")?;
                if flags.is_empty() { Ok(()) } else { write!(f, ": {}", flags.join(", ")) }
            }
            What::Shelf(..) => f.write_str("state of the disk"),
            What::Unreadable => f.write_str("a record that cannot be read"),
        }
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
