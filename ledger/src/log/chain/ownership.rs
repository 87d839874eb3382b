//! What a log's owner changes in metadata. Every change compares the owner's key, which only a steal ever writes, at
//! the revision of our own steal: once somebody else has opened the log, none of these changes can happen.

use metadata::schema::vb;
use metadata::schema::{LedgerTask, TaskReason};
use metadata::{Compare, KeyValue, LedgerMetadata, Revision, State, Store, Stored, Txn, TxnOutcome, commit};
use planted::Bug;
use protocol::LedgerId;

use super::core::Settled;
use crate::cluster::Cluster;
use crate::error::{Ended, Error};
use crate::log::{Epoch, Link, LogName, Position};
use crate::writer::End;

/// How many links one transaction deletes, two keys each.
const TRIM_AT_ONCE: usize = 50;
const PAGE: usize = 1000;

/// Proof of having opened a log: valid until the next open.
#[derive(Clone)]
pub struct Ownership {
    cluster: Cluster,
    name: LogName,
    pub epoch: Epoch,
    at: Revision,
}

/// A link as it is stored.
#[derive(Clone, Debug)]
pub struct StoredLink {
    pub link: Link,
    pub revision: Revision,
}

/// The last link and its ledger.
#[derive(Clone, Debug)]
pub struct Tip {
    pub link: StoredLink,
    pub ledger: Stored,
}

/// What became of one attempt to add a link.
pub enum Linked {
    Done(Tip),
    /// Nothing happened so far: try again with this, in a moment.
    Again(Option<Tip>),
    /// Somebody closed the last link's ledger behind the end that was given: the next link begins there.
    ClosedBeyond(Tip, End),
}

fn corrupt(what: String) -> Error {
    Error::Corrupt(what)
}

impl Ownership {
    /// Takes the log over: from here on its former owner can change nothing.
    pub async fn steal(cluster: &Cluster, name: &LogName, who: &str) -> Result<Ownership, Error> {
        let store = &**cluster.ledgers.store();
        let key = cluster.ledgers.scope().vb_owner(name.as_str());
        loop {
            let now = store.get(&key).await?;
            let before = now.as_ref().map(|kv| vb::Owner::decode(name.as_str(), &kv.value)).transpose()?;
            let epoch = before.map_or(0, |owner| owner.epoch) + 1;
            let owner = vb::Owner { epoch, name: who.into(), token: cluster.random() };
            let compare = unchanged(&key, now.as_ref());
            match commit(store, Txn::default().compare(compare).put(&key, owner.encode())).await? {
                TxnOutcome::Done(at) => {
                    let (cluster, name, epoch) = (cluster.clone(), name.clone(), Epoch(epoch));
                    return Ok(Ownership { cluster, name, epoch, at });
                }
                TxnOutcome::Conflict(_) => {}
            }
        }
    }

    pub fn name(&self) -> &LogName {
        &self.name
    }

    fn store(&self) -> &dyn Store {
        &**self.cluster.ledgers.store()
    }

    fn owner_key(&self) -> String {
        self.cluster.ledgers.scope().vb_owner(self.name.as_str())
    }

    fn txn(&self) -> Txn {
        Txn::default().compare(Compare::Unchanged(self.owner_key(), self.at))
    }

    /// Fails with [`Ended::Stolen`] once somebody else has opened the log.
    pub async fn check(&self) -> Result<(), Error> {
        let now = self.store().get(&self.owner_key()).await?;
        if now.is_some_and(|kv| kv.modified == self.at) { Ok(()) } else { Err(Ended::Stolen.into()) }
    }

    /// Stores a new ledger, not yet a link, under a key by which the next owner finds and deletes it.
    pub async fn create(&self, metadata: &LedgerMetadata) -> Result<Stored, Error> {
        let scope = self.cluster.ledgers.scope();
        loop {
            let reserved = self.cluster.ledgers.reserve().await?;
            let id = reserved.id;
            let (ledger, ready) = (scope.ledger(id), scope.vb_ready_ledger(self.name.as_str(), id));
            let txn = reserved
                .take(self.txn())
                .compare(Compare::Absent(ledger.clone()))
                .put(ledger, metadata.encode())
                .put(ready, vb::Ready { epoch: self.epoch.0 }.encode());
            match commit(self.store(), txn).await? {
                TxnOutcome::Done(version) => return Ok(Stored { id, metadata: metadata.clone(), version }),
                TxnOutcome::Conflict(_) => self.check().await?,
            }
        }
    }

