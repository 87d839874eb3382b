//! Out of limbo.
//!
//! First of all, if data of *any* ledger may be lost: metadata says which ledgers should be here; each of them goes into
//! limbo by itself, and the others are free. (A listing may leave some out: see [`crate::service`]'s doubts.) Then, again and again: a ledger that is closed, and of which every entry
//! that should be here was read from the disk, is whole. What is missing is marked for repair, which copies it here.

use std::sync::atomic::Ordering;
use std::time::Duration;

use metadata::{Error, LedgerMetadata};
use protocol::{BookieId, EntryId, LedgerId};
use tokio::time::sleep;

use super::{PAGE, repair_mark};
use crate::identity::Claim;
use crate::service::{Core, Hold};
use crate::shelf::{Order, Reader};

const RETRY: Duration = Duration::from_secs(1);
/// How much is read at once when a ledger is checked.
const STEP: u64 = 1 << 20;
/// What looking for an entry in vain counts for, in bytes read: it must not keep a thread to itself either.
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
        let (Some(shelf), Some(reader)) = (core.shelves.get(place), core.placement.reader(place)) else {
            continue;
        };
        // A disk that is as it should be has all that it ever had of the ledger.
        if shelf.doubtful || !reader.knows(ledger).unwrap_or(false) {
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
    let mut lacks = Runs::default();
    let mut read = 0;
    for entry in expected(metadata, &core.id) {
        match reader.read_batch(ledger, entry, 1, STEP) {
            Ok(found) => read += found.iter().map(|body| body.len() as u64).sum::<u64>(),
            Err(_) => {
                lacks.add(entry);
                read += MISS_COST;
            }
        }
        if read >= STEP {
            sleep(Duration::from_secs(1).mul_f64(read as f64 / core.settings.scrub_rate as f64)).await;
            read = 0;
        }
    }
    Some(lacks.0)
}

/// The entries of a closed ledger that `bookie` should have, in order.
fn expected<'a>(metadata: &'a LedgerMetadata, bookie: &'a BookieId) -> impl Iterator<Item = EntryId> + 'a {
    metadata.segments.iter().enumerate().flat_map(move |(index, segment)| {
        let last = metadata.segment_end(index).unwrap_or(EntryId::NONE);
        let size = segment.ensemble.len() as u64;
        let places: Vec<u64> =
            (0..size).filter(|i| segment.ensemble.get(*i as usize) == Some(bookie)).collect();
        let quorum = u64::from(metadata.write_quorum);
        let entries = segment.first.0..=if places.is_empty() { EntryId::NONE.0 } else { last.0 };
        let mine = move |entry: &i64| {
            let first = *entry as u64 % size;
            places.iter().any(|place| (place + size - first) % size < quorum)
        };
        entries.filter(mine).map(EntryId)
    })
}

#[derive(Default)]
struct Runs(Vec<(i64, i64)>);

impl Runs {
    fn add(&mut self, entry: EntryId) {
        match self.0.last_mut() {
            Some((_, last)) if *last + 1 == entry.0 => *last = entry.0,
            _ => self.0.push((entry.0, entry.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metadata::{Segment, State};
    use protocol::entry::DigestType;

    #[test]
    fn the_entries_expected_of_a_bookie_follow_its_places() {
        let id = |name: &str| -> BookieId { name.parse().unwrap_or_else(|error| unreachable!("{error}")) };
        let [a, b, c, d] = ["a:1", "b:1", "c:1", "d:1"].map(id);
        let segment = |first, ensemble: [&BookieId; 3]| Segment {
            first: EntryId(first),
            ensemble: ensemble.into_iter().cloned().collect(),
        };
        let metadata = LedgerMetadata {
            ensemble_size: 3,
            write_quorum: 2,
            ack_quorum: 1,
            state: State::Closed { last: EntryId(8), length: 9 },
            segments: vec![segment(0, [&a, &b, &c]), segment(6, [&a, &d, &c])],
            digest: DigestType::Crc32c,
            password: Default::default(),
            created_ms: None,
            custom: Default::default(),
            token: 0,
        };
        let of = |bookie| expected(&metadata, bookie).map(|entry| entry.0).collect::<Vec<_>>();
        assert_eq!(of(&a), [0, 2, 3, 5, 6, 8]);
        assert_eq!(of(&b), [0, 1, 3, 4]);
        assert_eq!(of(&d), [6, 7]);
    }

    #[test]
    fn neighbours_make_one_run() {
        let mut runs = Runs::default();
        [1, 2, 3, 7, 9, 10].into_iter().for_each(|entry| runs.add(EntryId(entry)));
        assert_eq!(runs.0, [(1, 3), (7, 7), (9, 10)]);
    }
}
