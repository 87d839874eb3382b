//! Looking up and reading, on any thread, past the thread that writes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use planted::Bug;
use protocol::bookie::{Answer, Outcome, Refusal, Request, Runs};
use protocol::entry::{Header, MAX_FRAME};
use protocol::{EntryId, LedgerId};

use super::readahead::{Ahead, ReadAhead};
use super::shared::{Shared, View};
use crate::error::Error;
use crate::index::catalog::Purge;
use crate::index::rows::{self, BUCKET, Slot};
use crate::position::{Location, SegmentId};
use crate::segment::format::{Kind, RECORD_HEADER, SEGMENT_HEADER};
use crate::segment::walk;
use crate::state::{LedgerState, ShelfState, is_ledger};

/// What is read ahead of a sequential reader at once.
const READ_AHEAD: u64 = 256 << 10;
/// The largest single read of a batch, unless one entry is larger.
const EXTENT: u32 = 2 << 20;
/// Bytes of others that are read along rather than skipped.
const GAP: u32 = 32 << 10;
/// Rows of the index that are read at once.
const PAGE: usize = 256;

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

/// Live entries that are damaged, and where a check goes on (`None`: it is done).
pub type Checked = (Vec<(LedgerId, EntryId)>, Option<u32>);

/// A handle for reading; clone it freely.
#[derive(Clone)]
pub struct Reader {
    pub(super) shared: Arc<Shared>,
    pub(super) ahead: Arc<Mutex<ReadAhead>>,
}

pub(super) fn refusal_of(lookup: Lookup) -> Refusal {
    match lookup {
        Lookup::NoLedger => Refusal::NoLedger,
        Lookup::NoEntry => Refusal::NoEntry,
        Lookup::Unknown => Refusal::Unknown,
        Lookup::At(_) => Refusal::Io,
    }
}