    /// Deletes ledgers that were created and never linked.
    pub async fn discard(&self, ledgers: &[LedgerId]) -> Result<(), Error> {
        let scope = self.cluster.ledgers.scope();
        for some in ledgers.chunks(TRIM_AT_ONCE) {
            let delete = |txn: Txn, id: &LedgerId| {
                txn.delete(scope.ledger(*id)).delete(scope.vb_ready_ledger(self.name.as_str(), *id))
            };
            self.change(some.iter().fold(self.txn(), delete)).await?;
        }
        Ok(())
    }

    /// A change that may as well happen twice.
    async fn change(&self, txn: Txn) -> Result<(), Error> {
        match commit(self.store(), txn).await? {
            TxnOutcome::Done(_) => Ok(()),
            TxnOutcome::Conflict(_) => Err(Ended::Stolen.into()),
        }
    }

    /// Ledgers that were created ahead, by whichever owner.
    pub async fn ready(&self) -> Result<Vec<LedgerId>, Error> {
        let prefix = self.cluster.ledgers.scope().vb_ready(self.name.as_str());
        let keys = read_all(self.store(), &prefix).await?;
        let id = |kv: &KeyValue| kv.key.strip_prefix(&prefix)?.parse().ok().map(LedgerId);
        Ok(keys.iter().filter_map(id).collect())
    }

    /// THE transaction: closes the last link's ledger at `end`, adds `next` as the link that begins at `base`, and
    /// compares the epoch; all of it or nothing. A last link without entries is replaced. `tip` is `None` if there
    /// is no link yet.
    pub async fn link(
        &self,
        tip: Option<&Tip>,
        end: End,
        base: Position,
        next: &Stored,
    ) -> Result<Linked, Error> {
        let scope = self.cluster.ledgers.scope();
        let link = vb::Link { ledger: next.id, epoch: self.epoch.0, end: None, sparse: None };
        let key = scope.vb_link(self.name.as_str(), base.0);
        let ready = scope.vb_ready_ledger(self.name.as_str(), next.id);
        let mut txn = self.txn().put(key.clone(), link.encode()).delete(ready);
        let mut absent = true;
        if let Some(Tip { link, ledger }) = tip {
            let old = scope.ledger(ledger.id);
            txn = txn.compare(Compare::Unchanged(old.clone(), ledger.version));
            if end.last.is_none() {
                absent = false;
                txn = txn.compare(Compare::Unchanged(key.clone(), link.revision)).delete(old);
            } else if !ledger.metadata.is_closed() {
                txn = txn.put(old, closed(&ledger.metadata, end).encode());
            }
        }
        if absent {
            txn = txn.compare(Compare::Absent(key));
        }
        match self.store().txn(txn).await {
            Ok(TxnOutcome::Done(at)) => Ok(Linked::Done(self.new_tip(base, next, at))),
            Err(metadata::Error::Ambiguous(_)) if planted::on(Bug::UnclearRollTakenAsDone) => {
                Ok(Linked::Done(self.new_tip(base, next, self.at)))
            }
            Ok(TxnOutcome::Conflict(_)) | Err(metadata::Error::Ambiguous(_)) => {
                self.resolve(tip, end, base, next).await
            }
            Err(error) => Err(error.into()),
        }
    }

    fn new_tip(&self, base: Position, next: &Stored, revision: Revision) -> Tip {
        let link = Link { base, end: None, ledger: next.id, epoch: self.epoch, sparse: None };
        Tip { link: StoredLink { link, revision }, ledger: next.clone() }
    }

