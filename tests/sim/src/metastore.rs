//! The metadata store as processes see it: slow, out of reach, ambiguous, forgetful of watchers. Inside is the real
//! embedded store on a simulated disk.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bookie::identity::Membership;
use bytes::Bytes;
use metadata::store::{Change, Doing, Page, Watch};
use metadata::{Error, KeyValue, LeaseId, Op, Revision, Scope, Store, Txn, TxnOutcome};
use parking_lot::Mutex;
use protocol::BookieId;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use crate::chance::Chance;
use crate::judge::Judge;
use crate::process::{Process, ProcessId};
use crate::trace::Trace;

/// How metadata behaves in this run. Probabilities are per call.
#[derive(Clone, Debug, Default)]
pub struct Moods {
    pub latency_us: (u64, u64),
    /// A transaction whose outcome is not told: applied, lost, or applied later.
    pub ambiguous: f64,
    pub unavailable: f64,
    /// A call that takes up to `slow_ms`.
    pub slow: f64,
    pub slow_ms: u64,
    /// A watch that loses its place, per change.
    pub lost_watches: f64,
    /// A page of fewer entries than asked for.
    pub short_pages: f64,
    /// A listing of ledgers that leaves some out: what garbage collection must survive.
    pub incomplete_listings: f64,
}

/// What becomes of a transaction whose sender is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Done,
    Lost,
    /// Done some time after the sender has given up.
    DoneLater,
}

/// The store itself: what all processes share.
pub struct MetaStore {
    pub scope: Scope,
    chance: Chance,
    judge: Arc<Judge>,
    trace: Arc<Trace>,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    moods: Moods,
    /// None while the store is down.
    inner: Option<Arc<dyn Store>>,
    cut: BTreeSet<ProcessId>,
    /// What the judge has been told is stored.
    known: BTreeMap<String, Known>,
    /// Keys that somebody wanted deleted and was not told: they may be gone.
    perhaps_deleted: BTreeSet<String>,
    leases: BTreeMap<LeaseId, ProcessId>,
    /// Transactions to come, by whoever: how many pass before one meets its fate.
    fates: Vec<(u64, Fate)>,
}

/// What is stored under a key, as the judge knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    revision: Revision,
    value: Bytes,
    leased: bool,
}

/// One process's connection.
pub struct Client {
    store: Arc<MetaStore>,
    process: Arc<Process>,
    /// Its listings leave nothing out: what an operator goes by.
    sees_all: bool,
}

impl MetaStore {
    pub fn new(
        scope: Scope,
        moods: Moods,
        chance: Chance,
        judge: Arc<Judge>,
        trace: Arc<Trace>,
    ) -> Arc<MetaStore> {
        let state = State {
            moods,
            inner: None,
            cut: Default::default(),
            known: BTreeMap::new(),
            perhaps_deleted: BTreeSet::new(),
            leases: BTreeMap::new(),
            fates: Vec::new(),
        };
        Arc::new(MetaStore { scope, chance, judge, trace, state: Mutex::new(state), changed: Notify::new() })
    }

    pub fn client(self: &Arc<MetaStore>, process: &Arc<Process>) -> Arc<Client> {
        Arc::new(Client { store: self.clone(), process: process.clone(), sees_all: false })
    }

    pub fn operator(self: &Arc<MetaStore>, process: &Arc<Process>) -> Arc<Client> {
        Arc::new(Client { store: self.clone(), process: process.clone(), sees_all: true })
    }

    pub fn set_moods(&self, change: impl FnOnce(&mut Moods)) {
        change(&mut self.state.lock().moods);
    }

    /// The store goes down (`None`) or comes back.
    pub fn set_inner(&self, inner: Option<Arc<dyn Store>>) {
        self.state.lock().inner = inner;
        self.changed.notify_waiters();
    }

    pub fn inner(&self) -> Option<Arc<dyn Store>> {
        self.state.lock().inner.clone()
    }

    /// The transaction after `after` others will be ambiguous.
    pub fn doom(&self, after: u64, fate: Fate) {
        self.state.lock().fates.push((after, fate));
    }

