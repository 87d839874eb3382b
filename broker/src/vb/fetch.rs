//! Reading what has left the tail. Reads are planned by ranges of the log: whoever wants a position that somebody is
//! reading already waits for that, and what was fetched serves all. Of what lies far apart, only the messages themselves
//! are read, where bookies can do that. It has its own memory, and never the core's lock.

use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use ledger::log::{Entry, Log, Position};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::demand::{self, Demand};
use crate::error::Error;
use crate::index::Row;

/// How far ahead of those who read on and on the log is read, in two pieces.
const AHEAD: usize = 4 << 20;

/// The entries that were read: who waited for them finds them here, whatever has become of the memory meanwhile.
type Outcome = Result<Arc<Vec<Entry>>, ledger::Error>;

/// A read under way. Those who wait are woken in the order in which they came: a watch would choose one by chance, and
/// no run of the simulation would be like the one before.
struct Reading<T> {
    outcome: Mutex<Option<T>>,
    told: Notify,
}

impl<T: Clone> Reading<T> {
    fn new() -> Arc<Reading<T>> {
        Arc::new(Reading { outcome: Mutex::new(None), told: Notify::new() })
    }

    /// The first outcome counts.
    fn tell(&self, outcome: T) {
        self.outcome.lock().get_or_insert(outcome);
        self.told.notify_waiters();
    }

