//! Entries that a sequential reader will ask for next.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use protocol::{EntryId, LedgerId};

/// Readers that are followed at once.
const MAX_STREAMS: usize = 256;

/// Bounded by bytes; what was read longest ago goes first.
pub(super) struct ReadAhead {
    streams: BTreeMap<LedgerId, Stream>,
    bytes: usize,
    capacity: usize,
    clock: u64,
}

#[derive(Default)]
struct Stream {
    /// What a sequential reader asks for next.
    next: i64,
    /// Ids from `next` on.
    entries: VecDeque<Bytes>,
    bytes: usize,
    used: u64,
}

/// What to do for a read.
pub(super) enum Ahead {
    /// It was read before.
    Here(Bytes),
    /// The reader is sequential: read more than was asked for.
    Sequential,
    No,
}

impl ReadAhead {
    pub fn new(capacity: usize) -> ReadAhead {
        ReadAhead { streams: BTreeMap::new(), bytes: 0, capacity, clock: 0 }
    }

    pub fn take(&mut self, ledger: LedgerId, entry: EntryId) -> Ahead {
        self.clock += 1;
        let stream = self.streams.entry(ledger).or_default();
        stream.used = self.clock;
        if stream.next != entry.0 || entry.0 == 0 {
            self.bytes -= stream.bytes;
            *stream = Stream { next: entry.0.saturating_add(1), used: self.clock, ..Stream::default() };
            self.shrink();
            return Ahead::No;
        }
        stream.next += 1;
        match stream.entries.pop_front() {
            Some(body) => {
                stream.bytes -= body.len();
                self.bytes -= body.len();
                Ahead::Here(body)
            }
            None => Ahead::Sequential,
        }
    }

    /// What was read before, for a reader that would not wait; nothing is noted if there is nothing.
    pub fn take_now(&mut self, ledger: LedgerId, entry: EntryId) -> Option<Bytes> {
        let waits = self.streams.get(&ledger)?;
        if waits.next != entry.0 || waits.entries.is_empty() {
            return None;
        }
        match self.take(ledger, entry) {
            Ahead::Here(body) => Some(body),
            Ahead::Sequential | Ahead::No => None,
        }
    }

    /// Keeps entries for the reader whose next one is `next`.
    pub fn keep(&mut self, ledger: LedgerId, next: EntryId, entries: impl Iterator<Item = Bytes>) {
        let Some(stream) = self.streams.get_mut(&ledger) else { return };
        if stream.next != next.0 || !stream.entries.is_empty() {
            return;
        }
        for body in entries {
            stream.bytes += body.len();
            self.bytes += body.len();
            stream.entries.push_back(body);
        }
        self.shrink();
    }

    pub fn forget(&mut self, ledger: LedgerId) {
        if let Some(stream) = self.streams.remove(&ledger) {
            self.bytes -= stream.bytes;
        }
    }

    fn shrink(&mut self) {
        while self.bytes > self.capacity || self.streams.len() > MAX_STREAMS {
            let Some(oldest) =
                self.streams.iter().min_by_key(|(_, stream)| stream.used).map(|(ledger, _)| *ledger)
            else {
                return;
            };
            self.forget(oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(n: usize) -> impl Iterator<Item = Bytes> {
        std::iter::repeat_n(Bytes::from_static(&[7; 100]), n)
    }

    #[test]
    fn only_a_sequential_reader_is_read_ahead_for() {
        let mut ahead = ReadAhead::new(10_000);
        assert!(matches!(ahead.take(LedgerId(1), EntryId(5)), Ahead::No));
        assert!(matches!(ahead.take(LedgerId(1), EntryId(6)), Ahead::Sequential));
        ahead.keep(LedgerId(1), EntryId(7), entries(2));
        assert!(matches!(ahead.take(LedgerId(1), EntryId(7)), Ahead::Here(_)));
        assert!(matches!(ahead.take(LedgerId(1), EntryId(2)), Ahead::No));
        assert_eq!(ahead.bytes, 0);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut ahead = ReadAhead::new(1000);
        for ledger in 0..50 {
            let _ = ahead.take(LedgerId(ledger), EntryId(5));
            ahead.keep(LedgerId(ledger), EntryId(6), entries(4));
            assert!(ahead.bytes <= 1000);
        }
        assert!(matches!(ahead.take(LedgerId(49), EntryId(6)), Ahead::Here(_)));
        assert!(matches!(ahead.take(LedgerId(0), EntryId(6)), Ahead::No));
    }
}
