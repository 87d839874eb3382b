//! Bytes that all connections of a server may hold together.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

pub(crate) struct Budget {
    used: AtomicUsize,
    /// Of which in receive buffers.
    receiving: AtomicUsize,
    limit: usize,
    freed: Notify,
}

impl Budget {
    pub fn new(limit: usize) -> Budget {
        Budget { used: AtomicUsize::new(0), receiving: AtomicUsize::new(0), limit, freed: Notify::new() }
    }

    /// Takes `bytes` if that stays within the limit.
    pub fn try_take(&self, bytes: usize) -> bool {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        let fits = before + bytes <= self.limit;
        if !fits {
            // Nothing was freed by this: nobody is woken.
            self.used.fetch_sub(bytes, Ordering::Relaxed);
        }
        fits
    }

    /// Takes `bytes` that are there already, whatever the limit.
    pub fn take(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn give(&self, bytes: usize) {
        let before = self.used.fetch_sub(bytes, Ordering::Relaxed);
        if bytes > 0 && before > self.limit / 2 {
            self.freed.notify_one();
        }
    }

    /// Changes what one receive buffer counts for.
    pub fn receiving(&self, before: usize, now: usize) {
        self.receiving.fetch_add(now, Ordering::Relaxed);
        self.receiving.fetch_sub(before, Ordering::Relaxed);
    }

    /// Whether memory has run out and frames that are not whole hold most of it: those who began them and do not
    /// finish keep others out.
    pub fn is_clogged(&self) -> bool {
        let half = self.limit / 2;
        self.receiving.load(Ordering::Relaxed) > half
            && self.used.load(Ordering::Relaxed) > self.limit - half / 4
    }

    /// Whether more is held than may be.
    pub fn is_over(&self) -> bool {
        self.used.load(Ordering::Relaxed) > self.limit
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

    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}
