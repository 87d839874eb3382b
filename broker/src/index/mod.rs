//! Where the messages of each queue are.
//!
//! * [`queue`] — one queue: its bounds, and the rows that are still in memory.
//! * [`keys`] — hashes of keys that are still in memory.
//!
//! What is older is in the runs of [`crate::checkpoint`].

pub mod keys;
pub mod queue;

use rustc_hash::FxHashMap;

use crate::checkpoint::block::queue_key;
use crate::checkpoint::table::{self, Bounds, PART};
use crate::checkpoint::write::Warm;
use crate::state::{Change, State, TopicId};
use keys::HotKeys;
use queue::{HotRow, Queue};

pub use queue::{Row, Rows};

/// A queue's place in the table. A deleted queue's place is given to another one some time later.
pub type Slot = u32;

/// The index of one virtual broker.
#[derive(Default)]
pub struct Index {
    slots: FxHashMap<(TopicId, u16), Slot>,
    queues: Vec<Option<Queue>>,
    free: Vec<Slot>,
    pub keys: HotKeys,
    hot_rows: usize,
    /// Queues with rows in memory.
    warm: Vec<Slot>,
    /// Parts of the table that changed since the last cut.
    changed: Vec<bool>,
    /// Topics whose queues are to be dropped.
    gone: Vec<TopicId>,
}

impl Index {
    pub fn queue(&self, topic: TopicId, queue: u16) -> Option<&Queue> {
        self.slots.get(&(topic, queue)).and_then(|slot| self.at(*slot))
    }

    pub fn at(&self, slot: Slot) -> Option<&Queue> {
        self.queues.get(slot as usize)?.as_ref()
    }

    fn at_mut(&mut self, slot: Slot) -> Option<&mut Queue> {
        self.queues.get_mut(slot as usize)?.as_mut()
    }

    /// A queue's slot and the offset of its next message; a new queue begins here.
    pub fn place(&mut self, topic: TopicId, queue: u16) -> (Slot, u64) {
        if let Some(&slot) = self.slots.get(&(topic, queue)) {
            return (slot, self.at(slot).map_or(0, Queue::end));
        }
        let slot = self.free.pop().unwrap_or(self.queues.len() as Slot);
        self.put(slot, Queue::new(topic, queue, 0, 0));
        (slot, 0)
    }

    fn put(&mut self, slot: Slot, queue: Queue) {
        if self.queues.len() <= slot as usize {
            self.queues.resize_with(slot as usize + 1, || None);
        }
        self.slots.insert((queue.topic, queue.queue), slot);
        self.queues[slot as usize] = Some(queue);
        self.touch(slot);
    }

    fn touch(&mut self, slot: Slot) {
        let part = slot as usize / PART;
        if self.changed.len() <= part {
            self.changed.resize(part + 1, false);
        }
        self.changed[part] = true;
    }

    /// Appends a row to a queue; it is not visible yet. Whether the queue had grown since `batch` began already.
    pub fn push(&mut self, slot: Slot, row: HotRow, batch: u64) -> bool {
        self.touch(slot);
        let Some(queue) = self.queues.get_mut(slot as usize).and_then(Option::as_mut) else { return true };
        self.hot_rows += 1;
        if queue.is_cold() {
            self.warm.push(slot);
        }
        queue.push(row, batch)
    }

    /// Everything before `end` in a queue is acknowledged. Names the queue.
    pub fn show(&mut self, slot: Slot, end: u64) -> Option<(TopicId, u16)> {
        let queue = self.at_mut(slot)?;
        queue.show(end);
        Some((queue.topic, queue.queue))
    }

    /// Everything that it holds is acknowledged.
    pub fn show_all(&mut self) {
        self.queues.iter_mut().flatten().for_each(|queue| queue.show(u64::MAX));
    }

    /// No message of the queue before `min` is kept.
    pub fn raise(&mut self, slot: Slot, min: u64) {
        if self.at_mut(slot).is_some_and(|queue| queue.raise(min)) {
            self.touch(slot);
        }
    }

