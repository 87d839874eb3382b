//! A line on a terminal that says how far it is.

use std::io::{IsTerminal, Write};
use std::time::Duration;

pub struct Progress {
    what: String,
    terminal: bool,
    shown: Duration,
}

const EVERY: Duration = Duration::from_millis(500);

impl Progress {
    pub fn new(what: String) -> Progress {
        Progress { what, terminal: std::io::stderr().is_terminal(), shown: Duration::ZERO }
    }

    /// `entries` in `counted`, the measured part of what has passed.
    pub fn show(&mut self, passed: Duration, end: Duration, entries: u64, counted: Duration) {
        if !self.terminal || passed.saturating_sub(self.shown) < EVERY {
            return;
        }
        self.shown = passed;
        let line = match counted.as_secs_f64() {
            counted if counted > 0.0 => format!("{:.0} per second", entries as f64 / counted),
            _ => "warming up".into(),
        };
        let (passed, end) = (passed.as_secs(), end.as_secs());
        // Whether anybody sees it does not matter to the run.
        let _ = write!(std::io::stderr(), "\r\x1b[K{}: {passed} of {end} s, {line}", self.what);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
