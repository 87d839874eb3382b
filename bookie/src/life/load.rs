//! How much is written here: smoothed, so that a burst moves no ledgers.

use std::time::Duration;

use tokio::time::Instant;

/// After this time two thirds of a change are seen.
const SMOOTHED_OVER: Duration = Duration::from_secs(20);
/// Less than this is no difference.
const NOTHING: u64 = 1 << 20;

/// Bytes per second, from a counter that is looked at now and then.
pub(super) struct Load {
    at: Instant,
    bytes: u64,
    per_second: f64,
}

impl Load {
    pub fn new(now: Instant) -> Load {
        Load { at: now, bytes: 0, per_second: 0.0 }
    }

    pub fn note(&mut self, now: Instant, bytes: u64) -> u64 {
        let passed = (now - self.at).as_secs_f64();
        if passed > 0.0 {
            let latest = bytes.saturating_sub(self.bytes) as f64 / passed;
            let kept = (-passed / SMOOTHED_OVER.as_secs_f64()).exp();
            self.per_second = latest + (self.per_second - latest) * kept;
            (self.at, self.bytes) = (now, bytes);
        }
        self.per_second as u64
    }
}

/// Whether placement should hear of it: a quarter more or less.
pub(super) fn differs(now: Option<u64>, told: Option<u64>) -> bool {
    let (now, told) = (now.unwrap_or(0), told.unwrap_or(0));
    now.abs_diff(told) > (now.max(told) / 4).max(NOTHING)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_steady_rate_is_found_and_forgotten() {
        let began = Instant::now();
        let mut load = Load::new(began);
        let mut told = 0;
        for second in 1..=100 {
            told = load.note(began + seconds(second), second * 1000);
        }
        assert!((950..=1000).contains(&told), "{told}");
        assert!(load.note(began + seconds(200), 100_000) < 50);
    }

    #[test]
    fn a_burst_of_a_second_is_a_small_part_of_the_figure() {
        let began = Instant::now();
        let mut load = Load::new(began);
        assert!(load.note(began + seconds(1), 100 << 20) < 6 << 20);
    }

    #[test]
    fn how_often_it_is_looked_at_does_not_matter() {
        let began = Instant::now();
        let (mut often, mut seldom) = (Load::new(began), Load::new(began));
        let told = (1..=40).map(|half| often.note(began + seconds(half) / 2, half * 500)).next_back();
        let other = seldom.note(began + seconds(20), 20_000);
        assert!(told.is_some_and(|told| told.abs_diff(other) < 10), "{told:?} {other}");
    }

    #[test]
    fn small_changes_are_not_told() {
        const MB: u64 = 1 << 20;
        assert!(!differs(Some(MB), None) && !differs(Some(0), Some(MB)));
        assert!(differs(Some(40 * MB), Some(20 * MB)) && differs(Some(0), Some(20 * MB)));
        assert!(!differs(Some(22 * MB), Some(20 * MB)));
    }
}
