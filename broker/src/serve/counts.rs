//! What a virtual broker has done since this owner began.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use crate::state::TopicId;

/// Upper bounds of the classes that messages are counted in, in bytes: RocketMQ's.
pub const SIZES: [u64; 6] = [1 << 10, 4 << 10, 512 << 10, 1 << 20, 2 << 20, 4 << 20];
/// The same for how long a transaction waited for its decision, in seconds.
pub const WAITS: [u64; 6] = [5, 60, 600, 3_600, 43_200, 86_400];

#[derive(Debug, Default)]
pub struct Counts {
    pub messages_in: AtomicU64,
    pub bytes_in: AtomicU64,
    pub messages_out: AtomicU64,
    pub bytes_out: AtomicU64,
    pub commits: AtomicU64,
    pub rollbacks: AtomicU64,
    /// Seconds that all transactions together waited for their decisions.
    pub waited: AtomicU64,
    pub sizes: Classes,
    pub waits: Classes,
    /// What was sent to a topic.
    pub sent: Split<TopicId>,
    /// What a group was given of a topic.
    pub read: Split<(TopicId, Arc<str>)>,
    /// What was given up for a group.
    pub dead: Split<Arc<str>>,
}

/// How many were no larger than each bound, and how many were larger than all.
#[derive(Debug, Default)]
pub struct Classes([AtomicU64; 7]);

impl Classes {
    fn note(&self, bounds: &[u64; 6], value: u64, times: u64) {
        let class = bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.0.get(class) {
            count.fetch_add(times, Ordering::Relaxed);
        }
    }

    pub fn counts(&self) -> [u64; 7] {
        std::array::from_fn(|class| self.0.get(class).map_or(0, |count| count.load(Ordering::Relaxed)))
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub messages: u64,
    pub bytes: u64,
}

/// Traffic by what it belongs to. Of the first [`MOST`] only: others count in totals alone.
#[derive(Debug)]
pub struct Split<K>(Mutex<FxHashMap<K, Traffic>>);

/// So many of a kind are told apart: a scrape must stay small.
pub const MOST: usize = 2_000;

impl<K> Default for Split<K> {
    fn default() -> Split<K> {
        Split(Mutex::default())
    }
}

impl<K: Hash + Ord + Clone> Split<K> {
    fn note(&self, key: K, messages: usize, bytes: usize) {
        let mut all = self.0.lock();
        let room = all.len() < MOST;
        let Some(traffic) = (if room { Some(all.entry(key).or_default()) } else { all.get_mut(&key) }) else {
            return;
        };
        traffic.messages += messages as u64;
        traffic.bytes += bytes as u64;
    }

    /// In order; what is not there any more makes room for others.
    pub fn list(&self, is_there: impl Fn(&K) -> bool) -> Vec<(K, Traffic)> {
        let mut all = self.0.lock();
        all.retain(|key, _| is_there(key));
        let mut list: Vec<_> = all.iter().map(|(key, traffic)| (key.clone(), *traffic)).collect();
        drop(all);
        list.sort_by(|a, b| a.0.cmp(&b.0));
        list
    }
}

impl Counts {
    /// Messages that came in one request.
    pub(super) fn stored(&self, topic: TopicId, messages: usize, bytes: usize) {
        self.messages_in.fetch_add(messages as u64, Ordering::Relaxed);
        self.bytes_in.fetch_add(bytes as u64, Ordering::Relaxed);
        self.sizes.note(&SIZES, (bytes / messages.max(1)) as u64, messages as u64);
        self.sent.note(topic, messages, bytes);
    }

    pub(super) fn delivered(&self, topic: TopicId, group: &Arc<str>, count: usize, messages: &[Bytes]) {
        let bytes: usize = messages.iter().map(Bytes::len).sum();
        self.messages_out.fetch_add(count as u64, Ordering::Relaxed);
        self.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed);
        self.read.note((topic, group.clone()), count, bytes);
    }

    pub(super) fn given_up(&self, group: &str, bytes: usize) {
        self.dead.note(group.into(), 1, bytes);
    }

    /// A transaction was decided so long after its message came.
    pub(super) fn decided(&self, committed: bool, millis: i64) {
        let count = if committed { &self.commits } else { &self.rollbacks };
        count.fetch_add(1, Ordering::Relaxed);
        let seconds = millis.max(0) as u64 / 1_000;
        self.waited.fetch_add(seconds, Ordering::Relaxed);
        self.waits.note(&WAITS, seconds, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_counted_up_to_and_with_their_bound() {
        let counts = Counts::default();
        for size in [0, 1_024, 1_025, 4 << 20, (4 << 20) + 1] {
            counts.stored(TopicId(1), 1, size);
        }
        counts.stored(TopicId(1), 3, 9_000);
        assert_eq!(counts.sizes.counts(), [2, 4, 0, 0, 0, 1, 1]);
    }

    #[test]
    fn only_so_many_are_told_apart_and_who_is_gone_makes_room() {
        let split = Split::default();
        for key in 0..=MOST {
            split.note(key, 1, 10);
        }
        split.note(0, 1, 10);
        let all = split.list(|_| true);
        assert_eq!((all.len(), all[0]), (MOST, (0, Traffic { messages: 2, bytes: 20 })));
        assert_eq!(split.list(|key| *key != 0).len(), MOST - 1);
        split.note(MOST, 1, 10);
        assert!(split.list(|_| true).iter().any(|(key, _)| *key == MOST));
    }
}