    /// To be called before a change is applied to `state`: a topic that is deleted takes its queues with it.
    pub fn note(&mut self, change: &Change, state: &State) {
        let gone = match change {
            Change::TopicDeleted(id) => Some(*id),
            Change::Topic(topic) => state.topic(&topic.name).map(|old| old.id).filter(|old| *old != topic.id),
            _ => None,
        };
        self.gone.extend(gone);
    }

    /// After a restart: queues whose topics were deleted before.
    pub fn forget_unknown(&mut self, state: &State) {
        let unknown = |queue: &&Queue| state.topic_of(queue.topic).is_none();
        self.gone = self.queues.iter().flatten().filter(unknown).map(|queue| queue.topic).collect();
        self.gone.dedup();
    }

    /// Rows in memory, of all queues.
    pub fn hot_rows(&self) -> usize {
        self.hot_rows
    }

    pub fn queues(&self) -> impl Iterator<Item = &Queue> {
        self.queues.iter().flatten()
    }

    /// How many slots there are.
    pub fn slots(&self) -> Slot {
        self.queues.len() as Slot
    }

    /// The parts of the table that changed since the last cut.
    pub fn cut_table(&mut self) -> Vec<(u32, Vec<u8>)> {
        self.drop_gone();
        let changed = std::mem::take(&mut self.changed);
        let parts = changed.iter().enumerate().filter(|(_, changed)| **changed).map(|(part, _)| part as u32);
        parts.map(|part| (part, self.part(part))).collect()
    }

    fn part(&self, part: u32) -> Vec<u8> {
        let first = part as usize * PART;
        let slots = self.queues.iter().skip(first).take(PART);
        table::encode(slots.map(|queue| queue.as_ref().map(Queue::bounds)))
    }

    /// These parts were not saved after all.
    pub fn uncut_table(&mut self, parts: impl IntoIterator<Item = u32>) {
        parts.into_iter().for_each(|part| self.touch(part * PART as Slot));
    }

    /// Takes back a part of the table.
    pub fn restore(&mut self, part: u32, slots: &[Option<Bounds>]) {
        for (slot, bounds) in (part * PART as Slot..).zip(slots) {
            if let Some(Bounds { topic, queue, min, end }) = *bounds {
                self.put(slot, Queue::new(topic, queue, min, end));
            }
        }
        self.changed.clear();
    }

    /// After the last part was taken back: slots without a queue can be used.
    pub fn restored(&mut self) {
        let free = (0..).zip(&self.queues).filter(|(_, queue)| queue.is_none()).map(|(slot, _)| slot);
        self.free = free.collect();
    }

    /// Drops queues of deleted topics, unless rows of theirs are in memory still: then next time.
    fn drop_gone(&mut self) {
        if self.gone.is_empty() {
            return;
        }
        let mut waiting = Vec::new();
        for slot in 0..self.slots() {
            let Some(queue) = self.at(slot) else { continue };
            let (topic, number) = (queue.topic, queue.queue);
            if !self.gone.contains(&topic) {
                continue;
            }
            if !queue.is_cold() {
                waiting.push(topic);
                continue;
            }
            self.slots.remove(&(topic, number));
            self.queues[slot as usize] = None;
            self.free.push(slot);
            self.touch(slot);
        }
        waiting.dedup();
        self.gone = waiting;
    }

    /// Queues with rows in memory.
    pub fn cut_warm(&self) -> Vec<Warm> {
        let warm = self.warm.iter().filter_map(|&slot| {
            let queue = self.at(slot)?;
            let key = queue_key(queue.topic, queue.queue);
            Some(Warm { queue: key, slot, first: queue.hot_from(), end: queue.end() })
        });
        warm.collect()
    }

    /// Rows before `end` are in a checkpoint: they leave memory.
    pub fn cool(&mut self, slot: Slot, end: u64) {
        if let Some(queue) = self.at_mut(slot) {
            let before = queue.hot_len();
            queue.cool(end);
            let gone = before - queue.hot_len();
            self.hot_rows -= gone;
        }
    }

    /// After rows have left memory.
    pub fn cooled(&mut self) {
        let queues = &self.queues;
        let is_warm = |slot: &Slot| {
            queues.get(*slot as usize).and_then(Option::as_ref).is_some_and(|queue| !queue.is_cold())
        };
        self.warm.retain(is_warm);
    }
}
