//! The loader: one task drives the writers of any number of ledgers, over any transport.
//!
//! It runs the ledger's own writer core, so ids, digests, quorums and the order of acknowledgements are those of
//! production; around it there is nothing but the schedule and a clock.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use ledger::writer::{Outgoing, Trouble, Writer};
use net::{Bookies, Inbox, Reply};
use protocol::EntryId;

use super::figures::{self, Measured};
use super::machine;
use super::pace::{Beat, Schedule};
use super::progress::Progress;
use crate::error::{Error, Outcome};

/// How entries are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// So many unacknowledged at any time.
    InFlight(u64),
    /// So many per second, at their intended times.
    Rate(u64),
}

/// One leg.
#[derive(Clone, Debug)]
pub struct Leg {
    pub pace: Pace,
    pub entry_bytes: usize,
    pub warm_up: Duration,
    pub measured: Duration,
    pub pids: Vec<u32>,
}

/// An open loop that the bookies cannot follow stops sending here; the schedule goes on, so it shows as latency.
const MOST_UNACKNOWLEDGED_BYTES: u64 = 256 << 20;
/// How long unacknowledged entries are waited for at the end.
const DRAIN: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(100);

/// One ledger under load.
struct Lane {
    writer: Writer,
    /// Intended times of what is sent and not acknowledged, since the start, oldest first.
    waiting: VecDeque<Duration>,
    acknowledged: EntryId,
}

/// A reply's token: 20 bits of lane, 6 of member, 38 of entry.
fn token(lane: usize, member: usize, entry: EntryId) -> u64 {
    (lane as u64) << 44 | (member as u64) << 38 | (entry.0 as u64 & ((1 << 38) - 1))
}

fn untoken(token: u64) -> (usize, usize, EntryId) {
    ((token >> 44) as usize, (token >> 38 & 63) as usize, EntryId((token & ((1 << 38) - 1)) as i64))
}

pub const MOST_LEDGERS: usize = 1 << 20;

struct Load<'a> {
    bookies: &'a dyn Bookies,
    lanes: Vec<Lane>,
    next_lane: usize,
    unacknowledged: u64,
    payload: Bytes,
    started: Instant,
    /// From when on acknowledgements count.
    counted_from: Duration,
    latencies: Histogram<u64>,
    entries: u64,
    outgoing: Vec<Outgoing>,
    inbox: std::sync::Arc<Inbox>,
}

/// Runs one leg; the writers are handed back frozen, with where each ledger ended.
pub async fn run(
    leg: &Leg,
    writers: Vec<Writer>,
    bookies: &dyn Bookies,
    progress: &mut Progress,
) -> Outcome<(Measured, Vec<Writer>)> {
    let mut load = Load {
        bookies,
        lanes: writers
            .into_iter()
            .map(|writer| Lane { acknowledged: writer.acknowledged().last, writer, waiting: VecDeque::new() })
            .collect(),
        next_lane: 0,
        unacknowledged: 0,
        payload: payload(leg.entry_bytes),
        started: Instant::now(),
        counted_from: leg.warm_up,
        latencies: figures::latencies()?,
        entries: 0,
        outgoing: Vec::new(),
        inbox: Inbox::new(),
    };
    let measured = load.measure(leg, progress).await?;
    let writers = load.lanes.into_iter().map(|mut lane| {
        lane.writer.freeze();
        lane.writer
    });
    Ok((measured, writers.collect()))
}

/// Bytes that no compression makes smaller.
pub fn payload(len: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(|_| byte()).collect()
}

