//! One queue.

use std::collections::VecDeque;

use crate::checkpoint::table::Bounds;
use crate::state::TopicId;

/// Where a message is, without its offset: that follows from the row's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HotRow {
    pub position: u64,
    pub tag: i64,
    pub store_time: i64,
    pub len: u32,
    /// CRC-32C of the message as it is stored; 0 if that is not known.
    pub crc: u32,
}

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    pub offset: u64,
    pub position: u64,
    pub len: u32,
    pub tag: i64,
    pub store_time: i64,
    /// As [`HotRow::crc`].
    pub crc: u32,
}

/// Rows from an offset on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rows {
    Found(Vec<Row>),
    /// They have left memory: ask again outside the lock.
    Cold,
    /// The offset is the queue's end.
    End,
    /// The queue has only offsets from `min` to before `max`.
    Outside {
        min: u64,
        max: u64,
    },
}

/// `min <= visible <= end()`, and `hot_from <= end()`: rows before `hot_from` are in checkpoints only.
#[derive(Debug)]
pub struct Queue {
    pub topic: TopicId,
    pub queue: u16,
    min: u64,
    /// Everything before it is acknowledged.
    visible: u64,
    hot_from: u64,
    hot: VecDeque<HotRow>,
    /// The last batch in which it grew.
    grown_in: u64,
}

impl Queue {
    /// A queue none of whose rows are in memory.
    pub fn new(topic: TopicId, queue: u16, min: u64, end: u64) -> Queue {
        Queue { topic, queue, min, visible: end, hot_from: end, hot: VecDeque::new(), grown_in: u64::MAX }
    }

    pub fn bounds(&self) -> Bounds {
        Bounds { topic: self.topic, queue: self.queue, min: self.min, end: self.end() }
    }

    pub fn min(&self) -> u64 {
        self.min
    }

    pub fn max(&self) -> u64 {
        self.visible
    }

    /// The next message's offset.
    pub fn end(&self) -> u64 {
        self.hot_from + self.hot.len() as u64
    }

    pub fn hot_from(&self) -> u64 {
        self.hot_from
    }

    /// None of its rows are in memory.
    pub fn is_cold(&self) -> bool {
        self.hot.is_empty()
    }

    pub fn hot_len(&self) -> usize {
        self.hot.len()
    }

    /// Rows from an offset to before `end`, if they are in memory.
    pub fn hot_rows(&self, from: u64, end: u64) -> impl Iterator<Item = HotRow> + '_ {
        let skipped = from.saturating_sub(self.hot_from) as usize;
        let wanted = end.saturating_sub(from.max(self.hot_from)) as usize;
        self.hot.iter().skip(skipped).take(wanted).copied()
    }

    /// Rows before `end` leave memory.
    pub(super) fn cool(&mut self, end: u64) {
        let gone = end.saturating_sub(self.hot_from).min(self.hot.len() as u64);
        self.hot.drain(..gone as usize);
        self.hot_from += gone;
        if self.hot.len() * 4 < self.hot.capacity() {
            self.hot.shrink_to(self.hot.len());
        }
    }

    /// Whether that is new.
    pub(super) fn raise(&mut self, min: u64) -> bool {
        let before = self.min;
        self.min = min.clamp(self.min, self.visible);
        self.min > before
    }

    pub(super) fn push(&mut self, row: HotRow, batch: u64) -> bool {
        self.hot.push_back(row);
        std::mem::replace(&mut self.grown_in, batch) == batch
    }

    /// Everything before `end` is acknowledged.
    pub(super) fn show(&mut self, end: u64) {
        self.visible = self.visible.max(end.min(self.end()));
    }

    /// About `max_bytes` of messages, at most `max_rows`, at least one.
    pub fn rows(&self, from: u64, max_rows: usize, max_bytes: usize) -> Rows {
        if from < self.min || from > self.visible {
            return Rows::Outside { min: self.min, max: self.visible };
        }
        if from == self.visible {
            return Rows::End;
        }
        if from < self.hot_from {
            return Rows::Cold;
        }
        let first = (from - self.hot_from) as usize;
        let until = (self.visible - self.hot_from) as usize;
        let mut found = Vec::with_capacity((until - first).min(max_rows));
        let mut bytes = 0;
        for (offset, row) in (from..).zip(self.hot.range(first..until)).take(max_rows) {
            bytes += row.len as usize;
            if bytes > max_bytes && !found.is_empty() {
                break;
            }
            found.push(row.at(offset));
        }
        Rows::Found(found)
    }

    /// The first acknowledged row in memory whose message is not older than `time`.
    pub fn hot_since(&self, time: i64) -> Option<Row> {
        let at = self.hot.partition_point(|row| row.store_time < time);
        let offset = self.hot_from + at as u64;
        self.hot.get(at).filter(|_| offset < self.visible).map(|row| row.at(offset))
    }
}

impl Queue {
    /// Whether the first row in memory, and so all before it, is older than `time`.
    pub fn hot_is_older(&self, time: i64) -> bool {
        self.hot.front().is_some_and(|row| row.store_time < time)
    }
}

impl HotRow {
    pub fn at(&self, offset: u64) -> Row {
        let HotRow { position, tag, store_time, len, crc } = *self;
        Row { offset, position, len, tag, store_time, crc }
    }
}
