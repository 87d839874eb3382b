//! How far a queue is consumed, while its messages are handed out at once and done in any order.

use std::collections::BTreeSet;

/// Offsets that are under way, and the one after the last that was taken.
#[derive(Debug, Default)]
pub(super) struct Progress {
    under_way: BTreeSet<i64>,
    next: i64,
}

impl Progress {
    pub fn starting_at(next: i64) -> Progress {
        Progress { under_way: BTreeSet::new(), next }
    }

    pub fn take(&mut self, offset: i64) {
        self.under_way.insert(offset);
    }

    /// Everything before this was taken.
    pub fn pulled_to(&mut self, next: i64) {
        self.next = self.next.max(next);
    }

    pub fn done(&mut self, offset: i64) {
        self.under_way.remove(&offset);
    }

    pub fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// What may be committed: everything before it is done.
    pub fn committable(&self) -> i64 {
        self.under_way.first().copied().unwrap_or(self.next)
    }

    /// From the oldest to the newest under way.
    pub fn span(&self) -> i64 {
        self.next - self.committable()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_nothing_undone_before_it_is_committed() {
        let mut progress = Progress::starting_at(10);
        (10..13).for_each(|offset| progress.take(offset));
        progress.pulled_to(15);
        progress.done(11);
        assert_eq!((progress.committable(), progress.span(), progress.under_way()), (10, 5, 2));
        progress.done(10);
        assert_eq!(progress.committable(), 12);
        progress.done(12);
        assert_eq!((progress.committable(), progress.span()), (15, 0));
    }
}
