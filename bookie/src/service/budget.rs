//! Bytes of requests between their arrival and their answer, within a budget.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

use crate::metrics::Metrics;

/// What a request costs besides its body.
const OVERHEAD: u64 = 256;

pub struct Budget {
    used: AtomicU64,
    limit: u64,
    relieved: Notify,
    pub metrics: Arc<Metrics>,
}

impl Budget {
    pub fn new(limit: u64, metrics: Arc<Metrics>) -> Budget {
        metrics.in_flight_limit.set(limit);
        Budget { used: AtomicU64::new(0), limit, relieved: Notify::new(), metrics }
    }

    /// Reserves room for a request with a body of `body` bytes; what to give back, or `None` if there is no room.
    pub fn reserve(&self, body: usize) -> Option<u32> {
        let cost = body as u64 + OVERHEAD;
        let used = self.used.fetch_add(cost, Ordering::Relaxed) + cost;
        if used > self.limit {
            self.used.fetch_sub(cost, Ordering::Relaxed);
            return None;
        }
        u32::try_from(cost).ok()
    }

    pub fn give_back(&self, cost: u32) {
        let cost = u64::from(cost);
        let used = self.used.fetch_sub(cost, Ordering::Relaxed);
        let mark = self.limit / 2;
        if used > mark && used - cost <= mark {
            self.relieved.notify_waiters();
        }
    }

    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether connections should stop reading requests.
    pub fn is_high(&self) -> bool {
        self.used() > self.limit / 2
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
        let budget = Arc::new(Budget::new(10_000, Arc::default()));
        let costs: Vec<u32> = std::iter::from_fn(|| budget.reserve(1000)).collect();
        assert_eq!(costs.len(), 7);
        let waiting = tokio::spawn({
            let budget = budget.clone();
            async move { budget.room().await }
        });
        tokio::task::yield_now().await;
        for cost in &costs[..3] {
            budget.give_back(*cost);
        }
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        budget.give_back(costs[3]);
        assert!(waiting.await.is_ok());
    }
}
