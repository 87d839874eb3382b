//! Out of limbo.
//!
//! First of all, if data of *any* ledger may be lost: metadata says which ledgers should be here; each of them goes into
//! limbo by itself, and the others are free. (A listing may leave some out: see [`crate::service`]'s doubts.) Then, again and again: a ledger that is closed, and of which every entry
//! that should be here was read from the disk, is whole. What is missing is marked for repair, which copies it here.

use std::sync::atomic::Ordering;
use std::time::Duration;

use metadata::stripe::{Lacks, Share};
use metadata::{Error, LedgerMetadata};
use protocol::bookie::Runs;
use protocol::{EntryId, LedgerId};
use tokio::time::sleep;

use super::{PAGE, repair_mark};
use crate::identity::Claim;
use crate::service::{Core, Hold};
use crate::shelf::{Order, Reader};

const RETRY: Duration = Duration::from_secs(1);
/// How much is read at once when a ledger is checked.
const STEP: u64 = 1 << 20;
/// What a look counts for at least, in bytes read: those in vain must not keep a thread to themselves either.
const MISS_COST: u64 = 128;

/// From "any ledger" to "these ledgers", however long metadata takes. False if the bookie cannot go on.
pub(super) async fn narrow_down(core: &Core, hold: &mut Hold, claim: &mut Claim, epoch: u64) -> bool {
    while core.limbo_all.load(Ordering::Relaxed) {
        match remember(core, hold, claim, epoch).await {
            Ok(()) => {}
            Err(error @ crate::Error::Rival(_)) => {
                super::epoch::fail(core, &error);
                return false;
            }
            Err(error) => {
                tracing::warn!(bookie = %core.id, %error, "metadata does not take note of the loss; trying again");
                sleep(RETRY).await;
                continue;
            }
        }
        match narrow(core).await {
            Ok(marked) => {
                tracing::info!(bookie = %core.id, marked, "ledgers that should be here are in limbo")
            }
            Err(error) => {
                tracing::warn!(bookie = %core.id, %error, "metadata cannot say which ledgers should be here");
                sleep(RETRY).await;
            }
        }
    }
    true
}

/// Notes, durably, that ledgers as old as now may have been lost: for those that the listing leaves out.
async fn remember(core: &Core, hold: &mut Hold, claim: &mut Claim, epoch: u64) -> Result<(), crate::Error> {
    let now = core.ledgers.store().range(&core.ledgers.scope().key("ledgers/"), None, 1).await?.revision;
    hold.lost_until = hold.lost_until.max(now.0);
    claim.advance(&hold.membership(epoch)).await?;
    core.doubts.set(hold.lost_until);
    Ok(())
}

pub(super) async fn run(core: &Core) {
    loop {
        sleep(core.settings.limbo_every).await;
        if let Err(error) = heal(core).await {
            tracing::warn!(bookie = %core.id, %error, "ledgers in limbo were not looked at to the end");
        }
    }
}

async fn narrow(core: &Core) -> Result<usize, Error> {
    let mut marked = 0;
    let mut after = None;
    loop {
        let page = core.ledgers.list(after, PAGE).await?;
        let named =
            page.ledgers.iter().filter(|stored| stored.metadata.names(&core.id)).map(|stored| stored.id);
        // What cannot be read may name this bookie.
        let named: Vec<LedgerId> = named.chain(page.unreadable.iter().map(|(id, _)| *id)).collect();
        marked += mark(core, named).await?;
        if !page.more {
            break;
        }
        after = page.after;
    }
    for (shelf, handle) in core.shelves.iter().enumerate() {
        if handle.doubtful && !core.order(shelf, vec![Order::ClearLimboAll]).await {
            return Err(gone());
        }
    }
    core.limbo_all.store(false, Ordering::Relaxed);
    core.metrics.limbo_all.set(0);
    Ok(marked)
}

