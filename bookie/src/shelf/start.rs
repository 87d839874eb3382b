//! Opening a disk: replaying what the index does not have, cutting a torn tail, finding damage.

use std::io;

use disk::Disk;
use protocol::EntryId;
use protocol::entry::Header;

use super::room::salt;
use super::*;
use crate::index::rows;
use crate::index::{Change, IndexStore};
use crate::segment::Segments;
use crate::segment::files::{Listing, OpenError};
use crate::segment::format::{CLEAN, Kind, SEGMENT_HEADER};
use crate::segment::record::{decode_ledger, decode_shelf};
use crate::segment::walk::{self, Found, Record};

/// How far behind the last sound group the next is looked for. Damage at the log's end that is longer, many groups long,
/// is taken for the end.
const SEARCH: u32 = 32 << 20;

/// A shelf that is being opened.
struct Start<D> {
    shelf: Shelf<D>,
    report: StartReport,
    /// Files on the disk, ascending, from the one where the replay begins.
    files: Vec<SegmentId>,
    /// Files of segments that were dropped.
    dropped: BTreeSet<SegmentId>,
    last_flags: u32,
    /// What was lost that could be of any ledger.
    lost: Option<&'static str>,
    /// All segments are scanned: numbers of groups jump where segments were dropped.
    rebuild: bool,
}

/// How a scan of the log ended.
enum Replayed {
    Whole,
    /// The index is older than the oldest segments.
    TooOld,
}

impl<D: Duty> Shelf<D> {
    /// Opens the disk: replays what the index does not have yet, cuts a torn tail, finds damage. `nonce` is any number
    /// that was not used before (it tells this start's bytes from all others').
    pub fn open(
        disk: Arc<dyn Disk>,
        store: Arc<dyn IndexStore>,
        config: Config,
        nonce: u64,
    ) -> Result<(Shelf<D>, StartReport), Error> {
        config.check()?;
        let segments = Segments::new(disk, config.identity, config.open_files);
        let listing = segments.list().map_err(Error::disk("listing segments"))?;
        if listing.unfinished {
            segments.remove_unfinished().map_err(Error::disk("removing an unfinished segment"))?;
        }
        let shared = Arc::new(Shared::new(store, segments));
        let row = shared.store.get(rows::CHECKPOINT).map_err(Error::index("reading the checkpoint"))?;
        let checkpoint = row.and_then(|row| Checkpoint::decode(&row));
        if checkpoint.is_some_and(|checkpoint| checkpoint.identity != config.identity) {
            return Err(Error::Foreign { file: "the index".into() });
        }
        let (usable, stale) = match checkpoint {
            None => (None, false),
            Some(checkpoint) => match has_group(&shared, &checkpoint)? {
                Named::There => (Some(checkpoint), false),
                // A segment that was dropped since, or is missing: the last list of segments tells.
                Named::NoFile => {
                    (None, listing.segments.last().is_none_or(|last| *last < checkpoint.last.segment))
                }
                Named::Other => (None, true),
            },
        };
        let mut start = Start::new(shared, config, nonce, listing, stale)?;
        match usable {
            Some(checkpoint) => match start.replay_from(checkpoint)? {
                Replayed::Whole => {}
                Replayed::TooOld => start.rebuild()?,
            },
            None => start.rebuild()?,
        }
        start.finish()
    }
}

/// What is where the checkpoint says that its last group is.
enum Named {
    There,
    NoFile,
    /// Index and segments do not belong together: one of them is older.
    Other,
}

