//! A tiny model of bookies and of a metadata store, for the tests of this crate.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use metadata::registry::Standing;
use metadata::schema::Published;
use metadata::store::{Doing, Page, Watch};
use metadata::{
    Error, KeyValue, LeaseId, LedgerMetadata, Ledgers, Op, Revision, Scope, Segment, State, Store, Stored,
    Txn, TxnOutcome,
};
use net::{Bookies, Failure, Reply, ReplyTo};
use parking_lot::Mutex;
use protocol::bookie::{Answer, Refusal, Request};
use protocol::entry::DigestType;
use protocol::{BookieId, EntryId, LedgerId};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::Cluster;
use crate::quorum::Quorums;

/// How a model bookie treats requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Well,
    /// Does nothing and answers that it cannot be reached.
    Down,
    /// Does what it is asked, and its answers are lost.
    Mute,
    /// Answers 700 ms late.
    Late,
    /// Does nothing, and answers only after the transport's deadline.
    Silent,
    /// Answers this to everything.
    Refusing(Refusal),
    /// Knows no batch reads, and says so.
    WithoutBatches,
    /// Knows no batch reads, and hangs up.
    HangingUpOnBatches,
    /// Answers this to normal adds.
    RefusingAdds(Refusal),
}

#[derive(Default)]
struct Shelf {
    entries: BTreeMap<(LedgerId, EntryId), Bytes>,
    fenced: BTreeSet<LedgerId>,
    known: BTreeSet<LedgerId>,
}

impl Shelf {
    fn do_it(&mut self, request: Request) -> Result<Answer, Refusal> {
        match request {
            Request::Add { ledger, entry, body, options, .. } => {
                if self.fenced.contains(&ledger) && !options.recovery {
                    return Err(Refusal::Fenced);
                }
                self.known.insert(ledger);
                self.entries.insert((ledger, entry), body.joined());
                Ok(Answer::Added)
            }
            Request::Read { ledger, entry, options } => {
                if options.fence.is_some() {
                    self.fenced.insert(ledger);
                }
                let body = self.read(ledger, entry)?;
                Ok(Answer::Entry { body, max_lac: None })
            }
            Request::BatchRead { ledger, first, max_count, max_bytes, .. } => {
                let mut entries = vec![self.read(ledger, first)?];
                let mut bytes = entries[0].len() as u64;
                let limit = if max_count == 0 { usize::MAX } else { max_count as usize };
                let mut next = first.next();
                while entries.len() < limit
                    && let Some(body) = self.entries.get(&(ledger, next))
                    && bytes + body.len() as u64 <= max_bytes
                {
                    bytes += body.len() as u64;
                    entries.push(body.clone());
                    next = next.next();
                }
                Ok(Answer::Entries(entries))
            }
            Request::ReadRange { ledger, entry, from, len } => {
                let body = self.read(ledger, entry)?;
                let from = (from as usize).min(body.len());
                Ok(Answer::Range(body.slice(from..from.saturating_add(len as usize).min(body.len()))))
            }
            Request::Lengths { ledger, first, max_count } => {
                self.read(ledger, first)?;
                let all = (ledger, first)..=(ledger, EntryId(i64::MAX));
                let held = self.entries.range(all).zip(first.0..);
                let consecutive = held.take_while(|(((_, entry), _), expected)| entry.0 == *expected);
                let lengths = consecutive.map(|((_, body), _)| body.len() as u32);
                Ok(Answer::Lengths(lengths.take(max_count as usize).collect()))
            }
            Request::ListEntries { ledger } => {
                let all = (ledger, EntryId::FIRST)..=(ledger, EntryId(i64::MAX));
                Ok(Answer::List(self.entries.range(all).map(|((_, entry), _)| (*entry, *entry)).collect()))
            }
            _ => Err(Refusal::BadVersion),
        }
    }

