//! Moving what is recent into the index store.

use protocol::EntryId;

use super::*;
use crate::index::rows::{self, BUCKET};
use crate::index::{Batch, Change, IndexStore};

/// Runs that are read at once when a ledger is purged.
const PAGE: usize = 64;

/// Work on the index that any thread may do. Until [`Shelf::finish_flush`] readers find in memory what it writes.
pub struct Flush {
    store: Arc<dyn IndexStore>,
    ledgers: Vec<Frozen>,
    usage: BTreeMap<SegmentId, Usage>,
    /// Segments whose numbers changed.
    used: BTreeSet<SegmentId>,
    /// Segments that the store has and the shelf has not.
    dropped: BTreeSet<SegmentId>,
    homes: BTreeSet<(SegmentId, LedgerId)>,
    checkpoint: Checkpoint,
}

struct Frozen {
    ledger: LedgerId,
    state: LedgerState,
    last: EntryId,
    slots: Vec<Slot>,
    purge: bool,
    dead: Vec<Vec<Slot>>,
}

/// What a [`Flush`] came to; give it back to [`Shelf::finish_flush`].
#[must_use]
pub struct Flushed {
    result: std::io::Result<()>,
    ledgers: Vec<LedgerId>,
    /// Bytes of purged ledgers, by segment.
    purged: BTreeMap<SegmentId, u64>,
    checkpoint: Checkpoint,
}

impl Flush {
    pub fn run(self) -> Flushed {
        let mut purged = BTreeMap::new();
        let result = self.write(&mut purged);
        let ledgers = self.ledgers.iter().map(|frozen| frozen.ledger).collect();
        Flushed { result, ledgers, purged, checkpoint: self.checkpoint }
    }

    fn write(&self, purged: &mut BTreeMap<SegmentId, u64>) -> std::io::Result<()> {
        let mut batch = Batch::new();
        for frozen in &self.ledgers {
            if frozen.purge {
                self.purge(frozen, purged, &mut batch)?;
            }
            let row = rows::encode_ledger(&frozen.state, frozen.last);
            batch.push(Change::Put(rows::ledger_key(frozen.ledger), row));
            for run in frozen.slots.chunk_by(|a, b| a.entry.div_euclid(BUCKET) == b.entry.div_euclid(BUCKET))
            {
                let Some(bucket) = run.first().map(|slot| slot.entry.div_euclid(BUCKET)) else { continue };
                let mut value = Vec::with_capacity(16 + run.len() * 4);
                rows::encode_run(bucket, run, &mut value);
                batch.push(Change::Append(rows::run_key(frozen.ledger, bucket), value));
            }
        }
        for segment in &self.dropped {
            let (from, to) = rows::homes_of(*segment);
            batch.push(Change::RemoveRange(from, to));
            batch.push(Change::Remove(rows::segment_key(*segment)));
        }
        for (segment, usage) in &self.usage {
            let gone = purged.get(segment).copied().unwrap_or(0);
            if gone > 0 || self.used.contains(segment) {
                let usage = Usage { live: usage.live.saturating_sub(gone), ..*usage };
                batch.push(Change::Put(rows::segment_key(*segment), usage.encode()));
            }
        }
        batch.extend(self.homes.iter().map(|(s, l)| Change::Put(rows::home_key(*s, *l), Vec::new())));
        batch.push(Change::Put(rows::CHECKPOINT.to_vec(), self.checkpoint.encode()));
        self.store.write(batch)?;
        self.store.flush()
    }

    /// Removes the runs of a deleted ledger, and adds up what it held of each segment.
    fn purge(
        &self,
        frozen: &Frozen,
        purged: &mut BTreeMap<SegmentId, u64>,
        batch: &mut Batch,
    ) -> std::io::Result<()> {
        let mut count = |slots: Vec<Slot>| {
            for slot in rows::newest(slots) {
                *purged.entry(SegmentId(slot.segment)).or_default() += u64::from(slot.length);
            }
        };
        let mut dead = frozen.dead.iter();
        // What the first deletion found in memory is newer than what is in the store.
        let mut recent: BTreeMap<i64, Vec<Slot>> = BTreeMap::new();
        for slot in dead.next().into_iter().flatten() {
            recent.entry(slot.entry.div_euclid(BUCKET)).or_default().push(*slot);
        }
        dead.for_each(|slots| count(slots.clone()));
        let (mut from, to) = rows::runs_from(frozen.ledger, 0);
        batch.push(Change::RemoveRange(from.clone(), to.clone()));
        loop {
            let page = self.store.scan(&from, &to, PAGE)?;
            for (key, value) in &page {
                let run = rows::bucket_of(key)
                    .and_then(|(_, bucket)| Some((bucket, rows::decode_runs(bucket, value)?)));
                let (bucket, mut slots) = run.ok_or_else(|| super::shared::damaged_row("run"))?;
                slots.extend(recent.remove(&bucket).unwrap_or_default());
                count(slots);
            }
            match page.last() {
                Some((key, _)) if page.len() == PAGE => from = [key.as_slice(), &[0]].concat(),
                _ => break,
            }
        }
        recent.into_values().for_each(count);
        Ok(())
    }
}