    async fn wait(&self) -> T {
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
struct Done<T: Clone> {
    reading: Arc<Reading<T>>,
    given_up: Option<T>,
}

impl<T: Clone> Done<T> {
    fn tell(mut self, outcome: T) {
        self.given_up = Some(outcome);
    }
}

impl<T: Clone> Drop for Done<T> {
    fn drop(&mut self) {
        self.given_up.take().into_iter().for_each(|outcome| self.reading.tell(outcome));
    }
}

/// Messages in one read that are fetched one by one at a time.
const PARTS_AT_ONCE: usize = 64;

#[derive(Clone)]
pub struct Fetch {
    log: Arc<dyn Log>,
    fetched: Arc<Mutex<Fetched>>,
    /// How far is read ahead.
    ahead: usize,
}

/// A read of entries that is under way.
struct UnderWay {
    /// About where it will end.
    end: u64,
    /// Somebody reads on and on: when it is there, what follows is read, up to here.
    until: u64,
    reading: Arc<Reading<Outcome>>,
}

struct Fetched {
    entries: BTreeMap<u64, Bytes>,
    /// Messages by themselves.
    parts: BTreeMap<u64, Bytes>,
    /// In the order in which they were fetched.
    order: VecDeque<Kept>,
    bytes: usize,
    budget: usize,
    /// By where they begin.
    reads: BTreeMap<u64, UnderWay>,
    part_reads: BTreeMap<u64, Arc<Reading<Option<Bytes>>>>,
    demand: Demand,
}

/// What is in memory, by its position.
#[derive(Clone, Copy)]
enum Kept {
    Entry(u64),
    Part(u64),
}

impl Fetched {
    fn containing(&self, position: u64) -> Option<(u64, Bytes)> {
        let (&base, body) = self.entries.range(..=position).next_back()?;
        (position < base + body.len() as u64).then(|| (base, body.clone()))
    }

    /// Up to where all that follows a position is in memory; what is behind `until` is not looked at.
    fn end_of_what_follows(&self, from: u64, until: u64) -> u64 {
        let Some((mut end, body)) = self.containing(from) else { return from };
        end += body.len() as u64;
        for (base, body) in self.entries.range(end..until.max(end)) {
            if *base != end {
                break;
            }
            end += body.len() as u64;
        }
        end
    }

    fn under_way(&mut self, position: u64) -> Option<&mut UnderWay> {
        let (_, read) = self.reads.range_mut(..=position).next_back()?;
        (position < read.end).then_some(read)
    }

    fn put(&mut self, kept: Kept, body: Bytes) {
        self.bytes += body.len();
        let old = match kept {
            Kept::Entry(base) => self.entries.insert(base, body),
            Kept::Part(position) => self.parts.insert(position, body),
        };
        match old {
            Some(old) => self.bytes -= old.len(),
            None => self.order.push_back(kept),
        }
        while self.bytes > self.budget && self.order.len() > 1 {
            let Some(oldest) = self.order.pop_front() else { break };
            let gone = match oldest {
                Kept::Entry(base) => self.entries.remove(&base),
                Kept::Part(position) => self.parts.remove(&position),
            };
            self.bytes -= gone.map_or(0, |body| body.len());
        }
    }
}

impl Fetch {
    pub fn new(log: Arc<dyn Log>, budget: usize) -> Fetch {
        let fetched = Fetched {
            entries: BTreeMap::new(),
            parts: BTreeMap::new(),
            order: VecDeque::new(),
            bytes: 0,
            budget,
            reads: BTreeMap::new(),
            part_reads: BTreeMap::new(),
            demand: Demand::default(),
        };
        Fetch { log, fetched: Arc::new(Mutex::new(fetched)), ahead: AHEAD.min(budget / 4).max(1) }
    }

    /// Messages of these rows by themselves, by position, if what is between them is not worth reading; the others are to
    /// be had with their entries, and reading those should go on behind them or not.
    pub async fn parts(&self, rows: &[Row]) -> (BTreeMap<u64, Bytes>, bool) {
        let mut found = BTreeMap::new();
        let missing: Vec<Row> = {
            let mut fetched = self.fetched.lock();
            // What is in memory counts too: where all go on, only the first of them misses anything.
            fetched.demand.note(rows);
            let mut missing = Vec::new();
            for row in rows.iter().filter(|row| fetched.containing(row.position).is_none()) {
                match fetched.parts.get(&row.position).filter(|part| part.len() == row.len as usize) {
                    Some(part) => drop(found.insert(row.position, part.clone())),
                    None => missing.push(*row),
                }
            }
            let sparse = !demand::are_near(rows) && fetched.demand.is_sparse(rows);
            if !sparse || missing.is_empty() {
                return (found, !sparse && rows.len() > 1);
            }
            missing
        };
        for some in missing.chunks(PARTS_AT_ONCE) {
            let readings: Vec<_> = some.iter().map(|row| (row.position, self.read_part(row))).collect();
            for (position, reading) in readings {
                if let Some(message) = reading.wait().await {
                    found.insert(position, message);
                }
            }
        }
        (found, false)
    }

    fn read_part(&self, row: &Row) -> Arc<Reading<Option<Bytes>>> {
        let mut fetched = self.fetched.lock();
        if let Some(reading) = fetched.part_reads.get(&row.position) {
            return reading.clone();
        }
        let reading = Reading::new();
        if row.crc == 0 {
            reading.tell(None);
            return reading;
        }
        fetched.part_reads.insert(row.position, reading.clone());
        let done = Done { reading: reading.clone(), given_up: Some(None) };
        let (log, all, Row { position, len, crc, .. }) = (self.log.clone(), self.fetched.clone(), *row);
        tokio::spawn(async move {
            let read = log.read_part(Position(position), len as usize).await;
            let part = read.filter(|bytes| {
                let whole = crc32c::crc32c(bytes) == crc;
                if !whole {
                    log.doubt(Position(position));
                }
                whole
            });
            let mut fetched = all.lock();
            fetched.part_reads.remove(&position);
            part.iter().for_each(|part| fetched.put(Kept::Part(position), part.clone()));
            drop(fetched);
            done.tell(part);
        });
        reading
    }

    /// The entry that contains an acknowledged position. `onward` says that what follows is wanted soon.
    pub async fn entry(&self, position: u64, onward: bool) -> Result<(u64, Bytes), Error> {
        let mut own = false;
        loop {
            let reading = {
                let mut fetched = self.fetched.lock();
                if let Some(found) = fetched.containing(position) {
                    return Ok(found);
                }
                let until = if onward { position + self.ahead as u64 } else { position };
                match fetched.under_way(position) {
                    Some(read) => {
                        read.until = read.until.max(until);
                        read.reading.clone()
                    }
                    None => {
                        own = true;
                        self.read(&mut fetched, position, until)
                    }
                }
            };
            let entries = match reading.wait().await {
                // Somebody else's read began where nothing is left.
                Err(ledger::Error::Trimmed { .. }) if !own => continue,
                entries => entries?,
            };
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

    /// Sees to it that what follows a position that was read is in memory, or on its way, when it is wanted.
    pub fn read_on(&self, from: u64) {
        self.read_until(&mut self.fetched.lock(), from, from + self.ahead as u64);
    }

    /// Reads what is missing between two positions, unless it is little: piece by piece, each when the one before it is
    /// there, for only then it is known where an entry begins.
    fn read_until(&self, fetched: &mut Fetched, from: u64, until: u64) {
        let from = fetched.end_of_what_follows(from, until);
        let little = until.saturating_sub(from) < self.piece() as u64;
        if little || from >= self.log.progress().borrow().acknowledged.0 {
            return;
        }
        match fetched.under_way(from) {
            Some(read) => read.until = read.until.max(until),
            None => drop(self.read(fetched, from, until)),
        }
    }

    /// Read at once by those who read on and on.
    fn piece(&self) -> usize {
        (self.ahead / 2).max(1)
    }

    /// Reads the entry at `from`, and what follows if more is wanted.
    fn read(&self, fetched: &mut Fetched, from: u64, until: u64) -> Arc<Reading<Outcome>> {
        let reading = Reading::new();
        let max_bytes = if until > from { self.piece() } else { 1 };
        let read = UnderWay { end: from + max_bytes as u64, until, reading: reading.clone() };
        fetched.reads.insert(from, read);
        let given_up = Some(Err(ledger::Error::Unavailable("a read was given up".into())));
        let done = Done { reading: reading.clone(), given_up };
        let fetch = self.clone();
        tokio::spawn(async move {
            let read = fetch.log.read(Position(from), max_bytes).await;
            done.tell(fetch.take(from, read));
        });
        reading
    }

    /// Keeps what was read, and goes on behind it if somebody wants that.
    fn take(&self, from: u64, read: Result<Vec<Entry>, ledger::Error>) -> Outcome {
        let mut fetched = self.fetched.lock();
        let until = fetched.reads.remove(&from).map_or(0, |read| read.until);
        let entries = read?;
        for entry in &entries {
            fetched.put(Kept::Entry(entry.position.0), entry.body.clone());
        }
        if let Some(last) = entries.last() {
            self.read_until(&mut fetched, last.end().0, until);
        }
        Ok(Arc::new(entries))
    }
}
