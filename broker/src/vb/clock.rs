//! Time, as a virtual broker is told it.

use std::time::Duration;

/// One look at both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since 1970: what users see. It may jump.
    pub wall: i64,
    /// Since some moment of this process: for waits and deadlines.
    pub at: Duration,
}

/// Where time comes from: the machine, or a simulation.
pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> Now;
}

/// The machine's clocks.
pub struct SystemClock {
    began: tokio::time::Instant,
}

impl SystemClock {
    pub fn new() -> SystemClock {
        SystemClock { began: tokio::time::Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let wall = since_1970.map_or(0, |passed| i64::try_from(passed.as_millis()).unwrap_or(i64::MAX));
        Now { wall, at: self.began.elapsed() }
    }
}
