//! Reading what has left the tail. Reads are planned by ranges of the log: whoever wants a position that somebody is
//! reading already waits for that, and what was fetched serves all. It has its own memory, and never the core's lock.

use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use ledger::log::{Entry, Log, Position};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::error::Error;

/// Read at once by those who read on and on.
const AHEAD: usize = 2 << 20;

/// The entries that were read: who waited for them finds them here, whatever has become of the memory meanwhile.
type Outcome = Result<Arc<Vec<Entry>>, ledger::Error>;

/// A read under way. Those who wait are woken in the order in which they came: a watch would choose one by chance, and
/// no run of the simulation would be like the one before.
#[derive(Default)]
struct Reading {
    outcome: Mutex<Option<Outcome>>,
    told: Notify,
}

impl Reading {
    /// The first outcome counts.
    fn tell(&self, outcome: Outcome) {
        self.outcome.lock().get_or_insert(outcome);
        self.told.notify_waiters();
    }

    async fn wait(&self) -> Outcome {
        loop {
            let mut told = pin!(self.told.notified());
            told.as_mut().enable();
            if let Some(outcome) = self.outcome.lock().clone() {
                return outcome;
            }
            told.await;
        }
    }
}

/// Whoever reads for others: dropped, they are told that nothing comes of it.
struct Done(Arc<Reading>);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.tell(Err(ledger::Error::Unavailable("a read was given up".into())));
    }
}

pub struct Fetch {
    log: Arc<dyn Log>,
    fetched: Arc<Mutex<Fetched>>,
    /// Read at once.
    ahead: usize,
}

struct Fetched {
    entries: BTreeMap<u64, Bytes>,
    /// In the order in which they were fetched.
    order: VecDeque<u64>,
    bytes: usize,
    budget: usize,
    /// Reads under way, by where they begin: up to where, and what becomes of them.
    reads: BTreeMap<u64, (u64, Arc<Reading>)>,
}

impl Fetched {
    fn containing(&self, position: u64) -> Option<(u64, Bytes)> {
        let (&base, body) = self.entries.range(..=position).next_back()?;
        (position < base + body.len() as u64).then(|| (base, body.clone()))
    }

    fn under_way(&self, position: u64) -> Option<Arc<Reading>> {
        let (_, (end, outcome)) = self.reads.range(..=position).next_back()?;
        (position < *end).then(|| outcome.clone())
    }

    fn put(&mut self, base: u64, body: Bytes) {
        self.bytes += body.len();
        match self.entries.insert(base, body) {
            Some(old) => self.bytes -= old.len(),
            None => self.order.push_back(base),
        }
        while self.bytes > self.budget && self.order.len() > 1 {
            let Some(oldest) = self.order.pop_front() else { break };
            self.bytes -= self.entries.remove(&oldest).map_or(0, |body| body.len());
        }
    }
}

impl Fetch {
    pub fn new(log: Arc<dyn Log>, budget: usize) -> Fetch {
        let fetched = Fetched {
            entries: BTreeMap::new(),
            order: VecDeque::new(),
            bytes: 0,
            budget,
            reads: BTreeMap::new(),
        };
        Fetch { log, fetched: Arc::new(Mutex::new(fetched)), ahead: AHEAD.min(budget / 4).max(1) }
    }

    /// The entry that contains an acknowledged position. `onward` says that what follows is wanted soon.
    pub async fn entry(&self, position: u64, onward: bool) -> Result<(u64, Bytes), Error> {
        let mut own = false;
        loop {
            let reading = {
                let mut fetched = self.fetched.lock();
                if let Some(found) = fetched.containing(position) {
                    if onward {
                        self.read_on(&mut fetched, found.0 + found.1.len() as u64);
                    }
                    return Ok(found);
                }
                match fetched.under_way(position) {
                    Some(outcome) => outcome,
                    None => {
                        own = true;
                        self.read(&mut fetched, position, if onward { self.ahead } else { 1 })
                    }
                }
            };
            let entries = reading.wait().await?;
            let holds = |entry: &&Entry| entry.position.0 <= position && position < entry.end().0;
            if let Some(entry) = entries.iter().find(holds) {
                return Ok((entry.position.0, entry.body.clone()));
            }
            // Somebody else's read may have ended before this position.
            if own {
                return Err(Error::Corrupt(format!("the log was read at {position}, and has nothing there")));
            }
        }
    }

    /// Begins to read behind what is there already, if little of that is left.
    fn read_on(&self, fetched: &mut Fetched, mut from: u64) {
        let horizon = from + (self.ahead / 2) as u64;
        while let Some((base, body)) = fetched.containing(from) {
            from = base + body.len() as u64;
            if from >= horizon {
                return;
            }
        }
        let acknowledged = self.log.progress().borrow().acknowledged.0;
        if from < acknowledged && fetched.under_way(from).is_none() {
            self.read(fetched, from, self.ahead);
        }
    }

    fn read(&self, fetched: &mut Fetched, from: u64, max_bytes: usize) -> Arc<Reading> {
        let reading = Arc::<Reading>::default();
        fetched.reads.insert(from, (from + max_bytes as u64, reading.clone()));
        let done = Done(reading.clone());
        let (log, all) = (self.log.clone(), self.fetched.clone());
        tokio::spawn(async move {
            let read = log.read(Position(from), max_bytes).await;
            let result = read.map(Arc::new);
            let mut fetched = all.lock();
            fetched.reads.remove(&from);
            for entry in result.iter().flat_map(|entries| entries.iter()) {
                fetched.put(entry.position.0, entry.body.clone());
            }
            drop(fetched);
            done.0.tell(result);
        });
        reading
    }
}
