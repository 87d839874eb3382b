//! The loop that sends.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use client::Lane;

use super::tally::{Tally, Window};
use crate::bench::figures::Measured;
use crate::bench::load::Pace;
use crate::bench::pace::{Beat, Schedule};
use crate::error::{Error, Outcome};

/// An open loop that the brokers cannot follow stops sending here; the schedule goes on, so it shows as latency.
const MOST_UNDER_WAY_BYTES: u64 = 256 << 20;
const TICK: Duration = Duration::from_millis(100);
/// What is under way at the end comes within this time.
const DRAIN: Duration = Duration::from_secs(10);

/// Sends to lanes in turn.
pub struct Sender {
    lanes: Vec<Lane>,
    next: usize,
    tally: Arc<Tally>,
    /// Of an open loop.
    schedule: Option<Schedule>,
    in_flight: u64,
    /// What a consumer hears of counts there, and not when it is acknowledged.
    heard_elsewhere: bool,
    /// How long what is under way is waited for at the end.
    drain: Duration,
    /// The last lane gets so many of a hundred messages, the others share the rest.
    rarely: Option<u32>,
    count: u64,
}

impl Sender {
    pub fn new(lanes: Vec<Lane>, tally: Arc<Tally>, pace: Pace, entry_bytes: usize) -> Sender {
        let (schedule, in_flight) = match pace {
            Pace::Rate(rate) => {
                (Some(Schedule::new(rate)), (MOST_UNDER_WAY_BYTES / (entry_bytes as u64).max(1)).max(1))
            }
            Pace::InFlight(in_flight) => (None, in_flight),
        };
        let (next, count) = (0, 0);
        Sender {
            lanes,
            next,
            tally,
            schedule,
            in_flight,
            heard_elsewhere: false,
            drain: DRAIN,
            rarely: None,
            count,
        }
    }

    /// For those who count what arrives at a consumer, not before it has waited for so long.
    pub fn heard_elsewhere(mut self, wait: Duration) -> Sender {
        self.heard_elsewhere = true;
        self.drain = DRAIN + wait;
        self
    }

    /// The last lane gets so many of a hundred messages.
    pub fn rarely_to_last(mut self, percent: u32) -> Sender {
        self.rarely = Some(percent);
        self
    }

    /// The lane for the next message.
    fn turn(&mut self) -> usize {
        self.count += 1;
        let lanes = self.lanes.len();
        let in_turn = match self.rarely {
            Some(percent) if self.count % 100 < u64::from(percent) => return lanes.saturating_sub(1),
            Some(_) => lanes.saturating_sub(1).max(1),
            None => lanes,
        };
        self.next = if self.next + 1 >= in_turn { 0 } else { self.next + 1 };
        self.next
    }

    pub fn beat(&self) -> Outcome<Beat> {
        Beat::every(self.schedule.as_ref().map_or(TICK, Schedule::beat))
    }

    /// Sends what is due, or what there is room for; at most `most` messages.
    pub fn send(&mut self, most: u64, body: impl Fn(Duration) -> Bytes) -> u64 {
        // One write per connection for all that is sent now.
        net::gather(|| {
            let mut sent = 0;
            let under_way = self.tally.under_way();
            while sent < most && under_way + sent < self.in_flight {
                let now = self.tally.now();
                let intended = match &mut self.schedule {
                    Some(schedule) => match schedule.due(now) {
                        Some(intended) => intended,
                        None => break,
                    },
                    None => now,
                };
                self.send_one(intended, body(intended));
                sent += 1;
            }
            sent
        })
    }

    fn send_one(&mut self, intended: Duration, body: Bytes) {
        let turn = self.turn();
        let Some(lane) = self.lanes.get(turn) else { return };
        self.tally.sent(1);
        let tally = self.tally.clone();
        let elsewhere = self.heard_elsewhere;
        lane.send_body_then(body, move |sent| match sent {
            Ok(()) if elsewhere => {}
            Ok(()) => tally.done(intended),
            Err(error) => tally.failed(error),
        });
    }

    /// Warms up and measures; then waits for what is under way.
    pub async fn run(
        &mut self,
        mut window: Window,
        warm_up: Duration,
        measured: Duration,
        body: impl Fn(Duration) -> Bytes,
    ) -> Outcome<Measured> {
        let (beat, tally) = (self.beat()?, self.tally.clone());
        let begun = tally.now();
        let end = begun + warm_up + measured;
        let mut next_look = begun;
        loop {
            let now = tally.now();
            if now >= begun + warm_up && !window.is_open() {
                window.open(&tally)?;
            }
            if now >= end {
                break;
            }
            if now >= next_look {
                next_look = now + TICK;
                window.look(&tally, end);
                self.check()?;
            }
            self.send(u64::MAX, &body);
            tokio::select! {
                biased;
                () = tally.bell.notified() => {}
                beat = beat.next() => beat?,
            }
        }
        let mut all = window.close(&tally)?;
        all.errors += self.finish().await;
        if let Some(error) = tally.first_error() {
            return Err(Error::Failed(format!(
                "{} messages were refused, the first one: {error}",
                all.errors
            )));
        }
        Ok(all)
    }

    /// A run in which connections break measures something else.
    pub fn check(&self) -> Outcome {
        match self.lanes.iter().find(|lane| !lane.is_open()) {
            Some(lane) => Err(Error::Failed(format!("the connection for {} was closed", lane.queue()))),
            None => Ok(()),
        }
    }

    /// Waits for what is under way; how much never came back.
    pub async fn finish(&self) -> u64 {
        let deadline = self.tally.now() + self.drain;
        while self.tally.under_way() > 0 && self.tally.now() < deadline {
            let _ = tokio::time::timeout(TICK, self.tally.bell.notified()).await;
        }
        self.tally.under_way()
    }
}
