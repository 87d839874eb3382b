//! Reading ledgers as a client does, and telling the judge what came.

use std::time::Duration;

use bytes::Bytes;
use ledger::layout::Layout;
use ledger::{Cluster, Error};
use metadata::State;
use net::ask;
use protocol::bookie::{Answer, ReadOptions, Request};
use protocol::{EntryId, LedgerId};
use tokio::time::sleep;

use crate::judge::Value;
use crate::world::{Peer, World};

/// Reads a ledger up to what a client may know to be confirmed; `known` is what it has learnt before.
pub async fn read_confirmed(
    world: &World,
    peer: &Peer,
    cluster: &Cluster,
    ledger: LedgerId,
    known: &mut EntryId,
) -> Result<(), Error> {
    let stored = cluster.stored(ledger).await?;
    let layout = Layout::of(&stored)?;
    let limit = match stored.metadata.state {
        State::Closed { last, .. } => last,
        _ => confirmed(cluster, &layout).await.max(*known),
    };
    *known = limit;
    world.judge.hear(|model| model.confirmed(peer.process.id, ledger, limit));
    let first = world.judge.model().wire.first(ledger);
    for entry in (first.0..=limit.0).rev().take(30).map(EntryId) {
        if let Some(payload) = read(cluster, &layout, entry).await {
            world.judge.hear(|model| model.was_read(ledger, entry, Value::of(&payload)));
        }
    }
    Ok(())
}

/// The highest LAC that any bookie of the last segment knows.
async fn confirmed(cluster: &Cluster, layout: &Layout) -> EntryId {
    let mut highest = EntryId(layout.last_segment().first.0 - 1);
    for bookie in &layout.last_segment().ensemble {
        let last = read_request(layout.ledger, EntryId::NONE);
        if let Ok(Answer::Entry { body, .. }) = ask(&*cluster.bookies, bookie, last).await
            && let Ok((header, _)) = layout.digest.open_any(&body)
        {
            highest = highest.max(header.lac);
        }
    }
    highest
}

fn read_request(ledger: LedgerId, entry: EntryId) -> Request {
    Request::Read { ledger, entry, options: ReadOptions::default() }
}

/// The payload, from the first replica that has it.
async fn read(cluster: &Cluster, layout: &Layout, entry: EntryId) -> Option<Bytes> {
    for bookie in layout.replicas(entry) {
        let reply = ask(&*cluster.bookies, bookie, read_request(layout.ledger, entry)).await;
        if let Ok(Answer::Entry { body, .. }) = reply
            && let Ok((_, payload)) = layout.digest.open(layout.ledger, entry, &body)
        {
            return Some(payload);
        }
    }
    None
}

/// Reads a closed ledger whole, from bookies that have healed.
pub async fn read_back(world: &World, cluster: &Cluster, ledger: LedgerId) -> Result<(), String> {
    let stored = match cluster.stored(ledger).await {
        Ok(stored) => stored,
        Err(Error::NoSuchLedger(_)) => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    let layout = Layout::of(&stored).map_err(|error| error.to_string())?;
    let State::Closed { last, .. } = stored.metadata.state else { return Ok(()) };
    let first = world.judge.model().wire.first(ledger);
    for entry in (first.0..=last.0).map(EntryId) {
        let mut found = None;
        for _ in 0..20 {
            found = read(cluster, &layout, entry).await;
            if found.is_some() {
                break;
            }
            sleep(Duration::from_secs(1)).await;
        }
        match found {
            Some(payload) => world.judge.hear(|model| model.was_read(ledger, entry, Value::of(&payload))),
            None => {
                world.judge.hear(|model| model.lost(ledger, entry, "no bookie of its write set returns it"))
            }
        }
    }
    let served = world.judge.model().ledgers.served(ledger);
    if served > last {
        world.judge.hear(|model| model.lost(ledger, served, "the ledger ends before it"));
    }
    Ok(())
}
