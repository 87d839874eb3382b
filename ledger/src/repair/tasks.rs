//! Tasks in the metadata store: filed, locked, done.

use std::sync::Arc;
use std::time::Duration;

use metadata::schema::{Damage, LedgerTask};
use metadata::{Compare, Lock, Revision, Scope, Store, Txn, TxnOutcome, commit};
use protocol::LedgerId;

use crate::Error;

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

/// Takes the ledger's lock: nobody else repairs or deletes it meanwhile. `None` while another one has it.
pub async fn lock(
    store: &Arc<dyn Store>,
    scope: &Scope,
    ledger: LedgerId,
    name: &str,
    ttl: Duration,
) -> Result<Option<Lock>, Error> {
    let key = scope.replication_lock(ledger);
    Ok(Lock::take(store, key, name.to_owned(), ttl, Txn::default()).await?)
}