    /// Reads what is there after a link was refused, or after the store did not say. An attempt that is still under
    /// way may happen later: the next one then finds its own link.
    async fn resolve(
        &self,
        tip: Option<&Tip>,
        end: End,
        base: Position,
        next: &Stored,
    ) -> Result<Linked, Error> {
        let key = self.cluster.ledgers.scope().vb_link(self.name.as_str(), base.0);
        let link = self.store().get(&key).await?;
        self.check().await?;
        if let Some(kv) = &link
            && vb::Link::decode(self.name.as_str(), &kv.value)?.ledger == next.id
        {
            return Ok(Linked::Done(self.new_tip(base, next, kv.modified)));
        }
        let Some(tip) = tip else {
            let why = format!("log {} has a link at {base} that its owner did not add", self.name);
            return if link.is_some() { Err(corrupt(why)) } else { Ok(Linked::Again(None)) };
        };
        let id = tip.ledger.id;
        let Some(ledger) = self.cluster.ledgers.read(id).await? else {
            // Perhaps it was our own attempt that deleted it, after we looked at the link.
            return match self.store().get(&key).await? {
                Some(kv) if vb::Link::decode(self.name.as_str(), &kv.value)?.ledger == next.id => {
                    Ok(Linked::Done(self.new_tip(base, next, kv.modified)))
                }
                _ => Err(corrupt(format!("ledger {id}, the last of log {}, was deleted", self.name))),
            };
        };
        let tip = Tip { link: tip.link.clone(), ledger };
        match tip.ledger.metadata.state {
            State::Closed { last, length } if last > end.last => {
                Ok(Linked::ClosedBeyond(tip, End { last, length }))
            }
            State::Closed { last, .. } if last < end.last => Err(corrupt(format!(
                "ledger {id} of log {} was closed at entry {last}, but entry {} was acknowledged",
                self.name, end.last
            ))),
            _ => Ok(Linked::Again(Some(tip))),
        }
    }

    /// Closes the last link's ledger, so that the next owner finds nothing to recover.
    pub async fn close(&self, tip: &Tip, end: End, ready: Option<LedgerId>) -> Result<(), Error> {
        let mut ledger = tip.ledger.clone();
        if let Some(ready) = ready {
            self.discard(&[ready]).await?;
        }
        loop {
            if let State::Closed { last, .. } = ledger.metadata.state {
                return if last == end.last { Ok(()) } else { Err(Ended::Stolen.into()) };
            }
            let key = self.cluster.ledgers.scope().ledger(ledger.id);
            let closed = closed(&ledger.metadata, end);
            let txn = self.txn().compare(Compare::Unchanged(key.clone(), ledger.version));
            match commit(self.store(), txn.put(key, closed.encode())).await? {
                TxnOutcome::Done(_) => return Ok(()),
                TxnOutcome::Conflict(_) => self.check().await?,
            }
            ledger = self.cluster.stored(ledger.id).await?;
        }
    }

    /// Deletes links, the first ones of the chain, with their ledgers.
    pub async fn trim(&self, links: &[StoredLink]) -> Result<(), Error> {
        let scope = self.cluster.ledgers.scope();
        for some in links.chunks(TRIM_AT_ONCE) {
            let delete = |txn: Txn, StoredLink { link, .. }: &StoredLink| {
                txn.delete(scope.vb_link(self.name.as_str(), link.base.0)).delete(scope.ledger(link.ledger))
            };
            self.change(some.iter().fold(self.txn(), delete)).await?;
        }
        Ok(())
    }

    /// Puts a copy with `bytes` of what a link had, closed at `end`, in the link's place, and deletes what it replaces; all
    /// of it or nothing. `None` if the link is not there any more.
    pub async fn replace(
        &self,
        old: &StoredLink,
        copy: &Stored,
        end: End,
        bytes: u64,
    ) -> Result<Option<StoredLink>, Error> {
        let scope = self.cluster.ledgers.scope();
        let (key, ledger) = (scope.vb_link(self.name.as_str(), old.link.base.0), scope.ledger(copy.id));
        let link = vb::Link { ledger: copy.id, epoch: self.epoch.0, end: None, sparse: Some(bytes) };
        if planted::on(Bug::LinkDeletedBeforeSwap) {
            self.change(self.txn().delete(scope.ledger(old.link.ledger))).await?;
        }
        let txn = self.txn().compare(Compare::Unchanged(key.clone(), old.revision));
        let txn =
            txn.compare(Compare::Unchanged(ledger.clone(), copy.version)).put(key.clone(), link.encode());
        let txn = txn.put(ledger, closed(&copy.metadata, end).encode()).delete(scope.ledger(old.link.ledger));
        let txn = txn.delete(scope.vb_ready_ledger(self.name.as_str(), copy.id));
        let new = |revision| StoredLink {
            link: Link { ledger: copy.id, epoch: self.epoch, sparse: Some(bytes), ..old.link.clone() },
            revision,
        };
        match commit(self.store(), txn).await? {
            TxnOutcome::Done(at) => Ok(Some(new(at))),
            // Perhaps it was our own attempt, and a repair has changed the closed copy since.
            TxnOutcome::Conflict(_) => {
                let now = self.store().get(&key).await?;
                self.check().await?;
                let Some(kv) = now else { return Ok(None) };
                let ours = vb::Link::decode(self.name.as_str(), &kv.value)?.ledger == copy.id;
                Ok(ours.then(|| new(kv.modified)))
            }
        }
    }

