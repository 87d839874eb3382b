//! Reading ledgers as a client does, and telling the judge what came.

use std::sync::Arc;
use std::time::Duration;

use ledger::layout::Layout;
use ledger::{Cluster, Error, LedgerReader};
use net::ask;
use protocol::bookie::{Answer, ReadOptions, Request};
use protocol::{EntryId, LedgerId};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::judge::Value;
use crate::world::{Peer, World};

/// Reads the last entries of a ledger that is confirmed so far; the reader remembers what it learnt.
pub async fn read_confirmed(world: &World, peer: &Peer, reader: &LedgerReader) -> Result<(), Error> {
    let ledger = reader.ledger();
    let limit = reader.last_confirmed().await?;
    world.judge.hear(|model| model.confirmed(peer.process.id, ledger, limit));
    let first = world.judge.model().wire.first(ledger).max(EntryId(limit.0 - 30));
    read_range(world, reader, first, limit).await
}

async fn read_range(
    world: &World,
    reader: &LedgerReader,
    first: EntryId,
    last: EntryId,
) -> Result<(), Error> {
    let mut at = first;
    while at <= last {
        let entries = reader.read(at, last, 20_000).await?;
        for read in entries {
            if read.entry != at {
                let text =
                    format!("ledger {}: asked for {at}, a reader gave {}", reader.ledger(), read.entry);
                world.judge.hear(|model| model.violation("I3", text));
            }
            world.judge.hear(|model| model.was_read(reader.ledger(), read.entry, Value::of(&read.payload)));
            at = read.entry.next();
        }
    }
    Ok(())
}

/// Tries, a second apart, until what heals has healed: what the metadata store was asked in the storm may take 30 s more.
const TRIES: usize = 60;

/// Reads a closed ledger whole, from bookies that have healed.
pub async fn read_back(world: &World, cluster: &Cluster, ledger: LedgerId) -> Result<(), String> {
    let mut failure = String::new();
    for _ in 0..TRIES {
        match read_closed(world, cluster, ledger).await {
            Ok(()) | Err(Error::NoSuchLedger(_)) => return Ok(()),
            Err(error) => failure = error.to_string(),
        }
        sleep(Duration::from_secs(1)).await;
    }
    world.judge.hear(|model| {
        let last = model.ledgers.acknowledged(ledger);
        model.lost(ledger, last, &failure);
    });
    Ok(())
}

async fn read_closed(world: &World, cluster: &Cluster, ledger: LedgerId) -> Result<(), Error> {
    let reader = LedgerReader::open(cluster, ledger).await?;
    let Some(end) = reader.closed() else { return Ok(()) };
    let first = world.judge.model().wire.first(ledger);
    read_range(world, &reader, first, end.last).await?;
    let served = world.judge.model().ledgers.served(ledger);
    if served > end.last {
        world.judge.hear(|model| model.lost(ledger, served, "the ledger ends before it"));
    }
    Ok(())
}

/// Asks every recorded bookie of a closed ledger for every entry. Whoever acknowledged one and was never damaged
/// returns it; with `repair`, Qa return it whatever was damaged.
pub async fn count_copies(world: &World, cluster: &Cluster, ledger: LedgerId, repair: bool) {
    let mut failure = None;
    for _ in 0..if repair { 200 } else { TRIES } {
        failure = match missing_copy(world, cluster, ledger, repair).await {
            Ok(missing) => missing,
            Err(Error::NoSuchLedger(_)) => None,
            Err(error) => Some((EntryId::FIRST, error.to_string())),
        };
        if failure.is_none() {
            return;
        }
        sleep(Duration::from_secs(1)).await;
    }
    if let Some((entry, why)) = failure {
        world.judge.hear(|model| model.lost(ledger, entry, &why));
    }
}

/// How many entries are asked for at once.
const AT_ONCE: usize = 32;

async fn missing_copy(
    world: &World,
    cluster: &Cluster,
    ledger: LedgerId,
    repair: bool,
) -> Result<Option<(EntryId, String)>, Error> {
    let layout = Arc::new(Layout::of(&cluster.stored(ledger).await?)?);
    let Some(last) = world.judge.model().metadata.closed_at(ledger) else { return Ok(None) };
    let first = world.judge.model().wire.first(ledger);
    let entries: Vec<EntryId> = (first.0..=last.0).map(EntryId).collect();
    for some in entries.chunks(AT_ONCE) {
        let mut asked = JoinSet::new();
        for entry in some.iter().copied() {
            let (world, cluster, layout) = (world.clone(), cluster.clone(), layout.clone());
            asked.spawn(async move { missing_copy_of(&world, &cluster, &layout, entry, repair).await });
        }
        while let Some(missing) = asked.join_next().await {
            if let Ok(Some(missing)) = missing {
                return Ok(Some(missing));
            }
        }
    }
    Ok(None)
}

async fn missing_copy_of(
    world: &World,
    cluster: &Cluster,
    layout: &Layout,
    entry: EntryId,
    repair: bool,
) -> Option<(EntryId, String)> {
    let mut copies = 0;
    for bookie in layout.replicas(entry) {
        let read = Request::Read { ledger: layout.ledger, entry, options: ReadOptions::default() };
        let answer = ask(&*cluster.bookies, bookie, read).await;
        let whole = matches!(&answer, Ok(Answer::Entry { body, .. })
            if layout.digest.open(layout.ledger, entry, body).is_ok());
        copies += usize::from(whole);
        let model = world.judge.model();
        let bound =
            model.wire.has_acknowledged(bookie, layout.ledger, entry) && !model.wire.is_damaged(bookie);
        if bound && !whole {
            return Some((
                entry,
                format!("{bookie}, which was never damaged, does not return it: {answer:?}"),
            ));
        }
    }
    let few = repair && copies < layout.quorums.ack();
    few.then(|| (entry, format!("{copies} of its bookies return it, after all there was to repair")))
}
