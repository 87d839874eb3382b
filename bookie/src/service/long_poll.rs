//! Reads that wait for the last confirmed entry to move on (v3). Woken by commits and by their time-outs: no polling.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::bookie::{Answer, ReadOptions, Refusal, Request};
use protocol::{EntryId, LedgerId};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::duty::Held;
use super::reading::ReadQueue;
use crate::Duty;
use crate::metrics::Metrics;
use crate::shelf::{Lookup, Reader};

/// A client that asks for longer is answered after this.
const LONGEST: Duration = Duration::from_secs(60);

/// One shelf's waiting reads.
pub struct LongPolls {
    waiting: Mutex<Waiting>,
    stir: Notify,
    most: usize,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Waiting {
    /// By deadline, then by number of arrival.
    polls: BTreeMap<(Instant, u64), Poll>,
    arrivals: u64,
    came: bool,
}

struct Poll {
    request: Request,
    held: Held,
    ledger: LedgerId,
    previous: EntryId,
}

/// Whether a read is one that waits: its ledger, the LAC that its asker knows, and for how long.
pub fn is_long_poll(request: &Request) -> Option<(LedgerId, EntryId, Duration)> {
    match request {
        Request::Read {
            ledger,
            options: ReadOptions { fence: None, previous_lac: Some(lac), wait_ms, .. },
            ..
        } => Some((*ledger, *lac, Duration::from_millis(u64::from(*wait_ms)).min(LONGEST))),
        _ => None,
    }
}

impl LongPolls {
    pub fn new(most: usize, metrics: Arc<Metrics>) -> Arc<LongPolls> {
        let waiting = Mutex::default();
        Arc::new(LongPolls { waiting, stir: Notify::new(), most: most.max(64), metrics })
    }

    pub fn wait(&self, request: Request, held: Held, now: Instant) {
        let Some((ledger, previous, limit)) = is_long_poll(&request) else {
            return held.answer(Err(Refusal::BadRequest));
        };
        let mut waiting = self.waiting.lock();
        if waiting.polls.len() >= self.most {
            drop(waiting);
            return held.answer(Err(Refusal::TooManyRequests));
        }
        waiting.arrivals += 1;
        let place = (now + limit, waiting.arrivals);
        waiting.polls.insert(place, Poll { request, held, ledger, previous });
        // It may have moved on between the caller's look and now.
        waiting.came = true;
        self.metrics.long_polls.add(1);
        drop(waiting);
        self.stir.notify_one();
    }

    /// Called after each commit; costs a lock when nobody waits.
    pub fn something_came(&self) {
        let mut waiting = self.waiting.lock();
        if !waiting.polls.is_empty() && !std::mem::replace(&mut waiting.came, true) {
            drop(waiting);
            self.stir.notify_one();
        }
    }

    /// Drops what waits.
    pub fn close(&self) {
        let dropped = std::mem::take(&mut self.waiting.lock().polls);
        drop(dropped);
    }

    /// Answers those whose time has come, or whose ledger has moved on, for ever.
    pub async fn run(self: Arc<LongPolls>, reader: Reader, reads: Arc<ReadQueue>) {
        loop {
            let first = self.waiting.lock().polls.first_key_value().map(|((deadline, _), _)| *deadline);
            let stirred = self.stir.notified();
            match first {
                None => stirred.await,
                Some(deadline) => tokio::select! {
                    biased;
                    () = stirred => {}
                    () = sleep_until(deadline) => {}
                },
            }
            for poll in self.due(&reader, Instant::now()) {
                answer(poll, &reader, &reads);
            }
        }
    }

    fn due(&self, reader: &Reader, now: Instant) -> Vec<Poll> {
        let mut waiting = self.waiting.lock();
        let came = std::mem::take(&mut waiting.came);
        let mut known = BTreeMap::new();
        let mut moved = |poll: &Poll| {
            let lac = known.entry(poll.ledger).or_insert_with(|| reader.max_lac(poll.ledger));
            *lac > poll.previous
        };
        let due: Vec<(Instant, u64)> = waiting
            .polls
            .iter()
            .filter(|((deadline, _), poll)| *deadline <= now || (came && moved(poll)))
            .map(|(place, _)| *place)
            .collect();
        let due = due.iter().filter_map(|place| waiting.polls.remove(place)).collect();
        self.metrics.long_polls.set(waiting.polls.len() as u64);
        due
    }
}

/// A poll for "the last entry" is answered with the entry after the one its asker knows to be confirmed.
fn answer(poll: Poll, reader: &Reader, reads: &ReadQueue) {
    let Poll { request, held, ledger, previous } = poll;
    let Request::Read { entry, options, .. } = request else { return };
    let lac = reader.max_lac(ledger);
    let entry = if entry.is_none() { previous.next() } else { entry };
    let absent = matches!(reader.lookup(ledger, entry), Ok(Lookup::NoEntry | Lookup::Unknown));
    if lac <= previous || absent {
        // Nothing new, or nothing of it here: an empty body says so, and denies nothing.
        return held.answer(Ok(Answer::Entry { body: Bytes::new(), max_lac: Some(lac) }));
    }
    let options = ReadOptions { previous_lac: None, wait_ms: 0, ..options };
    reads.push(Request::Read { ledger, entry, options }, held);
}