    fn read(&self, ledger: LedgerId, entry: EntryId) -> Result<Bytes, Refusal> {
        if !self.known.contains(&ledger) {
            return Err(Refusal::NoLedger);
        }
        let all = (ledger, EntryId::FIRST)..=(ledger, EntryId(i64::MAX));
        match entry {
            EntryId::NONE => self.entries.range(all).next_back().map(|(_, body)| body.clone()),
            entry => self.entries.get(&(ledger, entry)).cloned(),
        }
        .ok_or(Refusal::NoEntry)
    }
}

struct Inner {
    shelves: BTreeMap<BookieId, (Mood, Shelf)>,
    rng: SmallRng,
    /// Upper bound of a message's way, there and back.
    delay: Duration,
    sent: Vec<(BookieId, Request)>,
    keep_sent: bool,
}

/// Bookies `b0:3181`, `b1:3181`, …; messages take a random time.
#[derive(Clone)]
pub struct ModelBookies(Arc<Mutex<Inner>>);

pub fn bookie(n: usize) -> BookieId {
    format!("b{n}:3181").parse().unwrap_or_else(|_| unreachable!("a good id"))
}

impl ModelBookies {
    pub fn new(count: usize, seed: u64) -> ModelBookies {
        let shelves = (0..count).map(|n| (bookie(n), (Mood::Well, Shelf::default()))).collect();
        ModelBookies(Arc::new(Mutex::new(Inner {
            shelves,
            rng: SmallRng::seed_from_u64(seed),
            delay: Duration::from_millis(2),
            sent: Vec::new(),
            keep_sent: false,
        })))
    }

    pub fn set(&self, n: usize, mood: Mood) {
        if let Some((now, _)) = self.0.lock().shelves.get_mut(&bookie(n)) {
            *now = mood;
        }
    }

    /// From now on remembers what is sent.
    pub fn watch(&self) {
        self.0.lock().keep_sent = true;
    }

    pub fn sent(&self) -> Vec<(BookieId, Request)> {
        std::mem::take(&mut self.0.lock().sent)
    }

    pub fn has(&self, n: usize, ledger: LedgerId, entry: EntryId) -> bool {
        self.0.lock().shelves.get(&bookie(n)).is_some_and(|(_, s)| s.entries.contains_key(&(ledger, entry)))
    }

    pub fn forget(&self, n: usize, ledger: LedgerId, entry: EntryId) {
        if let Some((_, shelf)) = self.0.lock().shelves.get_mut(&bookie(n)) {
            shelf.entries.remove(&(ledger, entry));
        }
    }

    pub fn damage(&self, n: usize, ledger: LedgerId, entry: EntryId) {
        if let Some((_, shelf)) = self.0.lock().shelves.get_mut(&bookie(n))
            && let Some(body) = shelf.entries.get_mut(&(ledger, entry))
        {
            let mut bytes = body.to_vec();
            if let Some(last) = bytes.last_mut() {
                *last ^= 1;
            }
            *body = bytes.into();
        }
    }

    pub fn put(&self, n: usize, ledger: LedgerId, entry: EntryId, body: Bytes) {
        if let Some((_, shelf)) = self.0.lock().shelves.get_mut(&bookie(n)) {
            shelf.known.insert(ledger);
            shelf.entries.insert((ledger, entry), body);
        }
    }

    fn arrive(&self, bookie: &BookieId, request: Request) -> Option<Reply> {
        let mut inner = self.0.lock();
        let (mood, shelf) = inner.shelves.get_mut(bookie)?;
        let is_normal_add = matches!(&request, Request::Add { options, .. } if !options.recovery);
        match *mood {
            Mood::Well | Mood::Late => Some(shelf.do_it(request).map_err(Failure::Refused)),
            Mood::WithoutBatches if matches!(request, Request::BatchRead { .. }) => {
                Some(Err(Failure::Refused(Refusal::BadVersion)))
            }
            Mood::HangingUpOnBatches if matches!(request, Request::BatchRead { .. }) => {
                Some(Err(Failure::Unreachable))
            }
            Mood::WithoutBatches | Mood::HangingUpOnBatches => {
                Some(shelf.do_it(request).map_err(Failure::Refused))
            }
            Mood::Mute => {
                let _ = shelf.do_it(request);
                None
            }
            Mood::Down => Some(Err(Failure::Unreachable)),
            Mood::Silent => None,
            Mood::Refusing(refusal) => Some(Err(Failure::Refused(refusal))),
            Mood::RefusingAdds(refusal) if is_normal_add => Some(Err(Failure::Refused(refusal))),
            Mood::RefusingAdds(_) => Some(shelf.do_it(request).map_err(Failure::Refused)),
        }
    }
}