/// The index could not be read: nothing is known.
pub(super) fn unreadable(error: io::Error) -> Refusal {
    tracing::error!(%error, "the index cannot be read");
    Refusal::Io
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, readahead_bytes: usize) -> Reader {
        Reader { shared, ahead: Arc::new(Mutex::new(ReadAhead::new(readahead_bytes))) }
    }

    /// Answers any request that reads (fences are the shelf's: they are not looked at here).
    pub fn serve(&self, request: &Request) -> Outcome {
        match request {
            Request::Read { ledger, entry, options } => {
                let body = self.read(*ledger, *entry)?;
                let lac = options.piggyback_lac || options.previous_lac.is_some();
                let max_lac = lac.then(|| self.max_lac(*ledger).max(lac_of(&body)));
                Ok(Answer::Entry { body, max_lac })
            }
            Request::BatchRead { ledger, first, max_count, max_bytes, .. } => {
                self.read_batch(*ledger, *first, *max_count, *max_bytes).map(Answer::Entries)
            }
            Request::ReadRange { ledger, entry, from, len } => {
                self.read_range(*ledger, *entry, *from, *len).map(Answer::Range)
            }
            Request::Lengths { ledger, first, max_count } => {
                self.lengths(*ledger, *first, *max_count).map(Answer::Lengths)
            }
            Request::ReadLac { ledger } => self.read_lac(*ledger),
            Request::ListEntries { ledger } => self.list(*ledger).map(Answer::List),
            _ => Err(Refusal::BadRequest),
        }
    }

    /// The ledger's view, or why nothing can be said of it.
    fn view(&self, ledger: LedgerId) -> io::Result<Result<View, Lookup>> {
        Ok(match self.shared.view(ledger)? {
            Some(view) if view.state.deleted => Err(Lookup::NoLedger),
            Some(view) => Ok(view),
            None if self.shared.catalog.read().shelf.limbo() => Err(Lookup::Unknown),
            None => Err(Lookup::NoLedger),
        })
    }

    pub(super) fn find(
        &self,
        ledger: LedgerId,
        entry: EntryId,
    ) -> io::Result<Result<(EntryId, Slot), Lookup>> {
        let view = match self.view(ledger)? {
            Ok(view) => view,
            Err(lookup) => return Ok(Err(lookup)),
        };
        let (wanted, absent) = wanted(&view.state, &view.shelf, view.last, entry);
        let Some(wanted) = wanted else { return Ok(Err(absent)) };
        Ok(self.shared.locate(ledger, wanted)?.map(|slot| (wanted, slot)).ok_or(absent))
    }

    /// Whether the shelf has anything of this ledger: its disk was chosen. A tombstone counts.
    pub fn knows(&self, ledger: LedgerId) -> Result<bool, Error> {
        let view = self.shared.view(ledger).map_err(Error::index("reading a ledger's state"))?;
        Ok(view.is_some())
    }

    pub fn lookup(&self, ledger: LedgerId, entry: EntryId) -> Result<Lookup, Error> {
        let found = self.find(ledger, entry).map_err(Error::index("looking up an entry"))?;
        Ok(match found {
            Ok((_, slot)) => Lookup::At(slot.location()),
            Err(absent) => absent,
        })
    }

    /// One entry's bytes; [`EntryId::NONE`]: the highest.
    pub fn read(&self, ledger: LedgerId, entry: EntryId) -> Result<Bytes, Refusal> {
        if !is_ledger(ledger) || entry.0 < -1 {
            return Err(Refusal::BadRequest);
        }
        let mut found = self.find(ledger, entry).map_err(unreadable)?.map_err(refusal_of)?;
        match if entry.is_none() { Ahead::No } else { self.ahead.lock().take(ledger, entry) } {
            Ahead::Here(body) => return Ok(body),
            Ahead::Sequential => return self.read_on(ledger, entry),
            Ahead::No => {}
        }
        for _ in 0..3 {
            if let Some(body) = self.body_at(ledger, found.0, &found.1) {
                return Ok(body);
            }
            // Perhaps it was moved by a compaction meanwhile.
            let again = self.find(ledger, entry).map_err(unreadable)?.map_err(refusal_of)?;
            if again == found {
                break;
            }
            found = again;
        }
        self.shared.note_damage(ledger, found.0, (found.1.segment, found.1.offset));
        Err(if planted::on(Bug::DamagedEntryIsAbsent) { Refusal::NoEntry } else { Refusal::Io })
    }

    fn read_on(&self, ledger: LedgerId, entry: EntryId) -> Result<Bytes, Refusal> {
        let mut entries = self.read_batch(ledger, entry, 0, READ_AHEAD)?.into_iter();
        let body = entries.next().ok_or(Refusal::Io)?;
        self.ahead.lock().keep(ledger, entry.next(), entries);
        Ok(body)
    }

    /// The body of an entry's record, if that is what is there.
    fn body_at(&self, ledger: LedgerId, entry: EntryId, slot: &Slot) -> Option<Bytes> {
        let file = self.shared.segments.open(SegmentId(slot.segment)).ok()?;
        let bytes = walk::read(&file, slot.offset, RECORD_HEADER + slot.length as usize).ok()?;
        entry_in(&file, slot.offset, &bytes, (ledger, entry), slot)
    }

    /// The highest LAC that this shelf has seen for a ledger (entries and explicit): for long polls.
    pub fn max_lac(&self, ledger: LedgerId) -> EntryId {
        match self.shared.view(ledger) {
            Ok(Some(view)) if !view.state.deleted => view.lac.max(view.state.explicit_lac()),
            _ => EntryId::NONE,
        }
    }

    /// Consecutive entries from `first`, read with few large reads; stops at the first that is not there.
    pub fn read_batch(
        &self,
        ledger: LedgerId,
        first: EntryId,
        max_count: u32,
        max_bytes: u64,
    ) -> Result<Vec<Bytes>, Refusal> {
        if !is_ledger(ledger) || first.is_none() {
            return Err(Refusal::BadRequest);
        }
        self.find(ledger, first).map_err(unreadable)?.map_err(refusal_of)?;
        let max_bytes = max_bytes.min(MAX_FRAME as u64 - 64);
        let slots = self.consecutive(ledger, first, max_count, max_bytes).map_err(unreadable)?;
        let mut bodies = Vec::with_capacity(slots.len());
        for extent in extents(&slots) {
            self.read_extent(ledger, extent, &mut bodies);
            let expected = first.0.saturating_add(bodies.len() as i64);
            if extent.last().is_none_or(|last| last.entry + 1 != expected) {
                break;
            }
        }
        if bodies.is_empty() {
            // Moved or damaged: the careful way tells.
            self.ahead.lock().forget(ledger);
            return self.read(ledger, first).map(|body| vec![body]);
        }
        Ok(bodies)
    }

    pub(super) fn consecutive(
        &self,
        ledger: LedgerId,
        first: EntryId,
        max_count: u32,
        max_bytes: u64,
    ) -> io::Result<Vec<Slot>> {
        let max_count = if max_count == 0 { usize::MAX } else { max_count as usize };
        let (mut next, mut bytes) = (first.0, 0);
        let mut slots: Vec<Slot> = Vec::new();
        loop {
            let bucket = self.shared.bucket(ledger, next.div_euclid(BUCKET))?;
            let (before, from) = (slots.len(), next);
            for slot in bucket.into_iter().filter(|slot| slot.entry >= from) {
                bytes += u64::from(slot.length) + 4;
                if slot.entry != next || slots.len() == max_count || (bytes > max_bytes && !slots.is_empty())
                {
                    return Ok(slots);
                }
                slots.push(slot);
                next += 1;
            }
            if slots.len() == before || next.rem_euclid(BUCKET) != 0 {
                return Ok(slots);
            }
        }
    }

    /// Reads neighbours at once; adds bodies up to the first that is not as it should be.
    fn read_extent(&self, ledger: LedgerId, extent: &[Slot], bodies: &mut Vec<Bytes>) {
        let (Some(first), Some(last)) = (extent.first(), extent.last()) else { return };
        let Ok(file) = self.shared.segments.open(SegmentId(first.segment)) else { return };
        let length = (last.offset - first.offset) as usize + RECORD_HEADER + last.length as usize;
        let Ok(bytes) = walk::read(&file, first.offset, length) else { return };
        for slot in extent {
            let start = (slot.offset - first.offset) as usize;
            let end = (start + RECORD_HEADER + slot.length as usize).min(bytes.len());
            if start > end {
                return;
            }
            let record = bytes.slice(start..end);
            let Some(body) = entry_in(&file, slot.offset, &record, (ledger, EntryId(slot.entry)), slot)
            else {
                return;
            };
            bodies.push(body);
        }
    }

    fn read_lac(&self, ledger: LedgerId) -> Outcome {
        let view = self.view(ledger).map_err(unreadable)?.map_err(refusal_of)?;
        if view.state.limbo(&view.shelf) {
            return Err(Refusal::Unknown);
        }
        let packet = view.state.lac.map(|(_, packet)| packet);
        let last_entry = if view.last.is_none() { None } else { Some(self.read(ledger, EntryId::NONE)?) };
        Ok(Answer::Lac { packet, last_entry })
    }

    /// Ids of stored entries, for those who ask from outside: in limbo nothing is said of what is not here.
    fn list(&self, ledger: LedgerId) -> Result<Runs, Refusal> {
        let view = self.view(ledger).map_err(unreadable)?.map_err(refusal_of)?;
        if view.state.limbo(&view.shelf) {
            return Err(Refusal::Unknown);
        }
        self.stored(ledger).map_err(unreadable)
    }

    /// Ids that are stored here, limbo or not.
    pub fn stored_ids(&self, ledger: LedgerId) -> Result<Runs, Error> {
        self.stored(ledger).map_err(Error::index("listing a ledger's entries"))
    }

    fn stored(&self, ledger: LedgerId) -> io::Result<Runs> {
        let mut runs = Runs::default();
        let mut bucket = 0;
        while let Some(next) = self.shared.next_bucket(ledger, bucket)? {
            for slot in self.shared.bucket(ledger, next)? {
                runs.add(EntryId(slot.entry), EntryId(slot.entry));
            }
            bucket = next + 1;
        }
        Ok(runs)
    }

    /// All ledgers with something here, tombstones apart.
    pub fn ledgers(&self) -> Result<Vec<LedgerId>, Error> {
        self.ledgers_that(|view| !view.state.deleted)
    }

    pub fn deleted(&self) -> Result<Vec<LedgerId>, Error> {
        self.ledgers_that(|view| view.state.deleted)
    }

    /// Ledgers in limbo.
    pub fn in_limbo(&self) -> Result<Vec<LedgerId>, Error> {
        self.ledgers_that(|view| !view.state.deleted && view.state.limbo(&view.shelf))
    }

    fn ledgers_that(&self, wanted: impl Fn(&View) -> bool) -> Result<Vec<LedgerId>, Error> {
        let listing = || Error::index("listing ledgers");
        // Memory first: a ledger that leaves it meanwhile is in the store.
        let mut ids: BTreeSet<LedgerId> = self.shared.catalog.read().ledgers.keys().copied().collect();
        let mut after = None;
        loop {
            let (from, to) = rows::ledgers_after(after);
            let page = self.shared.store.scan(&from, &to, PAGE).map_err(listing())?;
            ids.extend(page.iter().filter_map(|(key, _)| rows::ledger_of(key)));
            match page.last() {
                Some((key, _)) if page.len() == PAGE => after = rows::ledger_of(key),
                _ => break,
            }
        }
        let mut found = Vec::new();
        for id in ids {
            if self.shared.view(id).map_err(listing())?.is_some_and(|view| wanted(&view)) {
                found.push(id);
            }
        }
        Ok(found)
    }

    /// Live bytes of a segment by ledger: why it is retained. Walks the whole index.
    pub fn holders(&self, segment: SegmentId) -> Result<BTreeMap<LedgerId, u64>, Error> {
        let mut holders = BTreeMap::new();
        self.slots_in(segment, |ledger, slot| {
            *holders.entry(ledger).or_default() += u64::from(slot.length);
        })
        .map_err(Error::index("walking the index"))?;
        Ok(holders)
    }

    /// Every live slot in a segment.
    fn slots_in(&self, segment: SegmentId, mut each: impl FnMut(LedgerId, Slot)) -> io::Result<()> {
        let ledgers = self.ledgers().map_err(|error| io::Error::other(error.to_string()))?;
        for ledger in ledgers {
            let mut bucket = 0;
            while let Some(next) = self.shared.next_bucket(ledger, bucket)? {
                let slots = self.shared.bucket(ledger, next)?;
                slots
                    .into_iter()
                    .filter(|slot| slot.segment == segment.0)
                    .for_each(|slot| each(ledger, slot));
                bucket = next + 1;
            }
        }
        Ok(())
    }

    /// Checks the records of a segment from byte `from` (0: the first) for about `max_bytes`: live entries that are
    /// damaged, and where to go on (`None`: done). For the scrub.
    pub fn verify(&self, segment: SegmentId, from: u32, max_bytes: u64) -> Result<Checked, Error> {
        self.verify_from(segment, from, max_bytes).map_err(Error::index("checking a segment"))
    }

    fn verify_from(&self, segment: SegmentId, from: u32, max_bytes: u64) -> io::Result<Checked> {
        let file = self.shared.segments.open(segment).map_err(|error| error.into_io())?;
        let mut at = from.max(SEGMENT_HEADER as u32);
        let (mut damaged, mut scanned, mut next) = (Vec::new(), 0, None);
        while scanned < max_bytes {
            let Some(group) = walk::find(&file, at, |_| true)? else {
                next = None;
                break;
            };
            let content = walk::content(&file, &group)?;
            let entries = content.records.iter().filter(|record| record.header.kind == Kind::Entry);
            for record in entries.filter(|record| !record.intact) {
                self.note_if_live(segment, record, &mut damaged)?;
            }
            if group.offset > at || !content.complete {
                let hidden = at..walk::after(&group);
                self.slots_in(segment, |ledger, slot| {
                    let seen = content.records.iter().any(|record| record.offset == slot.offset);
                    if hidden.contains(&slot.offset) && !seen {
                        damaged.push((ledger, EntryId(slot.entry)));
                    }
                })?;
            }
            scanned += u64::from(group.header.length);
            at = walk::after(&group);
            next = Some(at);
        }
        Ok((damaged, next))
    }

    fn note_if_live(
        &self,
        segment: SegmentId,
        record: &walk::Record,
        damaged: &mut Vec<(LedgerId, EntryId)>,
    ) -> io::Result<()> {
        let Some(header) = Header::of(&record.body) else { return Ok(()) };
        let found = self.find(header.ledger, header.entry)?;
        if found.is_ok_and(|(_, slot)| (slot.segment, slot.offset) == (segment.0, record.offset)) {
            damaged.push((header.ledger, header.entry));
        }
        Ok(())
    }

    /// Entries that could not be read since the last call: they need repair. The shelf puts their ledgers in limbo
    /// with its next commit.
    pub fn take_damaged(&self) -> Vec<(LedgerId, EntryId)> {
        self.shared.take_damaged_entries()
    }

    /// Whether the index still holds what belongs to a deleted life of the ledger.
    pub fn purging(&self, ledger: LedgerId) -> bool {
        self.shared.catalog.read().ledgers.get(&ledger).is_some_and(|known| known.purge != Purge::None)
    }
}