    /// Counts a transaction; its fate, if its sender is not to be told.
    fn fate(&self) -> Option<Fate> {
        let mut state = self.state.lock();
        let due = state.fates.iter().position(|(left, _)| *left == 0).map(|at| state.fates.remove(at).1);
        state.fates.iter_mut().for_each(|(left, _)| *left = left.saturating_sub(1));
        let by_chance = || self.chance.one_of([Fate::Done, Fate::Lost, Fate::DoneLater]);
        due.or_else(|| self.chance.hits(state.moods.ambiguous).then(by_chance))
    }

    /// A process cannot reach the store any more.
    pub fn cut(&self, process: ProcessId) {
        self.state.lock().cut.insert(process);
    }

    pub fn mend(&self) {
        self.state.lock().cut.clear();
        self.changed.notify_waiters();
    }

    /// How far metadata knows that a bookie had come; 0 if it knows none of that name.
    pub fn epoch(&self, bookie: &BookieId) -> u64 {
        let key = self.scope.key(&format!("strata/disks/{bookie}"));
        let state = self.state.lock();
        let known = state.known.get(&key).and_then(|known| Membership::decode(&key, &known.value).ok());
        known.map_or(0, |membership| membership.epoch)
    }

    /// Ends a lease before its time.
    pub async fn expire_a_lease(&self) -> bool {
        let leases: Vec<LeaseId> = self.state.lock().leases.keys().copied().collect();
        let (Some(lease), Some(inner)) = (self.chance.pick(&leases), self.inner()) else { return false };
        self.state.lock().leases.remove(lease);
        inner.revoke(*lease).await.is_ok()
    }

    /// Ends the leases of a process before their time.
    pub async fn expire_leases_of(&self, process: ProcessId) {
        let Some(inner) = self.inner() else { return };
        for lease in self.leases_of(process) {
            self.state.lock().leases.remove(&lease);
            drop(inner.revoke(lease).await);
        }
    }

