//! Transactional messages that wait for their producer's decision.

use std::collections::BTreeMap;

use super::change::Half;

/// By offset in the queue of half messages. Their number is bounded by the setting `transactionPendingMax`.
#[derive(Debug, Default)]
pub struct Halves {
    waiting: BTreeMap<u64, Half>,
}

impl Halves {
    pub fn get(&self, offset: u64) -> Option<&Half> {
        self.waiting.get(&offset)
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// In the order in which they were stored.
    pub fn iter(&self) -> impl Iterator<Item = &Half> {
        self.waiting.values()
    }

    /// The oldest one's offset.
    pub fn first(&self) -> Option<u64> {
        self.waiting.keys().next().copied()
    }

    pub(super) fn range(&self, from: u64, to: u64) -> impl Iterator<Item = &Half> {
        self.waiting.range(from..to).map(|(_, half)| half)
    }

    pub(super) fn add(&mut self, half: Half) {
        self.waiting.insert(half.offset, half);
    }

    pub(super) fn decide(&mut self, offset: u64) -> bool {
        self.waiting.remove(&offset).is_some()
    }

    pub(super) fn checked(&mut self, offset: u64, times: u16, due: i64) -> bool {
        let Some(half) = self.waiting.get_mut(&offset) else { return false };
        half.checks = times;
        half.due = due;
        true
    }
}
