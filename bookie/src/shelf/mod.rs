//! One disk: a state machine over [`disk::Disk`], owned by one thread.
//!
//! ```text
//! stage(request, duty)*  →  commit()  →  staged reads are served by a Reader, on any thread
//! ```
//!
//! A [`Shelf`] decides (fences, keys, tombstones, limbo), appends, syncs, publishes and answers. A [`Reader`] looks
//! up and reads; there are as many as one likes.

mod compact;
pub mod config;
mod flush;
mod group;
mod orders;
mod readahead;
pub mod reader;
mod reader_now;
mod reader_part;
pub mod report;
mod room;
mod shared;
mod stage;
mod start;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::LedgerId;
use protocol::bookie::Request;
use rustc_hash::{FxHashMap, FxHashSet};

pub use config::Config;
pub use flush::{Flush, Flushed};
pub use reader::{Lookup, Reader};
pub use report::{IndexFound, Room, SegmentUse, StartReport};

use crate::duty::Duty;
use crate::error::Error;
use crate::index::catalog::{Catalog, EntryIdOrNone, Known, Purge};
use crate::index::rows::{Checkpoint, Slot, Usage};
use crate::position::{Position, SegmentId};
use crate::segment::SegmentFile;
use crate::segment::files::Spare;
use crate::segment::format::GroupHeader;
use crate::state::{LedgerState, ShelfState};
use group::{Event, Group};
use planted::Bug;
use shared::Shared;

/// What became of a request that was given to [`Shelf::stage`].
#[must_use]
pub enum Staged<D> {
    /// It is in the open group, or was answered at once: call [`Shelf::commit`] when there is nothing more to stage.
    Taken,
    /// The open group has no room for it: commit, then stage it again.
    Full(Request, D),
    /// Whatever had to be durable before it is: answer it from [`Reader::serve`], on any thread.
    Read(Request, D),
    /// A normal add for a ledger that this shelf does not know. Ask the metadata: [`Shelf::vouch`] and stage it again
    /// if the ledger may be written here (or is absent there), else answer that it is fenced.
    Stranger(Request, D),
}

/// What the service's own duties change; durable with the next [`Shelf::commit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The ledger is deleted: a tombstone refuses normal adds from now on; a recovery add overrides it.
    Delete(LedgerId),
    /// Forget the tombstone of a ledger whose id cannot come back.
    Forget(LedgerId),
    /// Fence the ledger (again: in limbo, or closed according to metadata).
    Fence(LedgerId),
    /// Data of this ledger may be lost here, its fence too: it is fenced, and nothing is answered in the negative.
    /// Known or not, and whatever [`Order::ClearLimboAll`] says later.
    Limbo(LedgerId),
    /// All entries that should be here are here again.
    ClearLimbo(LedgerId),
    /// Data of any ledger may be lost here: all that are known are fenced, and nothing is answered in the negative.
    LimboAll,
    /// Ledgers that are not known here were never here. Those that are known wait for their own [`Order::ClearLimbo`].
    ClearLimboAll,
}

/// What [`Shelf::commit`] leaves to do.
#[must_use]
pub struct Committed<D> {
    /// Fencing reads whose fence is durable now: answer them from [`Reader::serve`].
    pub reads: Vec<(Request, D)>,
    /// Entries that became durable.
    pub entries: u64,
    pub bytes: u64,
}

