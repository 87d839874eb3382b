//! Where the messages of each queue are.
//!
//! * [`queue`] — one queue: its bounds, and the rows that are still in memory.
//! * [`keys`] — hashes of keys that are still in memory.

pub mod keys;
pub mod queue;

use rustc_hash::FxHashMap;

use crate::state::TopicId;
use keys::HotKeys;
use queue::{HotRow, Queue};

pub use queue::{Row, Rows};

/// A queue's number in its index: it stays, and is never used again for another queue.
pub type Slot = u32;

/// The index of one virtual broker.
#[derive(Default)]
pub struct Index {
    slots: FxHashMap<(TopicId, u16), Slot>,
    queues: Vec<Queue>,
    pub keys: HotKeys,
    hot_rows: usize,
}

impl Index {
    pub fn queue(&self, topic: TopicId, queue: u16) -> Option<&Queue> {
        self.slots.get(&(topic, queue)).and_then(|slot| self.queues.get(*slot as usize))
    }

    pub fn at(&self, slot: Slot) -> Option<&Queue> {
        self.queues.get(slot as usize)
    }

    pub fn at_mut(&mut self, slot: Slot) -> Option<&mut Queue> {
        self.queues.get_mut(slot as usize)
    }

    /// The queue, made if it is new.
    pub fn slot(&mut self, topic: TopicId, queue: u16) -> Slot {
        *self.slots.entry((topic, queue)).or_insert_with(|| {
            self.queues.push(Queue::new(topic, queue));
            (self.queues.len() - 1) as Slot
        })
    }

    /// Appends a row to a queue; it is not visible yet. Whether the queue had grown since `batch` began already.
    pub fn push(&mut self, slot: Slot, row: HotRow, batch: u64) -> bool {
        self.hot_rows += 1;
        self.queues[slot as usize].push(row, batch)
    }

    /// Everything that it holds is acknowledged.
    pub fn show_all(&mut self) {
        self.queues.iter_mut().for_each(|queue| queue.show(u64::MAX));
    }

    /// Rows in memory, of all queues.
    pub fn hot_rows(&self) -> usize {
        self.hot_rows
    }

    pub fn queues(&self) -> &[Queue] {
        &self.queues
    }
}
