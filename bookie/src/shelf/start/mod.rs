//! Opening a disk: replaying what the index does not have, cutting a torn tail, finding damage.

mod loss;
mod replay;
mod settle;

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
use crate::segment::walk::{self, Found};

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
    /// The disk has a note of that.
    noted: bool,
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
        start.read_loss()?;
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
            noted: false,
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
        self.note_loss()?;
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

    fn finish(mut self) -> Result<(Shelf<D>, StartReport), Error> {
        self.reconcile_files()?;
        self.note_loss()?;
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
            // On top of all that the replay has read.
            shelf.shelf_state.damages += 1;
            shelf.shared.catalog.write().shelf = shelf.shelf_state;
        }
        shelf.prepare()?;
        // Says that all before it counts, and that this start happened.
        match shelf.make_room(shelf.shelf_bytes()) {
            Ok(()) => {
                shelf.push_shelf();
                shelf.commit_inner()?;
                self.loss_is_told()?;
            }
            Err(Error::NoRoom) => tracing::warn!("the disk is full: started without a mark"),
            Err(error) => return Err(error),
        }
        let shelf = &self.shelf;
        let (boot, sequence, limbo) = (shelf.boot, shelf.log.sequence, shelf.shelf_state.limbo());
        let report = StartReport { boot, sequence, limbo, clean, lost: self.lost, ..self.report };
        Ok((self.shelf, report))
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
