//! How fast checkpoints and merges go: they share disk and processors with those who serve, and have time, unless so
//! much has gathered in memory that it has to go.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// For every moment of work so many of rest. Otherwise others wait for a processor as long as the scheduler lets work
/// go on: milliseconds at every step of a request.
const REST: u32 = 4;
const LONGEST: Duration = Duration::from_millis(20);
/// Bytes on their way to the bookies: a message that comes behind them waits for them.
const FEW: u64 = 64 << 10;
const MANY: u64 = 1 << 20;

#[derive(Default)]
pub struct Pace {
    pressed: AtomicBool,
    last: AtomicBool,
}

impl Pace {
    /// Whether more has gathered than should.
    pub fn press(&self, yes: bool) {
        self.pressed.store(yes, Relaxed);
    }

    /// The checkpoint that is taken is the last one: somebody waits for it.
    pub fn end(&self) {
        self.last.store(true, Relaxed);
    }

    fn is_hurried(&self) -> bool {
        self.pressed.load(Relaxed) || self.last.load(Relaxed)
    }

    /// How much may be on its way.
    pub fn in_flight(&self) -> u64 {
        if self.is_hurried() { MANY } else { FEW }
    }

    /// Lets others have their turn, after work that began at `since`; when the next work begins.
    pub async fn rest(&self, since: Instant) -> Instant {
        let rest = (since.elapsed() * REST).min(LONGEST);
        match self.is_hurried() || rest.is_zero() {
            true => tokio::task::yield_now().await,
            false => sleep(rest).await,
        }
        Instant::now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_is_followed_by_rest_unless_it_is_pressed() {
        let pace = Pace::default();
        let rested = async |worked: u64| {
            let since = Instant::now();
            tokio::time::advance(Duration::from_millis(worked)).await;
            (pace.rest(since).await - since).as_millis() as u64 - worked
        };
        assert!((8..=9).contains(&rested(2).await));
        assert!((20..=21).contains(&rested(1000).await));
        assert_eq!(rested(0).await, 0);
        pace.press(true);
        assert_eq!((rested(2).await, pace.in_flight()), (0, MANY));
        pace.press(false);
        assert_eq!(pace.in_flight(), FEW);
        pace.end();
        assert_eq!((rested(2).await, pace.in_flight()), (0, MANY));
    }
}
