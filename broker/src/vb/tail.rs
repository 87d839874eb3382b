//! The newest entries, as they were appended: readers borrow slices of them.

use std::collections::VecDeque;

use bytes::Bytes;

struct Kept {
    base: u64,
    body: Bytes,
}

impl Kept {
    fn end(&self) -> u64 {
        self.base + self.body.len() as u64
    }
}

/// Consecutive entries, the last `budget` bytes of them and all that is not acknowledged.
pub struct Tail {
    kept: VecDeque<Kept>,
    bytes: usize,
    budget: usize,
}

impl Tail {
    pub fn new(budget: usize) -> Tail {
        Tail { kept: VecDeque::new(), bytes: 0, budget }
    }

    pub fn push(&mut self, base: u64, body: Bytes) {
        self.bytes += body.len();
        self.kept.push_back(Kept { base, body });
    }

    /// Lets go of what is acknowledged and over the budget; returns a buffer that nobody else uses, to be filled
    /// again.
    pub fn shrink(&mut self, acknowledged: u64) -> Option<Bytes> {
        let mut free = None;
        while self.bytes > self.budget && self.kept.front().is_some_and(|front| front.end() <= acknowledged) {
            let Some(gone) = self.kept.pop_front() else { break };
            self.bytes -= gone.body.len();
            if gone.body.is_unique() {
                free = Some(gone.body);
            }
        }
        free
    }

    /// The bytes from `position` on, if one of the entries has them all.
    pub fn slice(&self, position: u64, len: u32) -> Option<Bytes> {
        let kept = self.entry(position)?;
        let at = (position - kept.base) as usize;
        let end = at.checked_add(len as usize)?;
        (end <= kept.body.len()).then(|| kept.body.slice(at..end))
    }

    /// The whole entry that contains `position`.
    pub fn containing(&self, position: u64) -> Option<(u64, Bytes)> {
        self.entry(position).map(|kept| (kept.base, kept.body.clone()))
    }

    fn entry(&self, position: u64) -> Option<&Kept> {
        let after = self.kept.partition_point(|kept| kept.base <= position);
        self.kept.get(after.checked_sub(1)?).filter(|kept| position < kept.end())
    }
}
