//! Recovery with a real cluster: the metadata changes before and after, and the requests in between.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use metadata::ledgers::{Swapped, Updated};
use metadata::{LedgerMetadata, State, Stored};
use net::Inbox;
use protocol::{BookieId, LedgerId};
use tokio::time::timeout;

use super::{Ask, Outcome, Purpose, Recovery, Step};
use crate::Error;
use crate::cluster::Cluster;
use crate::layout::Layout;

/// If nothing at all is answered for so long, recovery gives up. The transport answers earlier than that.
const SILENCE: Duration = Duration::from_secs(40);

/// Closes a ledger, whoever writes it, and returns its metadata; a closed one is returned as it is. May be run by
/// several at once, and again after a failure or a crash at any point.
pub async fn recover(cluster: &Cluster, ledger: LedgerId) -> Result<Stored, Error> {
    let fence = |metadata: &LedgerMetadata| {
        (!metadata.is_closed()).then(|| LedgerMetadata { state: State::InRecovery, ..metadata.clone() })
    };
    let begun = match cluster.ledgers.update(ledger, fence).await? {
        Updated::Declined(closed) => return Ok(closed),
        Updated::Deleted => return Err(Error::NoSuchLedger(ledger)),
        Updated::Done(stored) => stored,
    };
    tracing::info!(%ledger, "recovering");
    let outcome = run(cluster, &begun).await?;
    close(cluster, begun, outcome).await
}

/// Runs the core until it is done.
async fn run(cluster: &Cluster, begun: &Stored) -> Result<Outcome, Error> {
    let inbox = Inbox::new();
    let mut asked: BTreeMap<u64, Purpose> = BTreeMap::new();
    let mut next_token = 0;
    let mut failed = BTreeSet::new();
    let mut out = Vec::new();
    let layout = Layout::of(begun)?;
    let quorums = layout.quorums;
    let mut recovery = Recovery::new(layout, &mut out);
    loop {
        for Ask { purpose, bookie, request } in out.drain(..) {
            asked.insert(next_token, purpose);
            cluster.bookies.send(&bookie, request, inbox.expect(next_token));
            next_token += 1;
        }
        match recovery.step() {
            Step::Done(outcome) => return Ok(outcome),
            Step::Failed(error) => return Err(error),
            Step::Replacement { index, current } => {
                failed.extend(current.get(index).cloned());
                let other = cluster.replacement(quorums, &current, index, &failed).await?;
                tell_replacement(begun.id, current.get(index), other.as_ref());
                recovery.replace(index, other, &mut out);
                continue;
            }
            Step::Replies => {}
        }
        let Ok(replies) = timeout(SILENCE, inbox.take()).await else {
            let silent = format!("no bookie of ledger {} answers; its recovery can be tried again", begun.id);
            return Err(Error::Unavailable(silent));
        };
        for (token, reply) in replies {
            if let Some(purpose) = asked.remove(&token) {
                recovery.answered(purpose, reply, &mut out);
            }
        }
    }
}

fn tell_replacement(ledger: LedgerId, failed: Option<&BookieId>, other: Option<&BookieId>) {
    let name = |bookie: Option<&BookieId>| bookie.map_or("none", BookieId::as_str).to_owned();
    tracing::info!(%ledger, failed = name(failed), other = name(other), "recovery writes to another bookie");
}

/// R9: the first to close the ledger decides; everybody else adopts what it decided.
async fn close(cluster: &Cluster, begun: Stored, outcome: Outcome) -> Result<Stored, Error> {
    let Outcome { end, segments } = outcome;
    let mut now = begun.clone();
    loop {
        if now.metadata.is_closed() {
            return Ok(now);
        }
        if now.metadata != begun.metadata {
            return Err(Error::Unavailable(format!(
                "the metadata of ledger {} changed while it was recovered; try again",
                begun.id
            )));
        }
        let state = State::Closed { last: end.last, length: end.length };
        let closed = LedgerMetadata { state, segments: segments.clone(), ..begun.metadata.clone() };
        match cluster.ledgers.replace(begun.id, now.version, closed).await? {
            Swapped::Done(stored) => {
                tracing::info!(ledger = %stored.id, last = %end.last, length = end.length, "recovered and closed");
                return Ok(stored);
            }
            Swapped::Conflict(None) => return Err(Error::NoSuchLedger(begun.id)),
            Swapped::Conflict(Some(other)) => now = other,
        }
    }
}