impl Load<'_> {
    async fn measure(&mut self, leg: &Leg, progress: &mut Progress) -> Outcome<Measured> {
        let end = leg.warm_up + leg.measured;
        let mut schedule = match leg.pace {
            Pace::Rate(rate) => Some(Schedule::new(rate)),
            Pace::InFlight(_) => None,
        };
        // Just before the first beat is wound up: what is due at a beat must not wait for the next one, nor be sent late
        // by the time between the two.
        self.started = Instant::now();
        let beat = Beat::every(schedule.as_ref().map_or(TICK, Schedule::beat))?;
        let (mut next_tick, mut before, mut rss) = (TICK, None, 0);
        loop {
            let now = self.started.elapsed();
            if now >= leg.warm_up && before.is_none() {
                before = Some((now, machine::reading(&leg.pids)?, machine::own_cpu()?));
                self.counted_from = now;
            }
            if now >= end {
                break;
            }
            if now >= next_tick {
                next_tick = now + TICK;
                rss = rss.max(machine::rss_bytes(&leg.pids));
                self.tick(now)?;
                progress.show(now, end, self.entries, now.saturating_sub(self.counted_from));
            }
            // One write per bookie for all that is sent now.
            net::gather(|| match (&mut schedule, leg.pace) {
                (Some(schedule), _) => self.send_due(schedule, now),
                (None, Pace::InFlight(most)) => self.fill(most, now),
                (None, Pace::Rate(_)) => {}
            });
            let replies = tokio::select! {
                biased;
                replies = self.inbox.take() => replies,
                beat = beat.next() => { beat?; self.inbox.take_now() }
            };
            self.take(replies);
        }
        let now = self.started.elapsed();
        let (entries, latencies) = (self.entries, self.latencies.clone());
        let (from, reading, cpu) = before.ok_or_else(|| Error::Usage("--seconds is 0".into()))?;
        let bookies = match leg.pids.is_empty() {
            true => None,
            false => Some(reading.cost_until(machine::reading(&leg.pids)?, rss)),
        };
        let loader_cpu = machine::own_cpu()?.saturating_sub(cpu);
        let errors = self.drain().await?;
        Ok(Measured {
            latencies,
            entries,
            payload_bytes: entries * leg.entry_bytes as u64,
            took: now - from,
            errors,
            loader_cpu,
            bookies,
        })
    }

    fn fill(&mut self, most: u64, now: Duration) {
        while self.unacknowledged < most && self.send(now, now) {}
    }

    fn send_due(&mut self, schedule: &mut Schedule, now: Duration) {
        let most = MOST_UNACKNOWLEDGED_BYTES / (self.payload.len() as u64).max(1);
        while self.unacknowledged < most {
            let Some(intended) = schedule.due(now) else { return };
            if !self.send(intended, now) {
                return;
            }
        }
    }

    /// Sends one entry to the next ledger in turn; false if that takes no more.
    fn send(&mut self, intended: Duration, now: Duration) -> bool {
        let index = self.next_lane;
        self.next_lane = if index + 1 == self.lanes.len() { 0 } else { index + 1 };
        let Some(lane) = self.lanes.get_mut(index) else { return false };
        if lane.writer.add(&[], self.payload.clone(), now, &mut self.outgoing).is_none() {
            return false;
        }
        lane.waiting.push_back(intended);
        self.unacknowledged += 1;
        for Outgoing { index: member, entry, request } in self.outgoing.drain(..) {
            if let Some(bookie) = lane.writer.target().ensemble.get(member) {
                self.bookies.send(bookie, request, self.inbox.expect(token(index, member, entry)));
            }
        }
        true
    }

    fn take(&mut self, replies: VecDeque<(u64, Reply)>) {
        let now = self.started.elapsed();
        for (token, reply) in replies {
            let (lane, member, entry) = untoken(token);
            let Some(lane) = self.lanes.get_mut(lane) else { continue };
            lane.writer.answered(member, entry, reply);
            let acknowledged = lane.writer.acknowledged().last;
            while lane.acknowledged < acknowledged {
                lane.acknowledged = lane.acknowledged.next();
                self.unacknowledged -= 1;
                if let Some(intended) = lane.waiting.pop_front()
                    && now >= self.counted_from
                {
                    self.entries += 1;
                    let latency = now.saturating_sub(intended).as_micros();
                    self.latencies.saturating_record(u64::try_from(latency).unwrap_or(u64::MAX));
                }
            }
        }
    }

    /// Lets the writers look at their clocks. A ledger that can go on no more ends the run: it would measure
    /// something else.
    fn tick(&mut self, now: Duration) -> Outcome {
        for lane in &mut self.lanes {
            if lane.writer.is_waiting() {
                lane.writer.tick(now);
            }
            let ledger = lane.writer.target().ledger;
            match lane.writer.trouble() {
                None | Some(Trouble::Slow(_)) => {}
                Some(Trouble::Lost(bookie, why)) => {
                    return Err(Error::Failed(format!("bookie {bookie} was lost to ledger {ledger}: {why}")));
                }
                Some(trouble) => {
                    return Err(Error::Failed(format!("ledger {ledger} cannot go on: {trouble:?}")));
                }
            }
        }
        Ok(())
    }

    /// Waits for what is under way; how many entries were never acknowledged.
    async fn drain(&mut self) -> Outcome<u64> {
        let deadline = self.started.elapsed() + DRAIN;
        // What is acknowledged from here on was not sent and acknowledged within the measured time.
        self.counted_from = Duration::MAX;
        while self.unacknowledged > 0 && self.started.elapsed() < deadline {
            if let Ok(replies) = tokio::time::timeout(TICK, self.inbox.take()).await {
                self.take(replies);
            }
        }
        Ok(self.unacknowledged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_lane_member_and_entry() {
        for parts in
            [(0, 0, EntryId(0)), (999, 63, EntryId((1 << 38) - 1)), (MOST_LEDGERS - 1, 7, EntryId(12345))]
        {
            assert_eq!(untoken(token(parts.0, parts.1, parts.2)), parts);
        }
    }
}
