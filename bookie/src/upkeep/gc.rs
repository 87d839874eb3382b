//! Ledgers that are gone from metadata go from here.
//!
//! Which ledgers are here is read first, metadata afterwards: a ledger that comes meanwhile is not looked for. A list
//! that is incomplete deletes nothing: each candidate is read again by itself before it goes (BK#870).

use std::collections::BTreeSet;

use metadata::Error;
use planted::Bug;
use protocol::LedgerId;
use tokio::time::{Instant, sleep_until};

use super::PAGE;
use crate::service::Core;
use crate::shelf::Order;

/// Ledgers here that are compared at once: a bound for memory.
const AT_ONCE: usize = 10_000;
/// While there is no room, what was given up is looked for so many times as often.
const HASTE: u32 = 10;

pub(super) async fn run(core: &Core) {
    let mut last = Instant::now();
    loop {
        let room = core.room_changed.notified();
        let every = core.settings.gc_every;
        let due = last + if core.is_short() { every / HASTE } else { every };
        tokio::select! {
            biased;
            () = room => continue,
            () = sleep_until(due) => last = Instant::now(),
        }
        match collect(core).await {
            Ok(0) => core.metrics.gc_runs.add(1),
            Ok(deleted) => {
                core.metrics.gc_runs.add(1);
                tracing::info!(bookie = %core.id, deleted, "ledgers that metadata does not know any more are deleted");
            }
            Err(error) => {
                core.metrics.gc_failures.add(1);
                tracing::warn!(bookie = %core.id, %error, "deleted ledgers were not looked for to the end");
            }
        }
    }
}

/// One look at all ledgers here; how many were deleted.
pub(crate) async fn collect(core: &Core) -> Result<usize, Error> {
    let mut deleted = 0;
    for (shelf, reader) in core.placement.readers().enumerate() {
        let Ok(here) = reader.ledgers() else { continue };
        for some in here.chunks(AT_ONCE) {
            for ledger in absent(core, some).await? {
                if is_gone(core, ledger).await? && core.order(shelf, vec![Order::Delete(ledger)]).await {
                    core.metrics.gc_deleted.add(1);
                    deleted += 1;
                }
            }
        }
    }
    if deleted > 0 {
        core.flush_soon();
    }
    Ok(deleted)
}

/// Those of `here`, which ascend, that metadata does not list.
async fn absent(core: &Core, here: &[LedgerId]) -> Result<BTreeSet<LedgerId>, Error> {
    let mut absent: BTreeSet<LedgerId> = here.iter().copied().collect();
    // Nothing below the first that is here needs to be listed.
    let mut after =
        absent.first().and_then(|first| first.0.checked_sub(1)).filter(|id| *id >= 0).map(LedgerId);
    while !absent.is_empty() {
        let page = core.ledgers.list(after, PAGE).await?;
        for stored in &page.ledgers {
            absent.remove(&stored.id);
        }
        for (unreadable, _) in &page.unreadable {
            absent.remove(unreadable);
        }
        if !page.more || page.after >= here.last().copied() {
            break;
        }
        after = page.after;
    }
    Ok(absent)
}

/// The second look: one linearizable read of this ledger alone.
async fn is_gone(core: &Core, ledger: LedgerId) -> Result<bool, Error> {
    if planted::on(Bug::GcTrustsListing) {
        return Ok(true);
    }
    match core.ledgers.read(ledger).await {
        Ok(found) => Ok(found.is_none()),
        // It is there, and cannot be read: certainly not a reason to delete it.
        Err(Error::Corrupt(why)) => {
            tracing::warn!(%ledger, why, "the metadata of a ledger here cannot be read");
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