impl Bookies for ModelBookies {
    fn send(&self, bookie: &BookieId, request: Request, reply: ReplyTo) {
        let (there, back) = {
            let mut inner = self.0.lock();
            if inner.keep_sent {
                inner.sent.push((bookie.clone(), request.clone()));
            }
            let most = inner.delay.as_micros() as u64;
            (inner.rng.random_range(0..=most), inner.rng.random_range(0..=most))
        };
        let (model, bookie) = (self.clone(), bookie.clone());
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_micros(there)).await;
            let Some(answer) = model.arrive(&bookie, request) else {
                tokio::time::sleep(Duration::from_secs(30)).await;
                return reply.answer(Err(Failure::TimedOut));
            };
            let late = matches!(model.0.lock().shelves.get(&bookie), Some((Mood::Late, _)));
            tokio::time::sleep(Duration::from_micros(back + if late { 700_000 } else { 0 })).await;
            reply.answer(answer);
        });
    }
}

#[derive(Default)]
struct Keys {
    revision: i64,
    keys: BTreeMap<String, KeyValue>,
    /// Of the transactions to come: how many are done and reported as ambiguous, with how many done before that.
    ambiguous: Vec<usize>,
    down: bool,
}

/// A metadata store in memory. It has no leases and no watches: nothing in this crate uses them.
#[derive(Clone, Default)]
pub struct ModelStore(Arc<Mutex<Keys>>);

impl ModelStore {
    /// The `n`-th transaction from now (0 is the next) happens, and is reported as ambiguous.
    pub fn ambiguous_after(&self, n: usize) {
        self.0.lock().ambiguous.push(n);
    }

    pub fn set_down(&self, down: bool) {
        self.0.lock().down = down;
    }

    pub fn put(&self, key: &str, value: Bytes) {
        self.0.lock().apply(&[Op::Put { key: key.into(), value, lease: None }]);
    }

    pub fn remove(&self, key: &str) {
        self.0.lock().apply(&[Op::Delete { key: key.into() }]);
    }

    pub fn keys(&self) -> Vec<String> {
        self.0.lock().keys.keys().cloned().collect()
    }
}

impl Keys {
    fn apply(&mut self, ops: &[Op]) -> Revision {
        self.revision += 1;
        let modified = Revision(self.revision);
        for op in ops {
            match op {
                Op::Put { key, value, lease } => {
                    let before = self.keys.get(key);
                    let created = before.map_or(modified, |b| b.created);
                    let version = before.map_or(0, |b| b.version) + 1;
                    let (key, value, lease) = (key.clone(), value.clone(), *lease);
                    self.keys.insert(key.clone(), KeyValue { key, value, created, modified, version, lease });
                }
                Op::Delete { key } => {
                    self.keys.remove(key);
                }
            }
        }
        modified
    }
}

