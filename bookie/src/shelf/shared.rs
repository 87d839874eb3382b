//! What the thread that writes and the threads that read have in common.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use protocol::{EntryId, LedgerId};

use crate::index::IndexStore;
use crate::index::catalog::{Catalog, Known, Purge};
use crate::index::rows::{self, Slot};
use crate::segment::Segments;
use crate::state::{LedgerState, ShelfState};

/// How many damaged entries are remembered for repair; the scrub finds the rest again.
const MAX_DAMAGED: usize = 4096;

pub(crate) struct Shared {
    pub catalog: RwLock<Catalog>,
    pub store: Arc<dyn IndexStore>,
    pub segments: Segments,
    damaged: Mutex<Damaged>,
}

#[derive(Default)]
struct Damaged {
    /// For whoever repairs.
    entries: Vec<(LedgerId, EntryId)>,
    /// For the shelf, which marks them.
    ledgers: Vec<LedgerId>,
    /// Where they were when the log was told: a round of checks says nothing that the one before has said.
    told: BTreeMap<(LedgerId, EntryId), (u32, u32)>,
}

/// A ledger as readers see it.
pub(crate) struct View {
    pub state: LedgerState,
    pub last: EntryId,
    pub lac: EntryId,
    pub shelf: ShelfState,
}

impl Shared {
    pub fn new(store: Arc<dyn IndexStore>, segments: Segments) -> Shared {
        Shared { catalog: RwLock::default(), store, segments, damaged: Mutex::default() }
    }

    fn stored(&self, ledger: LedgerId) -> io::Result<Option<(LedgerState, EntryId)>> {
        let Some(row) = self.store.get(&rows::ledger_key(ledger))? else { return Ok(None) };
        rows::decode_ledger(&row).map(Some).ok_or_else(|| damaged_row("ledger"))
    }

    /// Brings a ledger that the store knows into memory. Whether it is known.
    pub fn load(&self, ledger: LedgerId) -> io::Result<bool> {
        if self.catalog.read().ledgers.contains_key(&ledger) {
            return Ok(true);
        }
        let Some((state, last)) = self.stored(ledger)? else { return Ok(false) };
        let known = Known::stored(state, last);
        self.catalog.write().ledgers.entry(ledger).or_insert(known);
        Ok(true)
    }

    pub fn view(&self, ledger: LedgerId) -> io::Result<Option<View>> {
        let shelf = {
            let catalog = self.catalog.read();
            if let Some(known) = catalog.ledgers.get(&ledger) {
                return Ok(Some(View {
                    state: known.state.clone(),
                    last: known.last.0,
                    lac: known.lac.0,
                    shelf: catalog.shelf,
                }));
            }
            catalog.shelf
        };
        let stored = self.stored(ledger)?;
        Ok(stored.map(|(state, last)| View { state, last, lac: EntryId::NONE, shelf }))
    }

    /// Where an entry of a ledger is that is not deleted.
    pub fn locate(&self, ledger: LedgerId, entry: EntryId) -> io::Result<Option<Slot>> {
        if let Some(known) = self.catalog.read().ledgers.get(&ledger) {
            if let Some(slot) = known.recent(entry) {
                return Ok(Some(slot));
            }
            if entry > known.last.0 || known.purge != Purge::None {
                return Ok(None);
            }
        }
        // What a flush moves to the store leaves memory only afterwards: it is in one of them at any time.
        let slots = self.run(ledger, entry.0.div_euclid(rows::BUCKET))?;
        Ok(slots.into_iter().rev().find(|slot| slot.entry == entry.0))
    }

    /// The stored slots of one bucket, older ones first.
    pub fn run(&self, ledger: LedgerId, bucket: i64) -> io::Result<Vec<Slot>> {
        match self.store.get(&rows::run_key(ledger, bucket))? {
            None => Ok(Vec::new()),
            Some(value) => rows::decode_runs(bucket, &value).ok_or_else(|| damaged_row("run")),
        }
    }

    /// All slots of one bucket, ascending: recent and stored.
    pub fn bucket(&self, ledger: LedgerId, bucket: i64) -> io::Result<Vec<Slot>> {
        let (first, last) = (bucket * rows::BUCKET, bucket * rows::BUCKET + rows::BUCKET - 1);
        // Memory first: what a flush moves meanwhile is then seen twice rather than not at all.
        let (recent, stored) = match self.catalog.read().ledgers.get(&ledger) {
            Some(known) => (known.recent_in(first, last).copied().collect(), known.purge == Purge::None),
            None => (Vec::new(), true),
        };
        let mut slots = if stored { self.run(ledger, bucket)? } else { Vec::new() };
        slots.extend(recent);
        Ok(rows::newest(slots))
    }

    /// The first bucket from `bucket` on in which the ledger has anything.
    pub fn next_bucket(&self, ledger: LedgerId, bucket: i64) -> io::Result<Option<i64>> {
        let (recent, stored) = {
            let catalog = self.catalog.read();
            let known = catalog.ledgers.get(&ledger);
            let first =
                |known: &Known| known.recent_in(bucket * rows::BUCKET, i64::MAX).map(|slot| slot.entry).min();
            let recent = known.and_then(first).map(|entry| entry.div_euclid(rows::BUCKET));
            (recent, known.is_none_or(|known| known.purge == Purge::None))
        };
        let (from, to) = rows::runs_from(ledger, bucket);
        let stored = if stored { self.store.scan(&from, &to, 1)? } else { Vec::new() };
        let stored = stored.first().and_then(|(key, _)| rows::bucket_of(key)).map(|(_, bucket)| bucket);
        Ok([recent, stored].into_iter().flatten().min())
    }

    /// What is at that place (segment and offset) is not the entry.
    pub fn note_damage(&self, ledger: LedgerId, entry: EntryId, at: (u32, u32)) {
        let mut damaged = self.damaged.lock();
        if damaged.told.len() >= MAX_DAMAGED {
            // Told again, rather than never.
            damaged.told.clear();
        }
        if damaged.told.insert((ledger, entry), at) != Some(at) {
            tracing::error!(
                %ledger, %entry, segment = at.0, offset = at.1,
                "an entry cannot be read: its ledger is in limbo, and repair copies the entry from other bookies"
            );
        }
        if damaged.entries.len() < MAX_DAMAGED && !damaged.entries.contains(&(ledger, entry)) {
            damaged.entries.push((ledger, entry));
        }
        if !damaged.ledgers.contains(&ledger) {
            damaged.ledgers.push(ledger);
        }
    }

    pub fn take_damaged_entries(&self) -> Vec<(LedgerId, EntryId)> {
        std::mem::take(&mut self.damaged.lock().entries)
    }

    pub fn take_damaged_ledgers(&self) -> Vec<LedgerId> {
        std::mem::take(&mut self.damaged.lock().ledgers)
    }
}

pub(crate) fn damaged_row(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!(
            "a {what} of the index is damaged: remove the index folder, and it is rebuilt from the segments"
        ),
    )
}
