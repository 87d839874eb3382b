//! What an operator asks of repair.

use metadata::registry::{self, Standing, read_all};
use metadata::schema::{AtRisk, Gone, LedgerTask};
use metadata::{Compare, Scope, Store, Txn, TxnOutcome, commit, election};
use protocol::{BookieId, LedgerId};

use super::AUDITOR;
use super::tasks::{read, swap};
use crate::{Cluster, Error};

const PAGE: usize = 500;

/// A ledger that is to be repaired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    pub ledger: LedgerId,
    pub task: LedgerTask,
    /// Who is at it.
    pub worker: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AtRiskLedger {
    pub ledger: LedgerId,
    pub risk: AtRisk,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    pub auditor: Option<String>,
    pub paused: bool,
    pub tasks: Vec<Task>,
    pub at_risk: Vec<AtRiskLedger>,
    pub draining: Vec<BookieId>,
    pub gone: Vec<BookieId>,
}

impl Status {
    /// Ledgers that were set aside after too many failures.
    pub fn quarantined(&self) -> impl Iterator<Item = &Task> {
        self.tasks.iter().filter(|task| task.task.quarantined)
    }
}

pub async fn status(store: &dyn Store, scope: &Scope) -> Result<Status, Error> {
    let leader = election::leader(store, scope, AUDITOR).await?;
    let mut status = Status {
        auditor: leader.map(|leader| leader.name),
        paused: store.get(&scope.replication_paused()).await?.is_some(),
        draining: bookies_under(store, scope, "strata/drain/").await?,
        gone: bookies_under(store, scope, "strata/replication/gone/").await?,
        ..Status::default()
    };
    for entry in read_all(store, &scope.replication_tasks()).await? {
        let Some(ledger) = scope.replication_task_of(&entry.key) else { continue };
        let worker = store.get(&scope.replication_lock(ledger)).await?;
        let worker = worker.map(|lock| String::from_utf8_lossy(&lock.value).into_owned());
        status.tasks.push(Task { ledger, task: LedgerTask::decode(ledger, &entry.value)?, worker });
    }
    for entry in read_all(store, &scope.replication_at_risk()).await? {
        let Some(ledger) = scope.replication_at_risk_ledger(&entry.key) else { continue };
        status.at_risk.push(AtRiskLedger { ledger, risk: AtRisk::decode(ledger, &entry.value)? });
    }
    Ok(status)
}

async fn bookies_under(store: &dyn Store, scope: &Scope, under: &str) -> Result<Vec<BookieId>, Error> {
    let entries = read_all(store, &scope.key(under)).await?;
    Ok(entries.iter().filter_map(|entry| scope.bookie_of(&entry.key, under)).collect())
}

/// Empties a bookie while it serves: no new ledgers, and what it has moves elsewhere.
pub async fn drain(store: &dyn Store, scope: &Scope, bookie: &BookieId) -> Result<(), Error> {
    must_be_known(store, scope, bookie).await?;
    set(store, scope.drain(bookie), Some("".into())).await
}

pub async fn undrain(store: &dyn Store, scope: &Scope, bookie: &BookieId) -> Result<(), Error> {
    set(store, scope.drain(bookie), None).await
}

/// Gives a bookie up that is down and never comes back: repaired at once, without the grace.
/// See [`remaining`] for progress, and [`finish_decommission`] for the end.
pub async fn decommission(store: &dyn Store, scope: &Scope, bookie: &BookieId) -> Result<(), Error> {
    give_up(store, scope, bookie, Gone::default()).await
}

/// As [`decommission`], with another bookie that takes its place wherever it can.
pub async fn replace(store: &dyn Store, scope: &Scope, old: &BookieId, new: &BookieId) -> Result<(), Error> {
    let bookies = registry::bookies(store, scope).await?;
    if old == new || !bookies.iter().any(|info| info.id == *new && info.takes_ledgers()) {
        return Err(Error::Invalid(format!(
            "{new} cannot replace {old}: it must be another bookie, and writable"
        )));
    }
    give_up(store, scope, old, Gone { replacement: Some(new.to_string()) }).await
}

async fn give_up(store: &dyn Store, scope: &Scope, bookie: &BookieId, gone: Gone) -> Result<(), Error> {
    let standing = must_be_known(store, scope, bookie).await?;
    if standing != Standing::Absent {
        return Err(Error::Invalid(format!(
            "bookie {bookie} is running: stop it first. To empty it while it runs, drain it"
        )));
    }
    set(store, scope.replication_gone(bookie), Some(gone.encode())).await
}

async fn must_be_known(store: &dyn Store, scope: &Scope, bookie: &BookieId) -> Result<Standing, Error> {
    let bookies = registry::bookies(store, scope).await?;
    match bookies.iter().find(|info| info.id == *bookie) {
        Some(info) => Ok(info.standing),
        None => Err(Error::Invalid(format!(
            "there is no bookie {bookie}: 'admin bookie list' names those there are"
        ))),
    }
}

