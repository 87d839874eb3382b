//! A writer that never learns: it goes on sending adds to a ledger that is fenced, closed or deleted.

use std::sync::Arc;

use ledger::layout::Layout;
use metadata::Stored;
use net::ask;
use protocol::bookie::{AddOptions, Answer, ReadOptions, Request};
use protocol::entry::Header;
use protocol::{EntryId, LedgerId};
use tokio::time::sleep;

use super::ledgers::LedgerLoad;
use crate::world::{Peer, World};

/// What a dead writer left: the next entry it would send.
pub struct Remains {
    pub ledger: LedgerId,
    pub stored: Stored,
    pub next: EntryId,
    pub confirmed: EntryId,
    pub length: i64,
}

/// Sends the next entry to one bookie after the other, and asks for the first one, until the run ends. The judge knows
/// which of them may not take it.
pub async fn haunt(load: Arc<LedgerLoad>, remains: Remains) {
    let peer = load.clients.join(&load.world, "zombie");
    for _ in 0..load.chance.within(1..8) {
        sleep(load.chance.millis(200..3000)).await;
        insist(&load.world, &peer, &remains).await;
    }
    load.clients.leave(&peer);
}

/// Sends the next entry once to each of its bookies; how many took it.
pub async fn insist(world: &World, peer: &Peer, remains: &Remains) -> usize {
    let Ok(layout) = Layout::of(&remains.stored) else { return 0 };
    let payload = b"from beyond";
    let length = remains.length + payload.len() as i64;
    let header = Header { ledger: remains.ledger, entry: remains.next, lac: remains.confirmed, length };
    let body = layout.digest.encode(&header, payload);
    let mut taken = 0;
    for bookie in layout.replicas(remains.next) {
        let (ledger, entry, key) = (remains.ledger, remains.next, layout.key);
        let first = world.judge.model().wire.first(ledger);
        let read = Request::Read { ledger, entry: first, options: ReadOptions::default() };
        let _ = ask(&*peer.bookies, bookie, read).await;
        let body = body.clone().into();
        let add = Request::Add { ledger, entry, key, body, options: AddOptions::default() };
        taken += usize::from(ask(&*peer.bookies, bookie, add).await == Ok(Answer::Added));
    }
    taken
}
