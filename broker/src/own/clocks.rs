//! Whether this machine's clock is to be trusted: by the clocks that others publish, or, where there are none, by its
//! own steadiness and the log's newest time. One that is not gives nothing up for its age and fires no timer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use metadata::schema::Clock as Published;
use metadata::{Scope, Store, clocks};
use parking_lot::Mutex;

use crate::vb::clock::{AGREE, Clock, Now};

/// How old a published time may be: one that was there when it was first looked for, and one that has changed since.
const FIRST: i64 = clocks::REMAINS.as_millis() as i64 + clocks::EVERY.as_millis() as i64;
const CHANGED: i64 = 2 * clocks::EVERY.as_millis() as i64;
/// A process that has not published for so long is not asked any more.
const SILENT: Duration = Duration::from_secs(60);
/// Nobody stops a broker for so long without a thought, in ms: after that, a clock that is about to be set right has
/// this time for it.
const LONG_STOPPED: i64 = 7 * 24 * 3_600_000;
const SETTLES: Duration = Duration::from_secs(600);

/// The last that was heard of a clock.
#[derive(Clone, Copy, Debug)]
struct Heard {
    wall: i64,
    at: Duration,
    /// How much older it may have been then.
    age: i64,
}

/// One look at this machine's clocks, `steady` being one that nobody sets and that counts while the machine sleeps.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub wall: i64,
    pub steady: Duration,
}

/// Decides. Pure.
#[derive(Debug, Default)]
pub struct Judge {
    others: BTreeMap<String, Heard>,
    /// The last look at which the clock was trusted.
    trusted: Option<Look>,
    /// When a clock that has gone far since the log's newest time is taken for right after all.
    settled: Option<Duration>,
}

impl Judge {
    pub fn hear(&mut self, name: &str, wall: i64, steady: Duration) {
        match self.others.get_mut(name) {
            Some(known) if known.wall == wall => {}
            Some(known) => *known = Heard { wall, at: steady, age: CHANGED },
            None => drop(self.others.insert(name.into(), Heard { wall, at: steady, age: FIRST })),
        }
    }

    /// Why the clock is not to be trusted, if so. `newest` is the newest time in the asker's log.
    pub fn doubt(&mut self, now: Look, newest: i64) -> Option<String> {
        self.others.retain(|_, heard| now.steady.saturating_sub(heard.at) < SILENT);
        let doubt = match self.others.is_empty() {
            true => self.alone(now, newest),
            false => self.among_others(now),
        };
        if doubt.is_none() {
            self.trusted = Some(now);
        }
        doubt
    }

    /// At least half of the others have to agree: with only one other, nobody knows who is wrong.
    fn among_others(&self, now: Look) -> Option<String> {
        let mut off: Vec<i64> = self.others.values().map(|heard| heard.off(now)).collect();
        off.sort_unstable();
        let far = off.iter().filter(|off| off.abs() > AGREE).count();
        let typical = off.get(off.len() / 2).copied().unwrap_or(0);
        (2 * far > off.len()).then(|| {
            format!("this machine's clock is {} {} of {} other processes'", told(typical), far, off.len())
        })
    }

    fn alone(&mut self, now: Look, newest: i64) -> Option<String> {
        let ahead = now.wall.saturating_sub(newest);
        if ahead < -AGREE {
            return Some(format!("this machine's clock is {} the newest message's time", told(ahead)));
        }
        let Some(before) = self.trusted else {
            let settled = *self.settled.get_or_insert(now.steady + SETTLES);
            let waits = newest > 0 && ahead > LONG_STOPPED && now.steady < settled;
            return waits.then(|| {
                let minutes = SETTLES.as_secs() / 60;
                format!("nothing was stored for {}: the clock is watched for {minutes} min", span(ahead))
            });
        };
        let passed = now.steady.saturating_sub(before.steady).as_millis() as i64;
        let jump = now.wall.saturating_sub(before.wall).saturating_sub(passed);
        (jump.abs() > AGREE).then(|| {
            let way = if jump > 0 { "forward" } else { "back" };
            format!("this machine's clock has jumped {way} by {}; restart if it is right now", span(jump))
        })
    }
}