    /// Leases of a process go on for this long, whatever becomes of it: so a store does that was away for a while.
    pub async fn prolong_leases_of(&self, process: ProcessId, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            let Some(inner) = self.inner() else { return };
            for lease in self.leases_of(process) {
                drop(inner.renew(lease).await);
            }
            sleep(Duration::from_millis(250)).await;
        }
    }

    fn leases_of(&self, process: ProcessId) -> Vec<LeaseId> {
        let state = self.state.lock();
        state.leases.iter().filter(|(_, holder)| **holder == process).map(|(lease, _)| *lease).collect()
    }

    /// Tells the judge all that has changed since it last heard.
    pub async fn tell_judge(&self) -> Result<(), Error> {
        let Some(inner) = self.inner() else { return Ok(()) };
        let mut stored = BTreeMap::new();
        let mut after: Option<String> = None;
        loop {
            let page = inner.range(self.scope.as_str(), after.as_deref(), 1000).await?;
            stored.extend(page.entries.iter().map(|kv| {
                let known =
                    Known { revision: kv.modified, value: kv.value.clone(), leased: kv.lease.is_some() };
                (kv.key.clone(), known)
            }));
            match page.entries.last() {
                Some(last) if page.more => after = Some(last.key.clone()),
                _ => break,
            }
        }
        self.tell_changes(stored);
        Ok(())
    }

    fn tell_changes(&self, stored: BTreeMap<String, Known>) {
        let (known, perhaps_deleted) = {
            let mut state = self.state.lock();
            let known = std::mem::replace(&mut state.known, stored.clone());
            (known, std::mem::take(&mut state.perhaps_deleted))
        };
        for (key, now) in &stored {
            if known.get(key).is_none_or(|before| before.revision != now.revision) {
                self.judge.hear(|model| model.committed(&self.scope, key, Some(&now.value), None));
            }
        }
        for (key, before) in &known {
            let kept = stored.get(key).is_some_and(|now| now.revision >= before.revision);
            if !kept && !before.leased && !perhaps_deleted.contains(key) {
                let text = format!("the metadata store was told of a change of {key}, answered, and lost it");
                self.judge.hear(|model| model.violation("B5", text));
            }
            if !stored.contains_key(key) {
                self.judge.hear(|model| model.committed(&self.scope, key, None, None));
            }
        }
    }

    /// A transaction that was done at `revision`.
    fn tell_txn(&self, txn: &Txn, revision: Revision, by: ProcessId) {
        for op in &txn.ops {
            let mut state = self.state.lock();
            match op {
                Op::Put { key, value, lease } => {
                    // The store does things in order; answers may be heard out of order.
                    if state.known.get(key).is_some_and(|known| known.revision >= revision) {
                        continue;
                    }
                    let known = Known { revision, value: value.clone(), leased: lease.is_some() };
                    state.known.insert(key.clone(), known);
                    drop(state);
                    self.trace.note(&format!("metadata {}: {key} ({} bytes)", revision.0, value.len()));
                    self.judge.hear(|model| model.committed(&self.scope, key, Some(value), Some(by)));
                }
                Op::Delete { key } => {
                    let was = state.known.remove(key).is_some();
                    drop(state);
                    self.trace.note(&format!("metadata {}: {key} deleted", revision.0));
                    if was {
                        self.judge.hear(|model| model.committed(&self.scope, key, None, Some(by)));
                    }
                }
            }
        }
    }

    async fn apply(&self, txn: Txn, by: ProcessId) -> Result<TxnOutcome, Error> {
        let Some(inner) = self.inner() else {
            return Err(Error::Unavailable("simulated: the store is down".into()));
        };
        let deletes = txn.ops.iter().filter_map(|op| match op {
            Op::Delete { key } => Some(key.clone()),
            Op::Put { .. } => None,
        });
        self.state.lock().perhaps_deleted.extend(deletes);
        let outcome = inner.txn(txn.clone()).await;
        if let Ok(TxnOutcome::Done(revision)) = &outcome {
            self.tell_txn(&txn, *revision, by);
        }
        outcome
    }

    fn moods(&self) -> Moods {
        self.state.lock().moods.clone()
    }

    fn is_cut(&self, process: ProcessId) -> bool {
        let state = self.state.lock();
        state.cut.contains(&process) || state.inner.is_none()
    }
}

const GIVE_UP: Duration = Duration::from_secs(5);

impl Client {
    /// The way to the store: takes time, and may not get there.
    async fn there(&self) -> Result<Arc<dyn Store>, Error> {
        self.process.awake().await;
        let moods = self.store.moods();
        let chance = &self.store.chance;
        sleep(chance.micros(moods.latency_us.0..moods.latency_us.1)).await;
        if chance.hits(moods.slow) {
            sleep(chance.millis(0..moods.slow_ms)).await;
        }
        if self.store.is_cut(self.process.id) {
            sleep(GIVE_UP).await;
            return Err(Error::Unavailable("simulated: the store does not answer".into()));
        }
        if chance.hits(moods.unavailable) {
            return Err(Error::Unavailable("simulated: the store is out of reach for a moment".into()));
        }
        self.process.awake().await;
        let down = || Error::Unavailable("simulated: the store is down".into());
        self.store.inner().ok_or_else(down)
    }

    /// The way back.
    async fn back(&self) {
        let moods = self.store.moods();
        let chance = &self.store.chance;
        sleep(chance.micros(moods.latency_us.0..moods.latency_us.1)).await;
        if chance.hits(moods.slow) {
            sleep(chance.millis(0..moods.slow_ms)).await;
        }
        self.process.awake().await;
    }

    async fn ambiguous(&self, txn: Txn, fate: Fate) -> Result<TxnOutcome, Error> {
        self.store.trace.note(&format!("a transaction's sender is not told that it is {fate:?}"));
        match fate {
            Fate::Lost => {}
            Fate::Done => drop(self.store.apply(txn, self.process.id).await),
            Fate::DoneLater => {
                let (store, delay) = (self.store.clone(), self.store.chance.millis(0..8000));
                let by = self.process.id;
                tokio::spawn(async move {
                    sleep(delay).await;
                    drop(store.apply(txn, by).await);
                });
            }
        }
        self.back().await;
        Err(Error::Ambiguous("simulated: the store did not answer".into()))
    }
}

