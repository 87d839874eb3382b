//! Closed ledgers that were moved elsewhere: metadata names other bookies, the data may go from here.
//!
//! Repair copies entries to a bookie before metadata names it. So this takes the same lock as repair, looks again
//! while holding it, and looks once more afterwards: if metadata names this bookie after all (the lock was lost in a
//! pause), the ledger is put in limbo, and repair brings it back.

use std::time::Duration;

use metadata::{Error, Lock, Stored, Txn};
use protocol::LedgerId;
use tokio::time::{Instant, sleep};

use super::PAGE;
use crate::service::Core;
use crate::shelf::{Order, Reader};

/// The lease of a lock. Nothing is deleted unless it holds for half as long again.
const LEASE: Duration = Duration::from_secs(30);

pub(super) async fn run(core: &Core) {
    loop {
        sleep(core.settings.over_replicated_every).await;
        match collect(core).await {
            Ok(0) => {}
            Ok(deleted) => {
                tracing::info!(bookie = %core.id, deleted, "ledgers that were moved elsewhere are deleted")
            }
            Err(error) => {
                tracing::warn!(bookie = %core.id, %error, "moved ledgers were not looked for to the end")
            }
        }
    }
}

/// One look at all ledgers here; how many were deleted.
pub(crate) async fn collect(core: &Core) -> Result<usize, Error> {
    let mut deleted = 0;
    for (shelf, reader) in core.placement.readers().enumerate() {
        for ledger in candidates(core, reader).await? {
            deleted += usize::from(remove(core, shelf, ledger).await?);
        }
    }
    if deleted > 0 {
        core.flush_soon();
    }
    Ok(deleted)
}

fn is_elsewhere(core: &Core, stored: &Stored) -> bool {
    stored.metadata.is_closed() && !stored.metadata.names(&core.id)
}

async fn candidates(core: &Core, reader: &Reader) -> Result<Vec<LedgerId>, Error> {
    let Ok(here) = reader.ledgers() else { return Ok(Vec::new()) };
    let here: std::collections::BTreeSet<LedgerId> = here.into_iter().collect();
    let mut found = Vec::new();
    let mut after = here.first().and_then(|first| first.0.checked_sub(1)).filter(|id| *id >= 0).map(LedgerId);
    loop {
        let page = core.ledgers.list(after, PAGE).await?;
        let elsewhere = |stored: &&Stored| here.contains(&stored.id) && is_elsewhere(core, stored);
        found.extend(page.ledgers.iter().filter(elsewhere).map(|stored| stored.id));
        if !page.more || page.after >= here.last().copied() {
            return Ok(found);
        }
        after = page.after;
    }
}

async fn remove(core: &Core, shelf: usize, ledger: LedgerId) -> Result<bool, Error> {
    let (store, key) = (core.ledgers.store(), core.ledgers.scope().replication_lock(ledger));
    let Some(lock) = Lock::take(store, key, core.id.to_string(), LEASE, Txn::default()).await? else {
        return Ok(false);
    };
    let removed = remove_under(core, shelf, ledger, &lock).await;
    lock.free().await;
    removed
}

async fn remove_under(core: &Core, shelf: usize, ledger: LedgerId, lock: &Lock) -> Result<bool, Error> {
    let now = core.ledgers.read(ledger).await?;
    let sure = lock.until().is_some_and(|until| Instant::now() + LEASE / 2 < until);
    if !now.is_some_and(|stored| is_elsewhere(core, &stored)) || !sure {
        return Ok(false);
    }
    if !core.order(shelf, vec![Order::Delete(ledger)]).await {
        return Ok(false);
    }
    core.metrics.gc_over_replicated.add(1);
    if core.ledgers.read(ledger).await?.is_some_and(|stored| stored.metadata.names(&core.id)) {
        tracing::warn!(%ledger, "metadata names this bookie again: limbo until repair has brought the ledger back");
        core.order(shelf, vec![Order::Limbo(ledger)]).await;
    }
    Ok(true)
}