impl Heard {
    /// How far the clock is ahead of what this one shows now, at least.
    fn off(&self, now: Look) -> i64 {
        let least = self.wall.saturating_add(now.steady.saturating_sub(self.at).as_millis() as i64);
        let ahead = now.wall.saturating_sub(least);
        if ahead > 0 { (ahead - self.age).max(0) } else { ahead }
    }
}

fn told(off: i64) -> String {
    format!("{} {}", span(off), if off > 0 { "ahead of" } else { "behind" })
}

fn span(ms: i64) -> String {
    match ms.unsigned_abs() / 1000 {
        seconds @ 0..=599 => format!("{seconds} s"),
        seconds @ 600..=86_399 => format!("{} min", seconds / 60),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// A clock that knows whether it is to be trusted.
pub struct Judged {
    clock: Arc<dyn Clock>,
    judge: Mutex<Judge>,
    /// What the last review found.
    said: Mutex<Option<String>>,
}

impl Judged {
    pub fn new(clock: Arc<dyn Clock>) -> Judged {
        Judged { clock, judge: Mutex::default(), said: Mutex::new(None) }
    }

    fn look(&self) -> Look {
        Look { wall: self.clock.now().wall, steady: self.clock.steady() }
    }

    /// Looks at it, and says what is new. `newest` is the newest time in any log that is served.
    pub fn review(&self, newest: i64) {
        let doubt = self.doubt(newest);
        let mut said = self.said.lock();
        match (&*said, &doubt) {
            (None, Some(why)) => {
                tracing::error!("{why}: nothing is given up for its age, and no timer fires")
            }
            (Some(_), None) => tracing::info!("this machine's clock is trusted again"),
            _ => {}
        }
        *said = doubt;
    }

    /// What the last review has found.
    pub fn said(&self) -> Option<String> {
        self.said.lock().clone()
    }

    /// Listens to the clocks of all but `me`.
    async fn listen(&self, store: &dyn Store, scope: &Scope, me: &str) -> Result<(), metadata::Error> {
        let all = clocks::all(store, scope).await?;
        let steady = self.clock.steady();
        let mut judge = self.judge.lock();
        all.iter()
            .filter(|(name, _)| *name != me)
            .for_each(|(name, clock)| judge.hear(name, clock.wall, steady));
        Ok(())
    }

    /// Publishes this clock and listens to others, for ever. The first time is over when this returns.
    pub async fn keep(
        self: Arc<Self>,
        store: Arc<dyn Store>,
        scope: Scope,
        me: String,
    ) -> impl Future<Output = ()> + Send + 'static {
        if let Err(error) = self.listen(&*store, &scope, &me).await {
            tracing::warn!(%error, "others' clocks cannot be read; trying again");
        }
        let mut publisher = clocks::Publisher::new(store.clone(), scope.clone(), me.clone());
        async move {
            loop {
                let own = Published { wall: self.clock.now().wall, doubt: self.said().unwrap_or_default() };
                let published = publisher.publish(&own).await;
                if let Err(error) = published.and(self.listen(&*store, &scope, &me).await) {
                    tracing::debug!(%error, "clocks cannot be compared; trying again");
                }
                tokio::time::sleep(clocks::EVERY).await;
            }
        }
    }
}

impl Clock for Judged {
    fn now(&self) -> Now {
        self.clock.now()
    }

    fn steady(&self) -> Duration {
        self.clock.steady()
    }

    fn doubt(&self, newest: i64) -> Option<String> {
        self.judge.lock().doubt(self.look(), newest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: i64 = 1_700_000_000_000;
    const HOUR: i64 = 3_600_000;

    fn at(seconds: u64, off: i64) -> Look {
        Look { wall: T + seconds as i64 * 1000 + off, steady: Duration::from_secs(seconds) }
    }

    /// Others publish as they do, for so long.
    fn heard(judge: &mut Judge, names: &[&str], seconds: std::ops::RangeInclusive<u64>) {
        for second in seconds.step_by(10) {
            names
                .iter()
                .for_each(|name| judge.hear(name, T + second as i64 * 1000, Duration::from_secs(second)));
        }
    }

    #[test]
    fn a_clock_that_half_of_the_others_share_is_trusted() {
        let mut judge = Judge::default();
        heard(&mut judge, &["a", "b"], 0..=50);
        judge.hear("c", T - HOUR, Duration::from_secs(49));
        assert_eq!(judge.doubt(at(50, 59_000), 0), None);
        assert_eq!(judge.doubt(at(50, -59_000), 0), None);
        let ahead = judge.doubt(at(50, HOUR), 0);
        assert_eq!(ahead.as_deref(), Some("this machine's clock is 59 min ahead of 3 of 3 other processes'"));
        let behind = judge.doubt(at(50, -HOUR), 0).unwrap_or_default();
        assert!(behind.contains("60 min behind 2 of 3"), "{behind}");
        assert_eq!(judge.doubt(at(51, 0), 0), None);
    }

    #[test]
    fn between_two_nobody_knows_who_is_wrong() {
        let mut judge = Judge::default();
        heard(&mut judge, &["a"], 0..=0);
        assert!(judge.doubt(at(1, HOUR), 0).is_some());
        assert_eq!(judge.doubt(at(1, 90_000), 0), None, "what is seen first may be old");
        heard(&mut judge, &["a"], 10..=10);
        assert!(judge.doubt(at(11, 90_000), 0).is_some());
    }

    #[test]
    fn who_does_not_publish_any_more_is_not_asked() {
        let mut judge = Judge::default();
        heard(&mut judge, &["a"], 0..=0);
        assert_eq!(judge.doubt(at(30, 0), 0), None);
        heard(&mut judge, &["a"], 0..=0);
        assert!(judge.doubt(at(59, HOUR), 0).is_some_and(|why| why.contains("1 of 1")));
        assert!(judge.doubt(at(61, HOUR), 0).is_some_and(|why| why.contains("jumped forward by 60 min")));
    }

    #[test]
    fn alone_a_clock_that_jumps_is_in_doubt_until_it_is_back() {
        let mut judge = Judge::default();
        assert_eq!(judge.doubt(at(0, 0), T - HOUR), None);
        assert_eq!(judge.doubt(at(100_000, 0), T), None, "the machine may sleep");
        for off in [-HOUR, 2 * HOUR] {
            for second in 100_001..100_100 {
                assert!(judge.doubt(at(second, off), T).is_some());
            }
        }
        assert_eq!(judge.doubt(at(100_200, 30_000), T), None);
    }

    #[test]
    fn alone_a_clock_behind_its_log_is_in_doubt_until_it_is_set_right() {
        let mut judge = Judge::default();
        let years = 20 * 365 * 24 * HOUR;
        for second in 0..100 {
            assert!(judge.doubt(at(second, -years), T - HOUR).is_some());
        }
        assert_eq!(judge.doubt(at(101, 0), T - HOUR), None);
    }

    #[test]
    fn alone_after_a_long_time_a_clock_is_watched_first() {
        let mut judge = Judge::default();
        let years = 20 * 365 * 24 * HOUR;
        assert!(judge.doubt(at(0, years), T - HOUR).is_some());
        assert!(judge.doubt(at(599, years), T - HOUR).is_some());
        let mut right = Judge { settled: judge.settled, ..Judge::default() };
        assert_eq!(right.doubt(at(599, 0), T - HOUR), None, "it was set right");
        assert_eq!(judge.doubt(at(600, years), T - HOUR), None);
    }
}