/// The entry to look for, if there can be one, and what its absence means.
pub(super) fn wanted(
    state: &LedgerState,
    shelf: &ShelfState,
    last: EntryId,
    entry: EntryId,
) -> (Option<EntryId>, Lookup) {
    let limbo = state.limbo(shelf) && !planted::on(Bug::LimboAnswersNo);
    let absent = if limbo { Lookup::Unknown } else { Lookup::NoEntry };
    // In limbo the highest entry here may be lower than what was here.
    let wanted = match entry.is_none() {
        true if limbo => EntryId::NONE,
        true => last,
        false => entry,
    };
    (Some(wanted).filter(|wanted| !wanted.is_none()), absent)
}

pub(super) fn lac_of(body: &Bytes) -> EntryId {
    Header::of(body).map_or(EntryId::NONE, |header| header.lac)
}

/// The body of the record that `bytes` begin with, if it is this entry's and intact.
pub(super) fn entry_in(
    file: &crate::segment::SegmentFile,
    offset: u32,
    bytes: &Bytes,
    wanted: (LedgerId, EntryId),
    slot: &Slot,
) -> Option<Bytes> {
    let record = walk::record_at(file, offset, bytes, 0)?;
    let header = Header::of(&record.body)?;
    let right = record.intact && record.header.kind == Kind::Entry && record.header.length == slot.length;
    (right && (header.ledger, header.entry) == wanted).then_some(record.body)
}

/// Cuts consecutive slots into stretches that are worth one read each.
pub(super) fn extents(slots: &[Slot]) -> impl Iterator<Item = &[Slot]> {
    let mut start = slots.first().map_or(0, |slot| slot.offset);
    slots.chunk_by(move |a, b| {
        let end = a.offset.saturating_add(RECORD_HEADER as u32 + a.length);
        let near = a.segment == b.segment && b.offset >= end && b.offset - end <= GAP;
        let small = b.offset.saturating_add(b.length).saturating_sub(start) <= EXTENT;
        if !(near && small) {
            start = b.offset;
        }
        near && small
    })
}