/// One disk's state machine. `D` is the duty to answer.
pub struct Shelf<D> {
    shared: Arc<Shared>,
    config: Config,
    /// Tells this start's segments from all others'.
    nonce: u64,
    boot: u32,
    current: Arc<SegmentFile>,
    /// The next segment, allocated before it is needed.
    ahead: Option<Arc<SegmentFile>>,
    spares: Vec<Spare>,
    /// Numbers of segments are taken from here.
    next_segment: u32,
    /// Normal adds were refused since there was room last.
    short_of_room: bool,
    log: LogEnd,
    /// Written, but not synced.
    unsynced: bool,
    /// Segments that count, with what is in them.
    usage: BTreeMap<SegmentId, Usage>,
    /// Which of them changed since the last flush.
    used: BTreeSet<SegmentId>,
    /// Segments removed since then.
    dropped: BTreeSet<SegmentId>,
    /// States written to segments since the last flush began.
    homes: BTreeSet<(SegmentId, LedgerId)>,
    group: Group<D>,
    /// States as they will be once the open group is durable.
    staged: FxHashMap<LedgerId, LedgerState>,
    shelf_state: ShelfState,
    /// Allowed by the metadata, not yet added to.
    vouched: FxHashSet<LedgerId>,
    /// Reads that became ready in commits that were not the caller's.
    ready: Vec<(Request, D)>,
    /// Ledgers that the next flush takes.
    dirty: Vec<LedgerId>,
    unflushed: Unflushed,
    flushing: bool,
    /// Durable in the index.
    checkpoint: Checkpoint,
    /// The last stop was a graceful one: nothing that was written without a sync can have been lost.
    clean_start: bool,
    stopped: Option<Error>,
}

/// The log's end. `acked <= next`: all before `acked` is durable.
#[derive(Clone, Copy, Debug)]
struct LogEnd {
    /// Where the next group goes.
    next: Position,
    acked: Position,
    /// The last group: its place, its number, the CRC of its header.
    last: Position,
    sequence: u64,
    crc: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Unflushed {
    bytes: u64,
    entries: usize,
}

impl<D: Duty> Shelf<D> {
    /// Whether there is anything to commit.
    pub fn has_work(&self) -> bool {
        !self.group.is_idle() || !self.ready.is_empty()
    }

    /// Writes the open group, syncs, publishes to readers, releases the answers: in this order. After an error the
    /// shelf has stopped: no duty is ever answered again.
    pub fn commit(&mut self) -> Result<Committed<D>, Error> {
        self.running()?;
        self.mark_damaged().and_then(|()| self.commit_group()).inspect_err(|error| self.stop(error))
    }

    fn commit_group(&mut self) -> Result<Committed<D>, Error> {
        let mut group = std::mem::replace(&mut self.group, Group::new());
        let bytes = u64::from(group.bytes());
        self.append(&mut group)?;
        if group.sync && !planted::on(Bug::AckBeforeSync) {
            self.sync()?;
        }
        let entries = self.publish(&mut group.events);
        self.staged.clear();
        net::gather(|| group.answers.drain(..).for_each(|(duty, outcome)| duty.answer(outcome)));
        let mut reads = std::mem::take(&mut self.ready);
        reads.append(&mut group.reads);
        self.group = group.reset();
        Ok(Committed { reads, entries, bytes })
    }

    /// Writes the group behind the others. What it holds is not durable yet.
    fn append(&mut self, group: &mut Group<D>) -> Result<(), Error> {
        if !group.has_records() && group.flags == 0 {
            return Ok(());
        }
        let length = group.length_with(0);
        let header = GroupHeader {
            length: 0,
            sequence: self.log.sequence + 1,
            salt: self.current.salt,
            segment: self.current.id,
            boot: self.boot,
            acked: self.log.acked,
            previous: self.log.crc,
            records: 0,
            flags: 0,
            offset: self.log.next.offset,
        };
        self.unsynced = true;
        let at = self.log.next;
        let crc =
            group.write(&self.current, at.offset, header).map_err(Error::disk("writing to a segment"))?;
        self.log = LogEnd {
            next: Position { offset: at.offset + length, ..at },
            acked: self.log.acked,
            last: at,
            sequence: header.sequence,
            crc,
        };
        self.unflushed.bytes += u64::from(length);
        Ok(())
    }

    /// Makes all that was written durable.
    fn sync(&mut self) -> Result<(), Error> {
        if self.unsynced {
            let synced = self.current.file.sync();
            if !planted::on(Bug::FailedSyncIgnored) {
                synced.map_err(Error::disk("syncing a segment"))?;
            }
            self.unsynced = false;
        }
        // The start of a segment without a group is the same place as the end of the last group: the mark is that.
        if self.log.next.segment == self.log.last.segment {
            self.log.acked = self.log.next;
        }
        Ok(())
    }

