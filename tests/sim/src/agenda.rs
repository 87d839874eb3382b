//! What happens later: closures by simulated time, in a fixed order among those of the same time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

type Action = Box<dyn FnOnce() + Send>;

#[derive(Default)]
pub struct Agenda {
    waiting: Mutex<Waiting>,
    earlier: Notify,
}

#[derive(Default)]
struct Waiting {
    actions: BTreeMap<(Instant, u64), Action>,
    count: u64,
}

impl Agenda {
    /// Starts the one task that does what is due.
    pub fn start() -> Arc<Agenda> {
        let agenda = Arc::<Agenda>::default();
        let doing = agenda.clone();
        tokio::spawn(async move {
            loop {
                let next = doing.do_what_is_due();
                tokio::select! {
                    biased;
                    () = doing.earlier.notified() => {}
                    () = wait(next) => {}
                }
            }
        });
        agenda
    }

    pub fn at(&self, when: Instant, action: impl FnOnce() + Send + 'static) {
        let mut waiting = self.waiting.lock();
        waiting.count += 1;
        let key = (when, waiting.count);
        let first = waiting.actions.first_key_value().is_none_or(|(first, _)| key < *first);
        waiting.actions.insert(key, Box::new(action));
        drop(waiting);
        if first {
            self.earlier.notify_one();
        }
    }

    pub fn after(&self, delay: Duration, action: impl FnOnce() + Send + 'static) {
        self.at(Instant::now() + delay, action);
    }

    /// Forgets what has not happened yet: it may hold on to the world that holds on to this.
    pub fn clear(&self) {
        let waiting = std::mem::take(&mut self.waiting.lock().actions);
        drop(waiting);
    }

    fn do_what_is_due(&self) -> Option<Instant> {
        loop {
            let mut waiting = self.waiting.lock();
            let (when, _) = *waiting.actions.first_key_value()?.0;
            if when > Instant::now() {
                return Some(when);
            }
            let action = waiting.actions.pop_first();
            drop(waiting);
            if let Some((_, action)) = action {
                action();
            }
        }
    }
}

async fn wait(until: Option<Instant>) {
    match until {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn actions_come_in_the_order_of_their_time_then_of_their_making() {
        let agenda = Agenda::start();
        let done = Arc::new(Mutex::new(Vec::new()));
        for (name, ms) in [("c", 30), ("a", 10), ("b", 10), ("d", 30)] {
            let done = done.clone();
            agenda.after(Duration::from_millis(ms), move || done.lock().push(name));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(*done.lock(), ["a", "b"]);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(*done.lock(), ["a", "b", "c", "d"]);
    }
}
