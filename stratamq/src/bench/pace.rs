//! When to send: at once while there is room, or at intended times.
//!
//! tokio's clock has ticks of a millisecond, which is ten times what an add takes; the kernel's timers are finer.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use tokio::io::unix::AsyncFd;

use crate::error::{Error, Outcome};

/// A beat of fixed length.
pub struct Beat(AsyncFd<OwnedFd>);

impl Beat {
    pub fn every(period: Duration) -> Outcome<Beat> {
        let failed = |error: std::io::Error| Error::cannot("set up a timer", error);
        let timer = rustix::time::timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )
        .map_err(|error| failed(error.into()))?;
        let spec =
            Timespec { tv_sec: period.as_secs() as i64, tv_nsec: i64::from(period.subsec_nanos()).max(1) };
        let spec = Itimerspec { it_interval: spec, it_value: spec };
        rustix::time::timerfd_settime(&timer, TimerfdTimerFlags::empty(), &spec)
            .map_err(|error| failed(error.into()))?;
        // SAFETY: an `OwnedFd` gives one descriptor, the same each time, and keeps it open for as long as it lives.
        #[allow(unsafe_code)]
        let registered = unsafe { AsyncFd::register(timer) };
        registered.map(Beat).map_err(|error| failed(error.into()))
    }

    /// The next beat; several that were missed are one.
    pub async fn next(&self) -> Outcome {
        let failed = |error: std::io::Error| Error::cannot("wait for a timer", error);
        loop {
            let mut ready = self.0.readable().await.map_err(failed)?;
            let mut beats = [0; 8];
            match ready.try_io(|timer| Ok(rustix::io::read(timer.get_ref(), &mut beats)?)) {
                Ok(read) => return read.map(|_| ()).map_err(failed),
                Err(_not_yet) => {}
            }
        }
    }
}

/// Entries by a schedule: entry i is meant to be sent at i / rate, whatever became of those before it.
pub struct Schedule {
    rate: u64,
    sent: u64,
}

impl Schedule {
    pub fn new(rate: u64) -> Schedule {
        Schedule { rate, sent: 0 }
    }

    /// Short enough for the rate, and long enough that the loader does nothing else than wake up.
    pub fn beat(&self) -> Duration {
        Duration::from_nanos(1_000_000_000 / self.rate).max(Duration::from_micros(100))
    }

    /// When the next entry was meant to be sent, if that is not after `now` (both since the start).
    pub fn due(&mut self, now: Duration) -> Option<Duration> {
        let nanos = u128::from(self.sent) * 1_000_000_000 / u128::from(self.rate);
        let intended = Duration::from_nanos(u64::try_from(nanos).ok()?);
        (intended <= now).then(|| {
            self.sent += 1;
            intended
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_sent_in_time_keeps_its_intended_time() {
        let mut schedule = Schedule::new(1000);
        let due =
            |schedule: &mut Schedule, ms| schedule.due(Duration::from_millis(ms)).map(|d| d.as_millis());
        assert_eq!(due(&mut schedule, 0), Some(0));
        assert_eq!(due(&mut schedule, 0), None);
        assert_eq!(due(&mut schedule, 5), Some(1));
        assert_eq!(due(&mut schedule, 5), Some(2));
    }

    #[tokio::test]
    async fn a_beat_is_finer_than_a_millisecond() -> Outcome {
        let beat = Beat::every(Duration::from_micros(200))?;
        let started = std::time::Instant::now();
        for _ in 0..10 {
            beat.next().await?;
        }
        assert!(started.elapsed() >= Duration::from_micros(1900));
        Ok(())
    }
}
