//! Reading what has left the tail. Reads are planned by ranges of the log: whoever wants a position that somebody is
//! reading already waits for that, and what was fetched serves all. Of what lies far apart, only the messages themselves
//! are read, where bookies can do that. It has its own memory, and never the core's lock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ledger::log::{Entry, Log, Position};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::timeout;

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

/// Whoever reads far in front of others lets them come nearer, for so long at most: memory does not hold the log from the
/// last of many readers to the first of them, and what each reads for himself drives out what the others need.
const PATIENCE: Duration = Duration::from_millis(5);
/// Nor does anybody wait for those who are further behind than so many times the memory.
const BEHIND: u64 = 8;
/// Readers that are remembered.
const READERS: usize = 64;
/// Messages in one read that are fetched one by one at a time.
const PARTS_AT_ONCE: usize = 64;

#[derive(Clone)]
pub struct Fetch {
    log: Arc<dyn Log>,
    fetched: Arc<Mutex<Fetched>>,
    /// How far is read ahead.
    ahead: usize,
}

/// A read of entries that is under way, or waits for those behind it.
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
    /// By where they begin: reads under way, and those that wait for readers behind them.
    reads: BTreeMap<u64, UnderWay>,
    waiting: BTreeMap<u64, UnderWay>,
    /// How far those have come who read on and on.
    readers: BTreeSet<u64>,
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
        let of = |reads: &BTreeMap<u64, UnderWay>| {
            let (from, read) = reads.range(..=position).next_back()?;
            (position < read.end).then_some(*from)
        };
        match (of(&self.reads), of(&self.waiting)) {
            (Some(from), _) => self.reads.get_mut(&from),
            (None, from) => self.waiting.get_mut(&from?),
        }
    }

    /// Takes note of somebody who reads on and on: whoever was last before his first row was he himself.
    fn note(&mut self, first: u64, last: u64) {
        let before = self.readers.range(..=first).next_back().copied();
        before.map(|before| self.readers.remove(&before));
        self.readers.insert(last);
        if self.readers.len() > READERS {
            self.readers.pop_first();
        }
    }

    /// Whether a position is so far in front of some reader that memory will not hold all between them.
    fn is_far_in_front(&self, position: u64) -> bool {
        let budget = self.budget as u64;
        let from = position.saturating_sub(budget.saturating_mul(BEHIND));
        self.readers.range(from..position.saturating_sub(budget / 2).max(from)).next().is_some()
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
            waiting: BTreeMap::new(),
            readers: BTreeSet::new(),
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
                let onward = !sparse && rows.len() > 1;
                if let [first, .., last] = rows
                    && onward
                {
                    fetched.note(first.position, last.position);
                    self.begin(&mut fetched);
                }
                return (found, onward);
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
            let entries = match self.outcome(&reading, position).await {
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

    /// Reads the entry at `from`; what follows too, perhaps a little later, if more is wanted.
    fn read(&self, fetched: &mut Fetched, from: u64, until: u64) -> Arc<Reading<Outcome>> {
        let reading = Reading::new();
        let max_bytes = if until > from { self.piece() } else { 1 };
        let read = UnderWay { end: from + max_bytes as u64, until, reading: reading.clone() };
        if until > from && fetched.waiting.len() < READERS && fetched.is_far_in_front(from) {
            fetched.waiting.insert(from, read);
        } else {
            self.start(fetched, from, read);
        }
        reading
    }

    /// Starts what need not wait any more.
    fn begin(&self, fetched: &mut Fetched) {
        while let Some((&from, _)) = fetched.waiting.first_key_value()
            && !fetched.is_far_in_front(from)
        {
            self.begin_one(fetched, from);
        }
    }

    fn begin_one(&self, fetched: &mut Fetched, from: u64) {
        let Some(read) = fetched.waiting.remove(&from) else { return };
        match fetched.containing(from) {
            // It has come with another one.
            Some((base, body)) => {
                let entry = Entry { position: Position(base), body };
                read.reading.tell(Ok(Arc::new(vec![entry])));
                self.read_until(fetched, from, read.until);
            }
            None => self.start(fetched, from, read),
        }
    }

    /// What becomes of a read. Nobody waits long for those behind.
    async fn outcome(&self, reading: &Reading<Outcome>, position: u64) -> Outcome {
        if let Ok(outcome) = timeout(PATIENCE, reading.wait()).await {
            return outcome;
        }
        self.hurry(position);
        reading.wait().await
    }

    /// Starts the read of a position if it waits.
    fn hurry(&self, position: u64) {
        let mut fetched = self.fetched.lock();
        let waiting = fetched.waiting.range(..=position).next_back();
        if let Some(from) = waiting.filter(|(_, read)| position < read.end).map(|(from, _)| *from) {
            self.begin_one(&mut fetched, from);
        }
    }

    fn start(&self, fetched: &mut Fetched, from: u64, read: UnderWay) {
        let given_up = Some(Err(ledger::Error::Unavailable("a read was given up".into())));
        let done = Done { reading: read.reading.clone(), given_up };
        let max_bytes = (read.end - from) as usize;
        fetched.reads.insert(from, read);
        let fetch = self.clone();
        tokio::spawn(async move {
            let read = fetch.log.read(Position(from), max_bytes).await;
            done.tell(fetch.take(from, read));
        });
    }

    /// Keeps what was read, and goes on behind it if somebody wants that.
    fn take(&self, from: u64, read: Result<Vec<Entry>, ledger::Error>) -> Outcome {
        let mut fetched = self.fetched.lock();
        let until = fetched.reads.remove(&from).map_or(0, |read| read.until);
        for entry in read.iter().flatten() {
            fetched.put(Kept::Entry(entry.position.0), entry.body.clone());
        }
        if let Some(last) = read.iter().flatten().next_back() {
            self.read_until(&mut fetched, last.end().0, until);
        }
        self.begin(&mut fetched);
        read.map(Arc::new)
    }
}
