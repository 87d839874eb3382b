//! Tasks in the metadata store: filed, locked, done.

use std::sync::Arc;
use std::time::Duration;

use metadata::schema::{Damage, LedgerTask};
use metadata::{
    Compare, Error as StoreError, KeyValue, LeaseId, Revision, Scope, Store, Txn, TxnOutcome, commit,
};
use protocol::LedgerId;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::Error;

const PAGE: usize = 500;

/// All keys below `prefix`.
pub(super) async fn all_keys(store: &dyn Store, prefix: &str) -> Result<Vec<KeyValue>, Error> {
    let mut all: Vec<KeyValue> = Vec::new();
    loop {
        let page = store.range(prefix, all.last().map(|last| last.key.as_str()), PAGE).await?;
        let empty = page.entries.is_empty();
        all.extend(page.entries);
        if !page.more || empty {
            return Ok(all);
        }
    }
}

/// A task as it is stored.
#[derive(Clone, Debug)]
pub(super) struct Filed {
    pub ledger: LedgerId,
    pub task: LedgerTask,
    pub version: Revision,
}

pub(super) async fn read(store: &dyn Store, scope: &Scope, ledger: LedgerId) -> Result<Option<Filed>, Error> {
    let Some(found) = store.get(&scope.replication_task(ledger)).await? else { return Ok(None) };
    Ok(Some(Filed { ledger, task: LedgerTask::decode(ledger, &found.value)?, version: found.modified }))
}

/// Adds `damage` to what is filed for a ledger. New damage gives a ledger that was set aside another chance.
pub async fn file(
    store: &dyn Store,
    scope: &Scope,
    ledger: LedgerId,
    damage: &[Damage],
) -> Result<(), Error> {
    loop {
        let now = read(store, scope, ledger).await?;
        let mut task = now.as_ref().map_or_else(LedgerTask::default, |now| now.task.clone());
        let new: Vec<Damage> = damage.iter().filter(|d| !task.damage.contains(d)).cloned().collect();
        if new.is_empty() {
            return Ok(());
        }
        task.damage.extend(new);
        (task.attempts, task.quarantined) = (0, false);
        if swap(store, scope, ledger, now.map(|now| now.version), Some(&task)).await? {
            return Ok(());
        }
    }
}

/// Changes a task, or removes it, if it is still what it was at `version`.
pub(super) async fn swap(
    store: &dyn Store,
    scope: &Scope,
    ledger: LedgerId,
    version: Option<Revision>,
    task: Option<&LedgerTask>,
) -> Result<bool, Error> {
    let key = scope.replication_task(ledger);
    let compare = match version {
        Some(version) => Compare::Unchanged(key.clone(), version),
        None => Compare::Absent(key.clone()),
    };
    let txn = Txn::default().compare(compare);
    let txn = match task {
        Some(task) => txn.put(key, task.encode()),
        None => txn.delete(key),
    };
    Ok(matches!(commit(store, txn).await?, TxnOutcome::Done(_)))
}

/// A ledger that nobody else repairs or deletes meanwhile. Dropped without [`Lock::free`], it ends with its lease.
pub struct Lock {
    store: Arc<dyn Store>,
    key: String,
    at: Revision,
    lease: LeaseId,
    lost: watch::Receiver<bool>,
    renewing: JoinHandle<()>,
}

impl Lock {
    /// None while another one has it.
    pub async fn take(
        store: &Arc<dyn Store>,
        scope: &Scope,
        ledger: LedgerId,
        name: &str,
        ttl: Duration,
    ) -> Result<Option<Lock>, Error> {
        let key = scope.replication_lock(ledger);
        if store.get(&key).await?.is_some() {
            return Ok(None);
        }
        let until = Instant::now() + ttl;
        let lease = store.grant(ttl).await?;
        let txn = Txn::default().compare(Compare::Absent(key.clone())).put_leased(
            key.clone(),
            name.to_owned(),
            lease,
        );
        let at = match commit(&**store, txn).await? {
            TxnOutcome::Done(at) => at,
            TxnOutcome::Conflict(_) => {
                store.revoke(lease).await?;
                return Ok(None);
            }
        };
        let (tell, lost) = watch::channel(false);
        let renewing = tokio::spawn(renew(store.clone(), lease, ttl, until, tell));
        Ok(Some(Lock { store: store.clone(), key, at, lease, lost, renewing }))
    }

    /// Makes a transaction conflict once the lock is another's.
    pub fn guard(&self) -> Compare {
        Compare::Unchanged(self.key.clone(), self.at)
    }

    /// Waits until the lock may be another's.
    pub async fn lost(&self) {
        let mut lost = self.lost.clone();
        let _ = lost.wait_for(|lost| *lost).await;
    }

    pub async fn free(self) {
        self.renewing.abort();
        if let Err(error) = self.store.revoke(self.lease).await {
            tracing::debug!(%error, "a lock on a ledger could not be freed; it ends with its lease");
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

async fn renew(
    store: Arc<dyn Store>,
    lease: LeaseId,
    ttl: Duration,
    mut until: Instant,
    tell: watch::Sender<bool>,
) {
    loop {
        sleep(ttl / 4).await;
        let sent = Instant::now();
        match store.renew(lease).await {
            Ok(()) => until = sent + ttl,
            Err(StoreError::LeaseGone) => break,
            Err(_) if Instant::now() >= until => break,
            Err(_) => {}
        }
    }
    let _ = tell.send(true);
}