impl<D: Duty> Shelf<D> {
    /// Whether enough has gathered in memory for the index to be flushed.
    pub fn flush_due(&self) -> bool {
        let much = self.unflushed.bytes >= self.config.flush_bytes
            || self.unflushed.entries >= self.config.flush_entries
            || self.dirty.len() >= self.config.ledgers_in_memory;
        much && !self.flushing && self.stopped.is_none()
    }

    /// Freezes what the index does not have yet. `None` while another flush is under way, or with nothing to flush.
    pub fn begin_flush(&mut self) -> Result<Option<Flush>, Error> {
        self.running()?;
        if self.flushing || (self.checkpoint.end == self.log.next && self.dirty.is_empty()) {
            return Ok(None);
        }
        self.sync().inspect_err(|error| self.stop(error))?;
        self.flushing = true;
        self.unflushed = Unflushed::default();
        let mut dirty = std::mem::take(&mut self.dirty);
        if planted::on(Bug::StatesNotInCheckpoint) {
            let catalog = self.shared.catalog.read();
            dirty.retain(|l| {
                catalog.ledgers.get(l).is_some_and(|k| k.recent_in(0, i64::MAX).next().is_some())
            });
        }
        dirty.sort();
        let ledgers = {
            let mut catalog = self.shared.catalog.write();
            dirty.into_iter().filter_map(|ledger| freeze(&mut catalog, ledger)).collect()
        };
        Ok(Some(Flush {
            store: self.shared.store.clone(),
            ledgers,
            usage: self.usage.clone(),
            used: std::mem::take(&mut self.used),
            dropped: std::mem::take(&mut self.dropped),
            homes: std::mem::take(&mut self.homes),
            checkpoint: self.checkpoint_here(),
        }))
    }

    fn checkpoint_here(&self) -> Checkpoint {
        Checkpoint {
            identity: self.config.identity,
            end: self.log.next,
            last: self.log.last,
            sequence: self.log.sequence,
            crc: self.log.crc,
            boot: self.boot,
            shelf: self.shared.catalog.read().shelf,
        }
    }

    /// Takes back what [`Flush::run`] made. An error stops the shelf.
    pub fn finish_flush(&mut self, flushed: Flushed) -> Result<(), Error> {
        self.running()?;
        self.flushing = false;
        flushed.result.map_err(Error::index("flushing")).inspect_err(|error| self.stop(error))?;
        self.checkpoint = flushed.checkpoint;
        let mut catalog = self.shared.catalog.write();
        for ledger in flushed.ledgers {
            if let Some(known) = catalog.ledgers.get_mut(&ledger) {
                known.thaw();
                if known.purge == Purge::UnderWay {
                    known.purge = Purge::None;
                }
            }
        }
        // What the open group is about must stay.
        if catalog.ledgers.len() > self.config.ledgers_in_memory && self.group.events.is_empty() {
            catalog.ledgers.retain(|_, known| !known.is_clean());
        }
        drop(catalog);
        for (segment, bytes) in flushed.purged {
            let bytes = if planted::on(Bug::SegmentDroppedWithLive) { bytes * 2 } else { bytes };
            if let Some(usage) = self.usage.get_mut(&segment) {
                usage.live = usage.live.saturating_sub(bytes);
                self.used.insert(segment);
            }
        }
        Ok(())
    }

    /// The three in one, on this thread; what is staged is not touched.
    pub fn flush_now(&mut self) -> Result<(), Error> {
        match self.begin_flush()? {
            Some(flush) => self.finish_flush(flush.run()),
            None => Ok(()),
        }
    }
}

fn freeze(catalog: &mut Catalog, ledger: LedgerId) -> Option<Frozen> {
    let known = catalog.ledgers.get_mut(&ledger)?;
    known.dirty = false;
    let purge = known.purge == Purge::Due;
    if purge {
        known.purge = Purge::UnderWay;
    }
    let (state, last) = (known.state.clone(), known.last.0);
    Some(Frozen { ledger, state, last, slots: known.freeze(), purge, dead: known.take_dead() })
}