/// The bookie may come back after all.
pub async fn cancel_decommission(store: &dyn Store, scope: &Scope, bookie: &BookieId) -> Result<(), Error> {
    set(store, scope.replication_gone(bookie), None).await
}

/// Ledgers that still name a bookie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remaining {
    /// Closed ones: repair moves them.
    pub closed: Vec<LedgerId>,
    /// Links of logs that are not closed: their owners roll on.
    pub links: Vec<LedgerId>,
    /// Other ledgers that are not closed: they wait for their writers, or for `admin ledger recover`.
    pub open: Vec<LedgerId>,
    /// Those of them that were set aside, and why.
    pub quarantined: Vec<(LedgerId, String)>,
    pub unreadable: Vec<LedgerId>,
}

impl Remaining {
    pub fn is_none(&self) -> bool {
        self.closed.is_empty() && self.links.is_empty() && self.open.is_empty() && self.unreadable.is_empty()
    }
}

pub async fn remaining(cluster: &Cluster, bookie: &BookieId) -> Result<Remaining, Error> {
    let (store, scope) = (&**cluster.ledgers.store(), cluster.ledgers.scope());
    let mut remaining = Remaining::default();
    let mut after = None;
    loop {
        let page = cluster.ledgers.list(after, PAGE).await?;
        remaining.unreadable.extend(page.unreadable.iter().map(|(ledger, _)| *ledger));
        for stored in page.ledgers.iter().filter(|stored| stored.metadata.names(bookie)) {
            match (stored.metadata.is_closed(), stored.metadata.is_log_link()) {
                (true, _) => remaining.closed.push(stored.id),
                (false, true) => remaining.links.push(stored.id),
                (false, false) => remaining.open.push(stored.id),
            }
            if let Some(filed) = read(store, scope, stored.id).await?.filter(|filed| filed.task.quarantined) {
                remaining.quarantined.push((stored.id, filed.task.last_error));
            }
        }
        if !page.more {
            return Ok(remaining);
        }
        after = page.after;
    }
}

/// Forgets a bookie that no ledger names any more: its cookie, and all that was noted of it.
pub async fn finish_decommission(cluster: &Cluster, bookie: &BookieId) -> Result<(), Error> {
    let (store, scope) = (&**cluster.ledgers.store(), cluster.ledgers.scope());
    if must_be_known(store, scope, bookie).await? != Standing::Absent {
        return Err(Error::Invalid(format!("bookie {bookie} is running: stop it first")));
    }
    let left = remaining(cluster, bookie).await?;
    if !left.is_none() {
        let named = [&left.closed, &left.links, &left.open, &left.unreadable].into_iter().flatten();
        let named: Vec<String> = named.take(10).map(LedgerId::to_string).collect();
        return Err(Error::Invalid(format!(
            "ledgers still name bookie {bookie}, or cannot be read: {}: see 'admin replication status'",
            named.join(", ")
        )));
    }
    if let Some((_, version)) = registry::read_cookie(store, scope, bookie).await? {
        registry::remove_cookie(store, scope, bookie, version).await?;
    }
    set(store, scope.drain(bookie), None).await?;
    set(store, scope.replication_gone(bookie), None).await
}

/// Stops auditor and workers everywhere after what they are at, or lets them go on.
pub async fn pause(store: &dyn Store, scope: &Scope, paused: bool) -> Result<(), Error> {
    set(store, scope.replication_paused(), paused.then(|| "".into())).await
}

/// Takes a ledger up again that was set aside. False if nothing is filed for it.
pub async fn retry(store: &dyn Store, scope: &Scope, ledger: LedgerId) -> Result<bool, Error> {
    while let Some(mut filed) = read(store, scope, ledger).await? {
        (filed.task.attempts, filed.task.quarantined) = (0, false);
        if swap(store, scope, ledger, Some(filed.version), Some(&filed.task)).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Makes a key hold `value`, or not be there.
async fn set(store: &dyn Store, key: String, value: Option<bytes::Bytes>) -> Result<(), Error> {
    loop {
        let now = store.get(&key).await?;
        if now.as_ref().map(|now| &now.value) == value.as_ref() {
            return Ok(());
        }
        let compare = match now {
            Some(now) => Compare::Unchanged(key.clone(), now.modified),
            None => Compare::Absent(key.clone()),
        };
        let txn = Txn::default().compare(compare);
        let txn = match &value {
            Some(value) => txn.put(key.clone(), value.clone()),
            None => txn.delete(key.clone()),
        };
        if let TxnOutcome::Done(_) = commit(store, txn).await? {
            return Ok(());
        }
    }
}
