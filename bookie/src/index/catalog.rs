//! What of the index is in memory: the state of ledgers in use, and where their recent entries are.

use protocol::{EntryId, LedgerId};
use rustc_hash::FxHashMap;

use super::rows::Slot;
use crate::state::{LedgerState, ShelfState};

/// What readers see: only what is durable (or was written on demand without a sync).
#[derive(Default)]
pub struct Catalog {
    pub ledgers: FxHashMap<LedgerId, Known>,
    pub shelf: ShelfState,
}

/// A ledger in use.
#[derive(Default)]
pub struct Known {
    pub state: LedgerState,
    pub last: EntryIdOrNone,
    /// The highest LAC that an entry brought, since the ledger was last loaded.
    pub lac: EntryIdOrNone,
    /// First heard of since this start.
    pub fresh: bool,
    /// There is something that the next flush takes.
    pub dirty: bool,
    /// The store holds runs of a deleted life of this ledger, and the next flush (or the one under way) removes them.
    pub purge: Purge,
    /// Ascending by entry; newer than `frozen`.
    active: Vec<Slot>,
    /// What the flush under way writes; newer than the store.
    frozen: Vec<Slot>,
    /// What was active when the ledger was deleted, by deletion (there is more than one only in a replay).
    dead: Vec<Vec<Slot>>,
}

/// An entry id that starts as "none".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryIdOrNone(pub EntryId);

impl Default for EntryIdOrNone {
    fn default() -> EntryIdOrNone {
        EntryIdOrNone(EntryId::NONE)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purge {
    #[default]
    None,
    Due,
    UnderWay,
}

impl Known {
    /// As the store has it.
    pub fn stored(state: LedgerState, last: EntryId) -> Known {
        Known { state, last: EntryIdOrNone(last), ..Known::default() }
    }

    pub fn recent(&self, entry: EntryId) -> Option<Slot> {
        find(&self.active, entry).or_else(|| find(&self.frozen, entry))
    }

    /// Notes where an entry is. The slot that it replaces, if that was active.
    pub fn put(&mut self, slot: Slot) -> Option<Slot> {
        if self.active.last().is_none_or(|last| last.entry < slot.entry) {
            self.active.push(slot);
            return None;
        }
        match self.active.binary_search_by_key(&slot.entry, |slot| slot.entry) {
            Ok(i) => self.active.get_mut(i).map(|old| std::mem::replace(old, slot)),
            Err(i) => {
                self.active.insert(i, slot);
                None
            }
        }
    }

    /// Moves what is recent to the flush that begins.
    pub fn freeze(&mut self) -> Vec<Slot> {
        self.frozen = std::mem::take(&mut self.active);
        self.frozen.clone()
    }

    pub fn thaw(&mut self) {
        self.frozen = Vec::new();
    }

    /// The ledger is deleted: what it has, here and in the store, is no entry of it any more.
    pub fn bury(&mut self) {
        self.dead.push(std::mem::take(&mut self.active));
        self.purge = Purge::Due;
        self.last = EntryIdOrNone::default();
        self.lac = EntryIdOrNone::default();
    }

    pub fn take_dead(&mut self) -> Vec<Vec<Slot>> {
        std::mem::take(&mut self.dead)
    }

    /// Whether the store alone knows all this.
    pub fn is_clean(&self) -> bool {
        !self.dirty && self.purge == Purge::None && self.active.is_empty() && self.frozen.is_empty()
    }

    /// Recent slots with ids from `first` to `last`, the older ones first.
    pub fn recent_in(&self, first: i64, last: i64) -> impl Iterator<Item = &Slot> {
        [&self.frozen, &self.active].into_iter().flat_map(move |slots| {
            let from = slots.partition_point(|slot| slot.entry < first);
            slots.iter().skip(from).take_while(move |slot| slot.entry <= last)
        })
    }
}

fn find(slots: &[Slot], entry: EntryId) -> Option<Slot> {
    let i = slots.binary_search_by_key(&entry.0, |slot| slot.entry).ok()?;
    slots.get(i).copied()
}
