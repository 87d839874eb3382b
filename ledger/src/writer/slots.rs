//! What is known of each entry that somebody still owes an answer for. The payload is not kept: it is the
//! transport's until it is sent, and the log's until it is acknowledged.

use std::collections::VecDeque;
use std::time::Duration;

use protocol::EntryId;

use crate::quorum::Members;

#[derive(Clone, Copy, Debug, Default)]
pub struct Slot {
    /// Of the payload.
    pub bytes: u32,
    /// Of the ledger, up to and including this entry.
    pub length: i64,
    pub sent: Duration,
    /// Places in the write set whose bookies have it.
    pub acked: Members,
    /// Places in the write set whose bookies answered otherwise.
    pub failed: Members,
}

/// What an entry costs in memory beside its payload, roughly.
pub const ENTRY_COST: usize = 256;

impl Slot {
    pub fn cost(&self) -> u64 {
        u64::from(self.bytes) + ENTRY_COST as u64
    }

    pub fn answered(&self) -> Members {
        Members(self.acked.0 | self.failed.0)
    }
}

/// Slots of consecutive entries.
pub struct Slots {
    first: EntryId,
    slots: VecDeque<Slot>,
}

impl Slots {
    pub fn new(first: EntryId) -> Slots {
        Slots { first, slots: VecDeque::new() }
    }

    pub fn push(&mut self, slot: Slot) {
        self.slots.push_back(slot);
    }

    pub fn get_mut(&mut self, entry: EntryId) -> Option<&mut Slot> {
        let at = usize::try_from(entry.0.checked_sub(self.first.0)?).ok()?;
        self.slots.get_mut(at)
    }

    pub fn front(&self) -> Option<(EntryId, &Slot)> {
        self.slots.front().map(|slot| (self.first, slot))
    }

    pub fn pop_front(&mut self) {
        if self.slots.pop_front().is_some() {
            self.first = self.first.next();
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (EntryId, &Slot)> {
        (self.first.0..).map(EntryId).zip(&self.slots)
    }
}