async fn mark(core: &Core, named: Vec<LedgerId>) -> Result<usize, Error> {
    let mut orders: Vec<Vec<Order>> = vec![Vec::new(); core.shelves.len()];
    for ledger in named {
        let place = core.placement.find_or_choose(ledger).map_err(|_| gone())?;
        let Some(shelf) = core.shelves.get(place) else { continue };
        // A disk that is as it should be has all that it ever had of the ledger.
        if shelf.doubtful || !core.placement.knows(place, ledger) {
            // Its fence may be among what was lost.
            orders[place].extend([Order::Fence(ledger), Order::Limbo(ledger)]);
        }
    }
    let mut marked = 0;
    for (shelf, orders) in orders.into_iter().enumerate().filter(|(_, orders)| !orders.is_empty()) {
        marked += orders.len() / 2;
        if !core.order(shelf, orders).await {
            return Err(gone());
        }
    }
    Ok(marked)
}

fn gone() -> Error {
    Error::Unavailable("the bookie is stopping, or cannot use its disks".into())
}

/// Looks at each ledger in limbo.
pub(crate) async fn heal(core: &Core) -> Result<(), Error> {
    let mut count = 0;
    for (shelf, reader) in core.placement.readers().enumerate() {
        super::scrub::note(core, shelf, reader.take_damaged()).await;
        for ledger in reader.in_limbo().unwrap_or_default() {
            count += 1;
            if look(core, shelf, reader, ledger).await? {
                count -= 1;
            }
        }
    }
    core.metrics.limbo_ledgers.set(count);
    Ok(())
}

/// Whether the ledger came out of limbo.
async fn look(core: &Core, shelf: usize, reader: &Reader, ledger: LedgerId) -> Result<bool, Error> {
    // Gone from metadata: GC's to delete. Not closed: nobody knows yet what should be here.
    let Some(stored) = core.ledgers.read(ledger).await? else { return Ok(false) };
    let Some(lacks) = lacking(core, reader, &stored.metadata, ledger).await else { return Ok(false) };
    if lacks.is_empty() {
        let healed = core.order(shelf, vec![Order::ClearLimbo(ledger)]).await;
        tracing::info!(%ledger, "all that should be here of the ledger is here: out of limbo");
        return Ok(healed);
    }
    repair_mark::file(core, ledger, lacks).await;
    Ok(false)
}

/// Runs of entries that should be here and cannot be read; `None` if that cannot be said yet.
async fn lacking(
    core: &Core,
    reader: &Reader,
    metadata: &LedgerMetadata,
    ledger: LedgerId,
) -> Option<Vec<(i64, i64)>> {
    if !metadata.is_closed() {
        return None;
    }
    let stored = reader.stored_ids(ledger).ok()?;
    let mut all = Vec::new();
    for share in metadata.shares(&core.id) {
        let unreadable = unreadable(core, reader, ledger, &share, &stored).await;
        all.extend(share.lacking(&stored).and(unreadable).into_ranges());
    }
    Some(all)
}

/// Entries of a share that are stored and cannot be read: each is read, at the pace of the scrub.
async fn unreadable(core: &Core, reader: &Reader, ledger: LedgerId, share: &Share, stored: &Runs) -> Lacks {
    let mut lacks = Lacks::new(share.stripe.clone());
    let mut read = 0;
    for (first, last) in stored.from(share.first).take_while(|(first, _)| *first <= share.last) {
        let mut entry = share.stripe.at_or_after(first.max(share.first));
        let last = last.min(share.last);
        while entry <= last {
            let count = u32::try_from(last.0 - entry.0 + 1).unwrap_or(u32::MAX);
            let found = reader.read_batch(ledger, entry, count, STEP).unwrap_or_default();
            if found.is_empty() {
                lacks.add(entry, entry);
            }
            read += found.iter().map(|body| body.len() as u64).sum::<u64>().max(MISS_COST);
            entry = share.stripe.at_or_after(EntryId(entry.0 + found.len().max(1) as i64));
            if read >= STEP {
                sleep(Duration::from_secs(1).mul_f64(read as f64 / core.settings.scrub_rate as f64)).await;
                read = 0;
            }
        }
    }
    lacks
}
