//! What the load counts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::bench::figures::{self, Cost, Measured};
use crate::bench::machine::{self, Reading};
use crate::bench::{load, progress::Progress};
use crate::error::{Error, Outcome};

/// A body begins with a run's number and the intended time of sending.
pub const STAMP: usize = 16;

/// Shared by whoever sends and whoever hears of it.
pub struct Tally {
    started: Instant,
    state: Mutex<State>,
    /// Something was acknowledged.
    pub bell: Notify,
}

struct State {
    under_way: u64,
    counting: bool,
    entries: u64,
    errors: u64,
    first_error: Option<String>,
    latencies: Histogram<u64>,
}

impl Tally {
    pub fn new() -> Outcome<Arc<Tally>> {
        let state = State {
            under_way: 0,
            counting: false,
            entries: 0,
            errors: 0,
            first_error: None,
            latencies: figures::latencies()?,
        };
        Ok(Arc::new(Tally { started: Instant::now(), state: Mutex::new(state), bell: Notify::new() }))
    }

    pub fn now(&self) -> Duration {
        self.started.elapsed()
    }

    pub fn sent(&self, messages: u64) {
        self.state.lock().under_way += messages;
    }

    pub fn under_way(&self) -> u64 {
        self.state.lock().under_way
    }

    pub fn entries(&self) -> u64 {
        self.state.lock().entries
    }

    /// One that was meant to be sent at `intended` is acknowledged, or has arrived.
    pub fn done(&self, intended: Duration) {
        let now = self.now();
        let mut state = self.state.lock();
        state.under_way = state.under_way.saturating_sub(1);
        if state.counting {
            state.entries += 1;
            let latency = now.saturating_sub(intended).as_micros();
            state.latencies.saturating_record(u64::try_from(latency).unwrap_or(u64::MAX));
        }
        drop(state);
        self.bell.notify_one();
    }

    /// `messages` have arrived; nobody knows when they were meant to.
    pub fn took(&self, messages: u64) {
        let mut state = self.state.lock();
        state.under_way = state.under_way.saturating_sub(messages);
        if state.counting {
            state.entries += messages;
        }
    }

    pub fn failed(&self, why: impl std::fmt::Display) {
        let mut state = self.state.lock();
        state.under_way = state.under_way.saturating_sub(1);
        state.errors += 1;
        state.first_error.get_or_insert_with(|| why.to_string());
        drop(state);
        self.bell.notify_one();
    }

    /// What failed first.
    pub fn first_error(&self) -> Option<String> {
        self.state.lock().first_error.clone()
    }
}

/// The measured part of a run.
pub struct Window {
    pids: Vec<u32>,
    entry_bytes: usize,
    from: Option<(Duration, Reading, Duration)>,
    rss: u64,
    progress: Progress,
}

impl Window {
    pub fn new(title: String, pids: &[u32], entry_bytes: usize) -> Window {
        Window { pids: pids.to_vec(), entry_bytes, from: None, rss: 0, progress: Progress::new(title) }
    }

    pub fn is_open(&self) -> bool {
        self.from.is_some()
    }

    /// Counts from now on.
    pub fn open(&mut self, tally: &Tally) -> Outcome {
        self.from = Some((tally.now(), machine::reading(&self.pids)?, machine::own_cpu()?));
        tally.state.lock().counting = true;
        Ok(())
    }

    pub fn look(&mut self, tally: &Tally, end: Duration) {
        self.rss = self.rss.max(machine::rss_bytes(&self.pids));
        let now = tally.now();
        let from = self.from.as_ref().map_or(now, |(from, ..)| *from);
        self.progress.show(now, end, tally.entries(), now.saturating_sub(from));
    }

    /// Counts no more.
    pub fn close(mut self, tally: &Tally) -> Outcome<Measured> {
        let (from, reading, cpu) = self.from.take().ok_or_else(|| Error::Usage("--seconds is 0".into()))?;
        let mut state = tally.state.lock();
        state.counting = false;
        let took = tally.now() - from;
        let cost: Option<Cost> = match self.pids.is_empty() {
            true => None,
            false => Some(reading.cost_until(machine::reading(&self.pids)?, self.rss)),
        };
        Ok(Measured {
            latencies: state.latencies.clone(),
            entries: state.entries,
            payload_bytes: state.entries * self.entry_bytes as u64,
            took,
            errors: state.errors,
            loader_cpu: machine::own_cpu()?.saturating_sub(cpu),
            bookies: cost,
        })
    }
}

/// Bodies of one size, each with its stamp.
pub struct Bodies {
    filler: Bytes,
    run: u64,
}

impl Bodies {
    pub fn new(size: usize, run: u64) -> Bodies {
        Bodies { filler: load::payload(size), run }
    }

    /// One body for all: nobody reads its stamp.
    pub fn plain(&self) -> Bytes {
        self.filler.clone()
    }

    pub fn stamped(&self, intended: Duration) -> Bytes {
        let mut body = BytesMut::with_capacity(self.filler.len());
        body.extend_from_slice(&self.run.to_be_bytes());
        body.extend_from_slice(&(intended.as_nanos() as u64).to_be_bytes());
        body.extend_from_slice(self.filler.get(STAMP..).unwrap_or_default());
        body.freeze()
    }
}

/// The intended time that a body of this run carries.
pub fn stamp(body: &[u8], run: u64) -> Option<Duration> {
    let (number, rest) = body.split_first_chunk::<8>()?;
    let nanos = rest.first_chunk::<8>()?;
    (u64::from_be_bytes(*number) == run).then(|| Duration::from_nanos(u64::from_be_bytes(*nanos)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_by_its_own_run_only() {
        let body = Bodies::new(64, 7).stamped(Duration::from_nanos(123));
        assert_eq!(body.len(), 64);
        assert_eq!(stamp(&body, 7), Some(Duration::from_nanos(123)));
        assert_eq!(stamp(&body, 8), None);
        assert_eq!(stamp(b"short", 7), None);
    }
}