fn has_group(shared: &Shared, checkpoint: &Checkpoint) -> Result<Named, Error> {
    match shared.segments.open(checkpoint.last.segment) {
        Ok(file) => {
            let found =
                walk::header_at(&file, checkpoint.last.offset).map_err(Error::disk("reading a segment"))?;
            Ok(if found.is_some_and(|found| found.crc == checkpoint.crc) {
                Named::There
            } else {
                Named::Other
            })
        }
        Err(OpenError::Damaged) => Ok(Named::Other),
        Err(OpenError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(Named::NoFile),
        Err(error) => Err(error.into_refusal(checkpoint.last.segment)),
    }
}

impl<D: Duty> Start<D> {
    fn new(
        shared: Arc<Shared>,
        config: Config,
        nonce: u64,
        listing: Listing,
        stale: bool,
    ) -> Result<Start<D>, Error> {
        let next_segment = listing.segments.last().map_or(1, |id| id.0 + 1);
        let files = listing.segments;
        let report = StartReport {
            empty: files.is_empty(),
            boot: 0,
            sequence: 0,
            clean: false,
            torn: None,
            damaged: Vec::new(),
            missing: Vec::new(),
            index: IndexFound::Current,
            scanned: 0,
            limbo: false,
            lost: None,
        };
        let none = Position::default();
        // Stands in until the log's end is found.
        let current = Arc::new(SegmentFile { id: SegmentId(0), salt: 0, size: 0, file: Arc::new(NoFile) });
        let checkpoint = Checkpoint {
            identity: config.identity,
            end: none,
            last: none,
            sequence: 0,
            crc: 0,
            boot: 0,
            shelf: ShelfState::default(),
        };
        let shelf = Shelf {
            shared,
            config,
            nonce,
            boot: 0,
            current,
            ahead: None,
            spares: listing.spares,
            next_segment,
            short_of_room: false,
            log: LogEnd { next: none, acked: none, last: none, sequence: 0, crc: 0 },
            unsynced: false,
            usage: BTreeMap::new(),
            used: BTreeSet::new(),
            dropped: BTreeSet::new(),
            homes: BTreeSet::new(),
            group: Group::new(),
            staged: FxHashMap::default(),
            shelf_state: ShelfState::default(),
            vouched: FxHashSet::default(),
            ready: Vec::new(),
            dirty: Vec::new(),
            unflushed: Unflushed::default(),
            flushing: false,
            checkpoint,
            clean_start: false,
            stopped: None,
        };
        Ok(Start {
            shelf,
            report,
            files,
            dropped: BTreeSet::new(),
            last_flags: 0,
            lost: stale.then_some("the index does not belong to these segments: one of them is older"),
            rebuild: false,
        })
    }

    fn replay_from(&mut self, checkpoint: Checkpoint) -> Result<Replayed, Error> {
        let shelf = &mut self.shelf;
        shelf.checkpoint = checkpoint;
        shelf.boot = checkpoint.boot;
        shelf.shelf_state = checkpoint.shelf;
        shelf.shared.catalog.write().shelf = checkpoint.shelf;
        shelf.log = LogEnd {
            next: checkpoint.end,
            acked: checkpoint.end,
            last: checkpoint.last,
            sequence: checkpoint.sequence,
            crc: checkpoint.crc,
        };
        let (from, to) = rows::all_segments();
        let stored =
            shelf.shared.store.scan(&from, &to, usize::MAX).map_err(Error::index("listing segments"))?;
        for (key, value) in &stored {
            let row = rows::segment_of(key).zip(Usage::decode(value));
            let (segment, usage) =
                row.ok_or_else(|| Error::index("listing segments")(super::shared::damaged_row("segment")))?;
            shelf.usage.insert(segment, usage);
        }
        let old =
            self.files.iter().filter(|id| **id < checkpoint.end.segment && !shelf.usage.contains_key(id));
        self.dropped = old.copied().collect();
        self.read_clean_mark(checkpoint.last)?;
        self.replay()
    }

    fn read_clean_mark(&mut self, last: Position) -> Result<(), Error> {
        let file = self.shelf.shared.segments.open(last.segment).map_err(|e| e.into_refusal(last.segment))?;
        let found = walk::header_at(&file, last.offset).map_err(Error::disk("reading a segment"))?;
        self.last_flags = found.map_or(0, |found| found.header.flags);
        Ok(())
    }

    /// Scans all segments into an empty index.
    fn rebuild(&mut self) -> Result<(), Error> {
        let shelf = &mut self.shelf;
        self.report.index = if self.files.is_empty() { IndexFound::New } else { IndexFound::Rebuilt };
        if !self.files.is_empty() {
            tracing::warn!(
                segments = self.files.len(),
                "the index is lost, or older than the segments: all segments are scanned, which takes a while"
            );
        }
        let (from, to) = rows::everything();
        let cleared = shelf.shared.store.write(vec![Change::RemoveRange(from, to)]);
        cleared.map_err(Error::index("clearing"))?;
        *shelf.shared.catalog.write() = Catalog::default();
        (shelf.usage, shelf.used, shelf.homes) = Default::default();
        (shelf.dirty, shelf.unflushed) = Default::default();
        shelf.shelf_state = ShelfState::default();
        (shelf.boot, self.last_flags) = (0, 0);
        let first = self.files.first().copied().unwrap_or_default();
        let start = Position::new(first, SEGMENT_HEADER as u32);
        shelf.log = LogEnd { next: start, acked: start, last: start, sequence: 0, crc: 0 };
        (self.report.damaged, self.report.scanned, self.report.torn) = Default::default();
        self.dropped.clear();
        self.rebuild = true;
        match self.replay()? {
            Replayed::Whole | Replayed::TooOld => Ok(()),
        }
    }

    /// From group to group up to the log's end.
    fn replay(&mut self) -> Result<Replayed, Error> {
        while let Some((file, found)) = self.next_group()? {
            let at = self.shelf.log.next;
            let here = Position::new(file.id, found.offset);
            let expected = found.header.sequence == self.shelf.log.sequence + 1
                && found.header.previous == self.shelf.log.crc;
            let begins = self.rebuild && self.shelf.log.sequence == 0;
            let dropped = file.id.0 > at.segment.0 + 1;
            let content = walk::content(&file, &found).map_err(Error::disk("reading a segment"))?;
            let sound = content.complete && (content.intact() || self.acked_beyond(&file, &found, here)?);
            if sound && (expected || begins || dropped && self.rebuild) {
                self.apply_group(&file, &found, &content.records)?;
                continue;
            }
            if dropped && !self.rebuild {
                return Ok(Replayed::TooOld);
            }
            let damaged_from = if expected { here } else { at };
            if !self.acked_beyond(&file, &found, damaged_from)? {
                self.report.torn = Some(at);
                break;
            }
            self.report.damaged.push((at, Position::new(file.id, walk::after(&found))));
            self.lost = Some("a group that had been acknowledged cannot be read");
            self.apply_group(&file, &found, &content.records)?;
        }
        Ok(Replayed::Whole)
    }

    /// The first group behind the last one that was replayed, wherever it is. The search ends where no log goes on for
    /// [`SEARCH`] bytes, in this file and the later ones.
    fn next_group(&mut self) -> Result<Option<(Arc<SegmentFile>, Found)>, Error> {
        let at = self.shelf.log.next;
        let later = self.files.partition_point(|id| *id < at.segment);
        let files = self.files.get(later..).unwrap_or(&[]).to_vec();
        for (i, id) in files.iter().enumerate() {
            let Some(file) = self.open_file(*id)? else { continue };
            let from = if *id == at.segment { at.offset } else { SEGMENT_HEADER as u32 };
            if let Some(found) = self.find(&file, from, from.saturating_add(SEARCH))? {
                // The log goes on in a later file: then every byte of the earlier ones is worth a look.
                for earlier in files.iter().take(i) {
                    let Some(file) = self.open_file(*earlier)? else { continue };
                    let from = if *earlier == at.segment { at.offset } else { SEGMENT_HEADER as u32 };
                    if let Some(found) = self.find(&file, from, file.size)? {
                        return Ok(Some((file, found)));
                    }
                }
                return Ok(Some((file, found)));
            }
        }
        Ok(None)
    }

    /// Groups of an earlier start, or with an earlier number, are leftovers of a tail that was cut.
    fn find(&self, file: &SegmentFile, from: u32, end: u32) -> Result<Option<Found>, Error> {
        let (boot, sequence) = (self.shelf.boot, self.shelf.log.sequence);
        let wanted = |header: &GroupHeader| header.boot >= boot && header.sequence > sequence;
        walk::find_before(file, from, end, wanted).map_err(Error::disk("reading a segment"))
    }

    /// `None`: its header is damaged.
    fn open_file(&mut self, id: SegmentId) -> Result<Option<Arc<SegmentFile>>, Error> {
        match self.shelf.shared.segments.open(id) {
            Ok(file) => Ok(Some(file)),
            Err(OpenError::Damaged) => {
                if self.lost.is_none() {
                    tracing::error!(segment = %id, "the header of a segment is damaged: its entries cannot be read");
                }
                self.lost = Some("the header of a segment is damaged");
                Ok(None)
            }
            Err(error) => Err(error.into_refusal(id)),
        }
    }

    /// Whether any group from `found` on says that what begins at `place` had been acknowledged.
    fn acked_beyond(&self, file: &SegmentFile, found: &Found, place: Position) -> Result<bool, Error> {
        if planted::on(Bug::DamageTakenForTail) {
            return Ok(false);
        }
        if found.header.acked > place {
            return Ok(true);
        }
        let boot = self.shelf.boot;
        let says = |header: &GroupHeader| header.acked > place && header.boot >= boot;
        let reading = Error::disk("reading a segment");
        if walk::find(file, found.offset, says).map_err(reading)?.is_some() {
            return Ok(true);
        }
        for id in self.files.iter().filter(|id| **id > file.id) {
            let Ok(later) = self.shelf.shared.segments.open(*id) else { continue };
            if walk::find(&later, SEGMENT_HEADER as u32, says)
                .map_err(Error::disk("reading a segment"))?
                .is_some()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn apply_group(
        &mut self,
        file: &Arc<SegmentFile>,
        found: &Found,
        records: &[Record],
    ) -> Result<(), Error> {
        let here = Position::new(file.id, found.offset);
        self.shelf.usage.entry(file.id).or_default();
        self.shelf.used.insert(file.id);
        for record in records {
            self.apply(file, record)?;
        }
        let shelf = &mut self.shelf;
        shelf.boot = shelf.boot.max(found.header.boot);
        shelf.unflushed.bytes += u64::from(found.header.length);
        self.last_flags = found.header.flags;
        self.report.scanned += u64::from(found.header.length);
        shelf.log = LogEnd {
            next: Position::new(file.id, walk::after(found)),
            acked: found.header.acked.max(shelf.log.acked),
            last: here,
            sequence: found.header.sequence,
            crc: found.crc,
        };
        // A rebuild of a large disk must not gather all of it in memory.
        if shelf.flush_due() {
            self.make_durable()?;
            self.shelf.flush_now()?;
        }
        Ok(())
    }

    fn apply(&mut self, file: &SegmentFile, record: &Record) -> Result<(), Error> {
        let event = match record.header.kind {
            Kind::Entry => self.entry(file, record)?,
            _ if !record.intact => None,
            Kind::Ledger => decode_ledger(&record.body).map(|(ledger, state)| {
                self.shelf.homes.insert((file.id, ledger));
                Event::Ledger(ledger, Box::new(state))
            }),
            Kind::Shelf => decode_shelf(&record.body).map(|(state, ranges)| {
                self.apply_list(&ranges);
                self.shelf.shelf_state = state;
                Event::Shelf(state)
            }),
        };
        let Some(event) = event else {
            self.lost = Some("a record of a ledger's or the shelf's state is damaged");
            return Ok(());
        };
        if let Event::Ledger(ledger, _) | Event::Entry { ledger, .. } = &event {
            self.shelf.shared.load(*ledger).map_err(Error::index("reading a ledger's state"))?;
        }
        self.shelf.publish(&mut vec![event]);
        Ok(())
    }

    /// An entry whose body is damaged is indexed all the same: reads say that it cannot be read, not that it is not
    /// there.
    fn entry(&mut self, file: &SegmentFile, record: &Record) -> Result<Option<Event>, Error> {
        let Some(header) = Header::of(&record.body) else { return Ok(None) };
        let (ledger, entry) = (header.ledger, header.entry);
        if !record.intact {
            self.shelf.shared.note_damage(ledger, entry);
        }
        let facts = self.shelf.facts(ledger)?;
        if facts.is_none() {
            let state = LedgerState { fenced: true, limbo: true, ..LedgerState::default() };
            self.shelf.publish(&mut vec![Event::Ledger(ledger, Box::new(state))]);
        }
        let old = self.shelf.shared.locate(ledger, entry).map_err(Error::index("looking up an entry"))?;
        let slot =
            Slot { entry: entry.0, segment: file.id.0, offset: record.offset, length: record.header.length };
        let lac = if record.intact { header.lac } else { EntryId::NONE };
        Ok(Some(Event::Entry { ledger, slot, lac, old, copy: false }))
    }

    fn finish(mut self) -> Result<(Shelf<D>, StartReport), Error> {
        self.reconcile_files()?;
        let clean = self.last_flags & CLEAN != 0 && self.report.torn.is_none() && self.lost.is_none();
        self.make_durable()?;
        self.shelf.shared.segments.disk().sync_folder().map_err(Error::disk("syncing names"))?;
        self.open_end()?;
        let shelf = &mut self.shelf;
        shelf.boot += 1;
        shelf.clean_start = clean || self.report.empty;
        shelf.shared.catalog.write().ledgers.values_mut().for_each(|known| known.fresh = false);
        if let Some(why) = self.lost {
            tracing::error!(
                why,
                "acknowledged data of this disk may be lost: its ledgers are fenced, and nothing is said to be absent, until \
                 they have been repaired"
            );
            shelf.shelf_state.damages += 1;
            shelf.shared.catalog.write().shelf = shelf.shelf_state;
        }
        shelf.prepare()?;
        // Says that all before it counts, and that this start happened.
        match shelf.make_room(shelf.shelf_bytes()) {
            Ok(()) => {
                shelf.push_shelf();
                shelf.commit_inner()?;
            }
            Err(Error::NoRoom) => tracing::warn!("the disk is full: started without a mark"),
            Err(error) => return Err(error),
        }
        let (boot, sequence, limbo) = (shelf.boot, shelf.log.sequence, shelf.shelf_state.limbo());
        let report = StartReport { boot, sequence, limbo, clean, lost: self.lost, ..self.report };
        Ok((self.shelf, report))
    }

    /// The segments that counted when a list was made; those that were begun later (it is in the first group of each)
    /// count too.
    fn apply_list(&mut self, ranges: &[(u32, u32)]) {
        let newest = ranges.last().map_or(0, |(_, last)| *last);
        let counts = |id: &SegmentId| {
            id.0 > newest || ranges.iter().any(|(first, last)| (*first..=*last).contains(&id.0))
        };
        let usage = &mut self.shelf.usage;
        self.dropped.extend(usage.keys().chain(&self.files).filter(|id| !counts(id)));
        usage.retain(|id, _| counts(id));
        self.shelf.dropped.extend(self.dropped.iter());
        for id in ranges.iter().flat_map(|(first, last)| *first..=*last).map(SegmentId) {
            usage.entry(id).or_default();
        }
    }

    /// Removes files that were dropped, finds those that are missing.
    fn reconcile_files(&mut self) -> Result<(), Error> {
        let shelf = &mut self.shelf;
        for id in self.files.iter().filter(|id| self.dropped.contains(id)) {
            shelf.shared.segments.remove(*id, false).map_err(Error::disk("removing a segment"))?;
        }
        let missing = shelf.usage.keys().filter(|id| self.files.binary_search(id).is_err()).copied();
        self.report.missing = missing.collect();
        // Segments are made one after the other: a gap at the new end is a segment that was in use.
        let end = self.shelf.log.next.segment;
        if let Some(beyond) = self.files.iter().find(|id| **id > end)
            && self.shelf.log.sequence > 0
            && beyond.0 > end.0 + 1
        {
            self.report.missing.push(SegmentId(end.0 + 1));
        }
        if !self.report.missing.is_empty() {
            self.lost = Some("a segment is missing");
        }
        Ok(())
    }

    /// Makes durable what was replayed. Above the last mark it may be in the page cache only, and even there be taken
    /// for written (a sync that failed cleans its pages): so it is written again, the same bytes to the same place.
    fn make_durable(&mut self) -> Result<(), Error> {
        if planted::on(Bug::ReplayedTailNotSynced) {
            return Ok(());
        }
        let (acked, end) = (self.shelf.log.acked, self.shelf.log.next);
        let from = self.shelf.checkpoint.end.segment.min(acked.segment);
        let files = self.files.iter().filter(|id| (from..=end.segment).contains(*id));
        for id in files.copied().collect::<Vec<_>>() {
            let Ok(file) = self.shelf.shared.segments.open(id) else { continue };
            let first = if id == acked.segment { acked.offset } else { SEGMENT_HEADER as u32 };
            let last = if id == end.segment { end.offset } else { file.size };
            if id >= acked.segment {
                walk::write_again(&file, first, last)
                    .map_err(Error::disk("writing a segment's tail again"))?;
            }
            file.file.sync().map_err(Error::disk("syncing a segment"))?;
        }
        self.shelf.log.acked = end;
        Ok(())
    }

    /// The segment to go on in: the last with groups, or a new one.
    fn open_end(&mut self) -> Result<(), Error> {
        let shelf = &mut self.shelf;
        let end = shelf.log.next;
        for id in self.files.iter().filter(|id| **id > end.segment) {
            // At most one, made ahead and not used (what a cut tail left in it does not count).
            match shelf.shared.segments.open(*id) {
                Ok(file) if shelf.ahead.is_none() && file.size == shelf.config.segment_bytes => {
                    shelf.ahead = Some(file)
                }
                _ => drop(
                    shelf.shared.segments.remove(*id, false).map_err(Error::disk("removing a segment"))?,
                ),
            }
        }
        // What was never used leaves no gap.
        shelf.next_segment = shelf.ahead.as_ref().map_or(end.segment.0, |ahead| ahead.id.0) + 1;
        let in_use = shelf.log.sequence > 0;
        match shelf.shared.segments.open(end.segment) {
            Ok(file) if in_use => {
                shelf.current = file;
                return Ok(());
            }
            _ => {}
        }
        if shelf.ahead.is_none() {
            let id = SegmentId(shelf.next_segment);
            let (size, salt) = (shelf.config.segment_bytes, salt(shelf.nonce, id));
            let made = shelf
                .shared
                .segments
                .make(id, salt, size, None)
                .map_err(Error::disk("making the first segment"))?;
            shelf.next_segment += 1;
            shelf.ahead = Some(made);
        }
        let Some(first) = shelf.ahead.take() else { return Ok(()) };
        shelf.log.next = Position::new(first.id, SEGMENT_HEADER as u32);
        shelf.log.acked = shelf.log.next;
        shelf.usage.insert(first.id, Usage::default());
        shelf.used.insert(first.id);
        shelf.current = first;
        Ok(())
    }
}

/// No segment yet.
struct NoFile;

impl disk::File for NoFile {
    fn write_at(&self, _: u64, _: &[io::IoSlice<'_>]) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn sync(&self) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn read_at(&self, _: u64, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(0)
    }
}
