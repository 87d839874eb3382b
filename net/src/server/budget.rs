//! Bytes that all connections of a server may hold together.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

pub(super) struct Budget {
    used: AtomicUsize,
    limit: usize,
    freed: Notify,
}

impl Budget {
    pub fn new(limit: usize) -> Budget {
        Budget { used: AtomicUsize::new(0), limit, freed: Notify::new() }
    }

    /// Takes `bytes` if that stays within the limit.
    pub fn try_take(&self, bytes: usize) -> bool {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        let fits = before + bytes <= self.limit;
        if !fits {
            self.give(bytes);
        }
        fits
    }

    /// Takes `bytes` that are there already, whatever the limit.
    pub fn take(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn give(&self, bytes: usize) {
        let before = self.used.fetch_sub(bytes, Ordering::Relaxed);
        if before > self.limit / 2 {
            self.freed.notify_one();
        }
    }

    /// Waits until something was given back. One of those who wait is woken at a time; he passes it on with
    /// [`Budget::pass_on`] if he finds room.
    pub async fn freed(&self) {
        self.freed.notified().await;
    }

    pub fn pass_on(&self) {
        if self.used.load(Ordering::Relaxed) < self.limit {
            self.freed.notify_one();
        }
    }

    #[cfg(test)]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}
