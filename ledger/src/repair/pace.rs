//! A limit on bytes per second, shared by all workers of a process.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

/// Clones share the limit.
#[derive(Clone)]
pub struct Pace {
    bytes_per_second: u64,
    /// When what was let through so far is used up.
    free_at: Arc<Mutex<Instant>>,
}

impl Pace {
    pub fn new(bytes_per_second: u64) -> Pace {
        Pace { bytes_per_second: bytes_per_second.max(1), free_at: Arc::new(Mutex::new(Instant::now())) }
    }

    /// Waits until `bytes` more may be copied.
    pub async fn take(&self, bytes: usize) {
        let cost = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        let begin = {
            let mut free_at = self.free_at.lock();
            // What was not used in the past is not saved up.
            let begin = (*free_at).max(Instant::now());
            *free_at = begin + cost;
            begin
        };
        sleep_until(begin).await;
    }
}
