//! Tells those who repair that this bookie lacks entries.

use metadata::schema::{LedgerTask, TaskReason};
use metadata::{Compare, Txn, commit};
use protocol::LedgerId;

use crate::service::Core;

/// Files a task, unless there is one for the ledger: repair looks at all of a ledger, whatever brought it there.
pub(super) async fn file(core: &Core, ledger: LedgerId, lacks: Vec<(i64, i64)>) {
    let key = core.ledgers.scope().replication_task(ledger);
    let task = LedgerTask::of(&core.id, TaskReason::Missing, lacks);
    let txn = Txn::default().compare(Compare::Absent(key.clone())).put(key, task.encode());
    if let Err(error) = commit(&**core.ledgers.store(), txn).await {
        tracing::warn!(%ledger, %error, "the ledger was not marked for repair; the next look at limbo does it");
    }
}