    /// Deletes a copy, unless it is a link by now or ever will be: its key is as old as the copy itself until then.
    pub async fn discard_copy(&self, copy: &Stored) -> Result<(), Error> {
        let scope = self.cluster.ledgers.scope();
        let ready = scope.vb_ready_ledger(self.name.as_str(), copy.id);
        let txn = self.txn().compare(Compare::Unchanged(ready.clone(), copy.version));
        commit(self.store(), txn.delete(scope.ledger(copy.id)).delete(ready)).await?;
        Ok(())
    }

    /// Files what a ledger's bookies lack for repair.
    pub async fn file(&self, settled: &Settled) -> Result<(), Error> {
        let key = self.cluster.ledgers.scope().replication_task(settled.ledger);
        loop {
            let now = self.store().get(&key).await?;
            let mut task = match &now {
                Some(kv) => LedgerTask::decode(settled.ledger, &kv.value)?,
                None => LedgerTask::default(),
            };
            for (bookie, runs) in &settled.missing {
                let lacks = runs.iter().map(|(first, last)| (first.0, last.0)).collect();
                task.damage.extend(LedgerTask::of(bookie, TaskReason::Missing, lacks).damage);
            }
            let txn = self.txn().compare(unchanged(&key, now.as_ref())).put(&key, task.encode());
            match commit(self.store(), txn).await? {
                TxnOutcome::Done(_) => return Ok(()),
                TxnOutcome::Conflict(_) => self.check().await?,
            }
        }
    }
}

fn unchanged(key: &str, now: Option<&KeyValue>) -> Compare {
    match now {
        Some(kv) => Compare::Unchanged(key.into(), kv.modified),
        None => Compare::Absent(key.into()),
    }
}

fn closed(metadata: &LedgerMetadata, end: End) -> LedgerMetadata {
    LedgerMetadata { state: State::Closed { last: end.last, length: end.length }, ..metadata.clone() }
}

async fn read_all(store: &dyn Store, prefix: &str) -> Result<Vec<KeyValue>, Error> {
    let mut all: Vec<KeyValue> = Vec::new();
    loop {
        let page = store.range(prefix, all.last().map(|kv| kv.key.as_str()), PAGE).await?;
        let empty = page.entries.is_empty();
        all.extend(page.entries);
        if !page.more || empty {
            return Ok(all);
        }
    }
}

/// The links of a log, first to last.
pub async fn read_links(cluster: &Cluster, name: &LogName) -> Result<Vec<StoredLink>, Error> {
    let scope = cluster.ledgers.scope();
    let mut links: Vec<StoredLink> = Vec::new();
    for kv in read_all(&**cluster.ledgers.store(), &scope.vb_links(name.as_str())).await? {
        let base = scope.vb_link_base(name.as_str(), &kv.key);
        let base = Position(base.ok_or_else(|| corrupt(format!("'{}' is not the key of a link", kv.key)))?);
        let stored = vb::Link::decode(name.as_str(), &kv.value)?;
        if let Some(before) = links.last_mut() {
            before.link.end = Some(base);
        }
        let (ledger, epoch, sparse) = (stored.ledger, Epoch(stored.epoch), stored.sparse);
        let link = Link { base, end: None, ledger, epoch, sparse };
        links.push(StoredLink { link, revision: kv.modified });
    }
    Ok(links)
}