impl Store for Client {
    fn get<'a>(&'a self, key: &'a str) -> Doing<'a, Option<KeyValue>> {
        Box::pin(async move {
            let found = self.there().await?.get(key).await;
            self.back().await;
            found
        })
    }

    fn range<'a>(&'a self, prefix: &'a str, after: Option<&'a str>, limit: usize) -> Doing<'a, Page> {
        Box::pin(async move {
            let inner = self.there().await?;
            let chance = &self.store.chance;
            let moods = self.store.moods();
            let limit = match chance.hits(moods.short_pages) {
                true => limit.min(1 + chance.index(5)),
                false => limit,
            };
            let mut page = inner.range(prefix, after, limit).await?;
            if !self.sees_all && chance.hits(moods.incomplete_listings) {
                page.entries.retain(|kv| self.store.scope.ledger_of(&kv.key).is_none() || !chance.hits(0.3));
            }
            self.back().await;
            Ok(page)
        })
    }

    fn txn(&self, txn: Txn) -> Doing<'_, TxnOutcome> {
        Box::pin(async move {
            self.there().await?;
            if let Some(fate) = self.store.fate() {
                return self.ambiguous(txn, fate).await;
            }
            // A caller that stops waiting, or dies, has sent it all the same.
            let (store, by) = (self.store.clone(), self.process.id);
            let sent = tokio::spawn(async move { store.apply(txn, by).await });
            let outcome = sent.await.unwrap_or_else(|error| Err(Error::Ambiguous(error.to_string())));
            self.back().await;
            if self.store.is_cut(self.process.id) {
                sleep(GIVE_UP).await;
                return Err(Error::Ambiguous("simulated: the answer did not come back".into()));
            }
            outcome
        })
    }

    fn grant(&self, ttl: Duration) -> Doing<'_, LeaseId> {
        Box::pin(async move {
            let lease = self.there().await?.grant(ttl).await?;
            self.store.state.lock().leases.insert(lease, self.process.id);
            self.back().await;
            Ok(lease)
        })
    }

    fn renew(&self, lease: LeaseId) -> Doing<'_, ()> {
        Box::pin(async move {
            let renewed = self.there().await?.renew(lease).await;
            self.back().await;
            renewed
        })
    }

    fn revoke(&self, lease: LeaseId) -> Doing<'_, ()> {
        Box::pin(async move {
            let revoked = self.there().await?.revoke(lease).await;
            self.store.state.lock().leases.remove(&lease);
            self.back().await;
            revoked
        })
    }

    fn watch<'a>(&'a self, prefix: &'a str, from: Revision) -> Doing<'a, Box<dyn Watch>> {
        Box::pin(async move {
            let inner = self.there().await?.watch(prefix, from).await?;
            let watch =
                Watching { store: self.store.clone(), process: self.process.clone(), inner, lost: false };
            Ok(Box::new(watch) as Box<dyn Watch>)
        })
    }
}

struct Watching {
    store: Arc<MetaStore>,
    process: Arc<Process>,
    inner: Box<dyn Watch>,
    lost: bool,
}

impl Watch for Watching {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Change> + Send + '_>> {
        Box::pin(async move {
            loop {
                self.process.awake().await;
                if self.lost {
                    return Change::Lost;
                }
                // A store that went down takes its watches along.
                let changed = self.store.changed.notified();
                if self.store.is_cut(self.process.id) {
                    if timeout(GIVE_UP, changed).await.is_err() {
                        self.lost = true;
                    }
                    continue;
                }
                let change = tokio::select! {
                    biased;
                    change = self.inner.next() => change,
                    () = changed => continue,
                };
                if change == Change::Lost || self.store.chance.hits(self.store.moods().lost_watches) {
                    self.lost = true;
                    return Change::Lost;
                }
                if self.process.is_dead() {
                    pending::<()>().await;
                }
                return change;
            }
        })
    }
}