    /// Shows to readers what the group changed. The number of entries.
    fn publish(&mut self, events: &mut Vec<Event>) -> u64 {
        let shared = self.shared.clone();
        let mut catalog = shared.catalog.write();
        let mut entries = 0;
        for event in events.drain(..) {
            match event {
                Event::Entry { ledger, slot, lac, old, copy } => {
                    entries += 1;
                    self.publish_entry(&mut catalog, ledger, slot, lac, old, copy);
                }
                Event::Ledger(ledger, state) => self.publish_ledger(&mut catalog, ledger, *state),
                Event::Shelf(state) => catalog.shelf = state,
            }
        }
        entries
    }

    fn publish_entry(
        &mut self,
        catalog: &mut Catalog,
        ledger: LedgerId,
        slot: Slot,
        lac: protocol::EntryId,
        old: Option<Slot>,
        copy: bool,
    ) {
        self.unflushed.entries += 1;
        let written = |usage: &mut Usage, bytes: u64| usage.written += bytes;
        let Some(known) = catalog.ledgers.get_mut(&ledger) else { return self.count(slot, written) };
        let entry = protocol::EntryId(slot.entry);
        if copy && known.recent(entry).is_some_and(|recent| Some(recent) != old) {
            return self.count(slot, written);
        }
        if !known.dirty {
            known.dirty = true;
            self.dirty.push(ledger);
        }
        known.last = known.last.max(EntryIdOrNone(entry));
        known.lac = known.lac.max(EntryIdOrNone(lac));
        let replaced = known.put(slot).or(old);
        self.count(slot, |usage, bytes| {
            usage.written += bytes;
            usage.live += bytes;
        });
        if let Some(old) = replaced {
            self.count(old, |usage, bytes| usage.live = usage.live.saturating_sub(bytes));
        }
    }

    fn publish_ledger(&mut self, catalog: &mut Catalog, ledger: LedgerId, state: LedgerState) {
        let mut fresh = false;
        let known = catalog.ledgers.entry(ledger).or_insert_with(|| {
            fresh = true;
            Known::default()
        });
        known.fresh |= fresh;
        if !known.dirty {
            known.dirty = true;
            self.dirty.push(ledger);
        }
        if state.deleted {
            known.bury();
        }
        known.state = state;
    }

    /// Changes what is noted of a slot's segment.
    fn count(&mut self, slot: Slot, change: impl FnOnce(&mut Usage, u64)) {
        let segment = SegmentId(slot.segment);
        if let Some(usage) = self.usage.get_mut(&segment) {
            change(usage, u64::from(slot.length));
            // Nearly always that of the one before.
            if self.used.last() != Some(&segment) {
                self.used.insert(segment);
            }
        }
    }

    pub fn reader(&self) -> Reader {
        Reader::new(self.shared.clone(), self.config.readahead_bytes)
    }

    /// Why the shelf has stopped.
    pub fn stopped(&self) -> Option<&Error> {
        self.stopped.as_ref()
    }

    fn running(&self) -> Result<(), Error> {
        match &self.stopped {
            Some(error) => Err(Error::Stopped(error.to_string().into())),
            None => Ok(()),
        }
    }

    /// Nothing is written or answered from now on.
    fn stop(&mut self, error: &Error) {
        if self.stopped.is_none() {
            tracing::error!(%error, "the shelf stops");
            self.stopped = Some(error.clone());
            self.group = Group::new();
            self.ready.clear();
        }
    }

    pub fn segments(&self) -> Vec<SegmentUse> {
        let row = |(segment, usage): (&SegmentId, &Usage)| SegmentUse {
            segment: *segment,
            written: usage.written,
            live: usage.live,
            sealed: *segment < self.checkpoint.end.segment,
        };
        self.usage.iter().map(row).collect()
    }

    /// Commits, flushes the index and marks the log's end as clean.
    pub fn close(mut self) -> Result<(), Error> {
        drop(self.commit()?);
        self.flush_now()?;
        self.group.flags = crate::segment::format::CLEAN;
        self.group.sync = true;
        if self.fits_here(0) {
            drop(self.commit()?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
