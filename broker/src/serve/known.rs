//! How far name servers follow what changes here. Whoever has made a topic looks for it there next, at any of them: he
//! is answered when they have it.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::vb::Outcome;

/// Name servers that are slow keep nobody waiting for longer.
const PATIENCE: Duration = Duration::from_millis(500);

/// The newest version of topics that every name server has which answers.
pub(super) struct Known(watch::Sender<u64>);

impl Default for Known {
    /// Where name servers are not told, nobody waits for them.
    fn default() -> Known {
        Known(watch::Sender::new(u64::MAX))
    }
}

impl Known {
    pub fn set(&self, version: u64) {
        self.0.send_if_modified(|known| std::mem::replace(known, version) != version);
    }

    /// Runs `then` with this outcome when name servers have come to `version`, or after a moment.
    pub fn then(&self, version: u64, outcome: Outcome, then: impl FnOnce(Outcome) + Send + 'static) {
        // Who has waited for the log, and in vain, has waited enough.
        if outcome != Outcome::Acknowledged || *self.0.borrow() >= version {
            return then(outcome);
        }
        let mut known = self.0.subscribe();
        tokio::spawn(async move {
            let _ = timeout(PATIENCE, known.wait_for(|known| *known >= version)).await;
            then(outcome);
        });
    }
}
