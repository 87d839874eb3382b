//! Bytes of requests between their arrival and their answer, within a budget.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use planted::Bug;
use tokio::sync::Notify;

use crate::metrics::Metrics;

/// What a request costs besides its body.
const OVERHEAD: u64 = 256;
/// Requests that cost so small a part of the limit have an eighth of it for themselves: those who send much must not
/// keep them out.
const MODEST: u64 = 4096;

pub struct Budget {
    used: AtomicU64,
    limit: u64,
    /// Above it connections should stop reading.
    mark: u64,
    /// What each shelf has of it: one slow disk must not take all.
    shelves: Vec<AtomicU64>,
    relieved: Notify,
    pub metrics: Arc<Metrics>,
}

impl Budget {
    pub fn new(limit: u64, shelves: usize, metrics: Arc<Metrics>) -> Budget {
        metrics.in_flight_limit.set(limit);
        let mark = if shelves > 1 { limit / 4 * 3 } else { limit / 2 };
        let shelves = (0..shelves.max(1)).map(|_| AtomicU64::new(0)).collect();
        Budget { used: AtomicU64::new(0), limit, mark, shelves, relieved: Notify::new(), metrics }
    }

    /// Reserves room for a request to `shelf` with a body of `body` bytes; what to give back, or `None` if there is no
    /// room.
    pub fn reserve(&self, shelf: usize, body: usize) -> Option<u32> {
        let cost = body as u64 + OVERHEAD;
        let share = self.shelves.get(shelf)?;
        let used = self.used.fetch_add(cost, Ordering::Relaxed) + cost;
        let of_shelf = share.fetch_add(cost, Ordering::Relaxed) + cost;
        let modest = cost <= self.limit / MODEST;
        let limit = if modest { self.limit + self.limit / 8 } else { self.limit };
        let over = used > limit || of_shelf > limit / self.shelves.len() as u64;
        if over && !planted::on(Bug::BudgetIgnored) {
            self.used.fetch_sub(cost, Ordering::Relaxed);
            share.fetch_sub(cost, Ordering::Relaxed);
            return None;
        }
        u32::try_from(cost).ok()
    }

    pub fn give_back(&self, shelf: usize, cost: u32) {
        let cost = u64::from(cost);
        if let Some(share) = self.shelves.get(shelf) {
            share.fetch_sub(cost, Ordering::Relaxed);
        }
        let used = self.used.fetch_sub(cost, Ordering::Relaxed);
        if used > self.mark && used - cost <= self.mark {
            self.relieved.notify_waiters();
        }
    }

    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether connections should stop reading requests.
    pub fn is_high(&self) -> bool {
        self.used() > self.mark
    }

    /// Returns when connections may read on.
    pub async fn room(&self) {
        loop {
            let mut relieved = std::pin::pin!(self.relieved.notified());
            relieved.as_mut().enable();
            if !self.is_high() {
                return;
            }
            relieved.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn readers_wait_until_half_the_budget_is_free() {
        let budget = Arc::new(Budget::new(10_000, 1, Arc::default()));
        let costs: Vec<u32> = std::iter::from_fn(|| budget.reserve(0, 1000)).collect();
        assert_eq!(costs.len(), 7);
        let waiting = tokio::spawn({
            let budget = budget.clone();
            async move { budget.room().await }
        });
        tokio::task::yield_now().await;
        for cost in &costs[..3] {
            budget.give_back(0, *cost);
        }
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        budget.give_back(0, costs[3]);
        assert!(waiting.await.is_ok());
    }

    #[test]
    fn who_sends_little_is_served_when_others_have_taken_all() {
        let budget = Budget::new(32 << 20, 1, Arc::default());
        let large = std::iter::from_fn(|| budget.reserve(0, 1 << 20)).count();
        assert_eq!(large, 31);
        let small = std::iter::from_fn(|| budget.reserve(0, 1000)).count();
        assert!(small > 4000, "{small}");
        assert!(budget.used() <= (32 << 20) / 8 * 9);
    }

    #[test]
    fn a_slow_disk_does_not_take_the_share_of_another() {
        let budget = Budget::new(10_000, 2, Arc::default());
        let slow = std::iter::from_fn(|| budget.reserve(0, 1000)).count();
        assert_eq!((slow, budget.is_high()), (3, false));
        assert!(budget.reserve(1, 1000).is_some());
    }
}
