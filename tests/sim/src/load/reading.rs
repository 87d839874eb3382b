//! Reading ledgers as a client does, and telling the judge what came.

use std::time::Duration;

use ledger::layout::Layout;
use ledger::{Cluster, Error, LedgerReader};
use net::ask;
use protocol::bookie::{Answer, ReadOptions, Request};
use protocol::{EntryId, LedgerId};
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

/// Reads a closed ledger whole, from bookies that have healed.
pub async fn read_back(world: &World, cluster: &Cluster, ledger: LedgerId) -> Result<(), String> {
    let mut failure = String::new();
    for _ in 0..20 {
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

/// How many of the recorded replicas return an entry.
pub async fn copies(cluster: &Cluster, layout: &Layout, entry: EntryId) -> usize {
    let mut copies = 0;
    for bookie in layout.replicas(entry) {
        let options = ReadOptions::default();
        let read = Request::Read { ledger: layout.ledger, entry, options };
        if let Ok(Answer::Entry { body, .. }) = ask(&*cluster.bookies, bookie, read).await {
            copies += usize::from(layout.digest.open(layout.ledger, entry, &body).is_ok());
        }
    }
    copies
}