impl Store for ModelStore {
    fn get<'a>(&'a self, key: &'a str) -> Doing<'a, Option<KeyValue>> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let keys = self.0.lock();
            if keys.down { Err(Error::Unavailable("down".into())) } else { Ok(keys.keys.get(key).cloned()) }
        })
    }

    fn range<'a>(&'a self, prefix: &'a str, after: Option<&'a str>, limit: usize) -> Doing<'a, Page> {
        Box::pin(async move {
            let keys = self.0.lock();
            let within = keys.keys.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
            let mut entries: Vec<_> = within
                .filter(|(key, _)| after.is_none_or(|a| key.as_str() > a))
                .map(|(_, kv)| kv.clone())
                .collect();
            let more = entries.len() > limit;
            entries.truncate(limit);
            Ok(Page { entries, more, revision: Revision(keys.revision) })
        })
    }

    fn txn(&self, txn: Txn) -> Doing<'_, TxnOutcome> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let mut keys = self.0.lock();
            if keys.down {
                return Err(Error::Unavailable("down".into()));
            }
            let found: Vec<_> = txn.compares.iter().map(|c| keys.keys.get(c.key()).cloned()).collect();
            if !txn.compares.iter().zip(&found).all(|(c, now)| c.holds(now.as_ref())) {
                return Ok(TxnOutcome::Conflict(found));
            }
            let done = keys.apply(&txn.ops);
            let unclear = keys.ambiguous.contains(&0);
            keys.ambiguous.retain(|n| *n != 0);
            keys.ambiguous.iter_mut().for_each(|n| *n -= 1);
            if unclear { Err(Error::Ambiguous("lost".into())) } else { Ok(TxnOutcome::Done(done)) }
        })
    }

    fn grant(&self, _: Duration) -> Doing<'_, LeaseId> {
        Box::pin(async { Err(Error::Invalid("the model has no leases".into())) })
    }

    fn renew(&self, _: LeaseId) -> Doing<'_, ()> {
        Box::pin(async { Err(Error::LeaseGone) })
    }

    fn revoke(&self, _: LeaseId) -> Doing<'_, ()> {
        Box::pin(async { Err(Error::LeaseGone) })
    }

    fn watch<'a>(&'a self, _: &'a str, _: Revision) -> Doing<'a, Box<dyn Watch>> {
        Box::pin(async { Err(Error::Invalid("the model has no watches".into())) })
    }
}

/// A whole make-believe cluster.
pub struct Model {
    pub bookies: ModelBookies,
    pub store: ModelStore,
    pub cluster: Cluster,
}

impl Model {
    pub fn new(count: usize, seed: u64) -> Model {
        let bookies = ModelBookies::new(count, seed);
        let store = ModelStore::default();
        let scope = Scope::new("/model").unwrap_or_else(|_| unreachable!("a good scope"));
        let ledgers = Ledgers::new(Arc::new(store.clone()), scope, seed);
        let cluster = Cluster::new(Arc::new(bookies.clone()), ledgers, seed);
        let model = Model { bookies, store, cluster };
        (0..count).for_each(|n| model.register(n, Standing::Writable));
        model
    }

    pub fn register(&self, n: usize, standing: Standing) {
        let scope = self.cluster.ledgers.scope();
        let id = bookie(n);
        self.say_short(n, false);
        self.store.remove(&scope.writable(&id));
        self.store.remove(&scope.readonly(&id));
        match standing {
            Standing::Writable => self.store.put(&scope.writable(&id), Bytes::new()),
            Standing::Readonly => self.store.put(&scope.readonly(&id), Bytes::new()),
            Standing::Absent => {}
        }
    }

    /// What bookie `n` says of its disks, until it is registered anew.
    pub fn say_short(&self, n: usize, short: bool) {
        let id = bookie(n);
        let published = Published { address: id.to_string(), short, ..Published::default() };
        self.store.put(&self.cluster.ledgers.scope().published(&id), published.encode());
    }

    /// An open ledger over the bookies `members`.
    pub async fn ledger(&self, quorums: Quorums, members: &[usize]) -> Stored {
        let metadata = open_metadata(quorums, members.iter().map(|&n| bookie(n)).collect());
        self.cluster.ledgers.create(metadata).await.unwrap_or_else(|e| panic!("creates: {e}"))
    }
}

pub fn open_metadata(quorums: Quorums, ensemble: Vec<BookieId>) -> LedgerMetadata {
    LedgerMetadata {
        ensemble_size: quorums.ensemble() as u32,
        write_quorum: quorums.write() as u32,
        ack_quorum: quorums.ack() as u32,
        state: State::Open,
        segments: vec![Segment { first: EntryId::FIRST, ensemble }],
        digest: DigestType::Crc32c,
        password: Bytes::new(),
        created_ms: None,
        custom: BTreeMap::new(),
        token: 7,
    }
}
