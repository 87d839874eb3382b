//! Time, as a virtual broker is told it.

use std::time::Duration;

/// Clocks further apart than this, in ms, do not agree.
pub const AGREE: i64 = 60_000;

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

    /// Time that passes evenly, whatever is set, also while the machine sleeps.
    fn steady(&self) -> Duration {
        self.now().at
    }

    /// Why it is not to be trusted, if so: then nothing may be given up for its age, and no timer fire. `newest` is the
    /// newest time in the asker's log.
    fn doubt(&self, _newest: i64) -> Option<String> {
        None
    }
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

    fn steady(&self) -> Duration {
        let since_boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::try_from(since_boot).unwrap_or_default()
    }
}
