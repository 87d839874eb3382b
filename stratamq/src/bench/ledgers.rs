//! The ledgers of a run: made, closed, deleted.

use std::collections::BTreeSet;

use ledger::layout::Layout;
use ledger::quorum::{Members, Quorums};
use ledger::writer::{Patience, Target, Writer};
use metadata::schema::{LedgerMetadata, Origin, State};
use protocol::{EntryId, LedgerId};

use crate::cluster::Cluster;
use crate::error::{Error, Outcome};

/// A ledger of a run is marked as such, whoever finds it.
pub fn plan(quorums: Quorums) -> ledger::Plan {
    let custom = Origin { vb: String::new(), kind: "bench".into(), epoch: 0 }.to_custom();
    ledger::Plan { custom, ..ledger::Plan::new(quorums) }
}

/// Creates ledgers on full ensembles: with a member away the figures would be those of another quorum.
pub async fn open(cluster: &Cluster, quorums: Quorums, count: usize) -> Outcome<Vec<Writer>> {
    let (plan, client) = (plan(quorums), &cluster.client);
    let mut writers = Vec::with_capacity(count);
    for _ in 0..count {
        let failed = |error| Error::cannot("create a ledger", error);
        let placed = client.place(quorums, &BTreeSet::new()).await.map_err(failed)?;
        if placed.absent != Members::NONE {
            return Err(Error::Failed(format!(
                "fewer than {} bookies are writable: `stratamq admin --metadata {} bookie list` shows them",
                quorums.ensemble(),
                cluster.uri
            )));
        }
        let described = plan.metadata(placed.ensemble.clone(), client.random());
        let stored = client
            .ledgers
            .create(described)
            .await
            .map_err(|error| Error::cannot("create a ledger", error))?;
        let layout = Layout::of(&stored).map_err(failed)?;
        let target = Target {
            ledger: stored.id,
            quorums,
            ensemble: placed.ensemble,
            absent: Members::NONE,
            key: layout.key,
            digest: layout.digest,
            first: EntryId::FIRST,
            length: 0,
        };
        writers.push(Writer::new(target, Patience::default()));
    }
    Ok(writers)
}

pub async fn close(cluster: &Cluster, writers: &[Writer]) -> Outcome {
    for writer in writers {
        let end = writer.acknowledged();
        let id = writer.target().ledger;
        let closed = |now: &LedgerMetadata| {
            let state = State::Closed { last: end.last, length: end.length };
            (now.state == State::Open).then(|| LedgerMetadata { state, ..now.clone() })
        };
        let failed = |error| Error::cannot(format!("close ledger {id}"), error);
        cluster.ledgers().update(id, closed).await.map_err(failed)?;
    }
    Ok(())
}

pub async fn delete(cluster: &Cluster, ids: &[LedgerId]) -> Outcome {
    for id in ids {
        let failed = |error| Error::cannot(format!("delete ledger {id}"), error);
        cluster.ledgers().delete(*id, None).await.map_err(failed)?;
    }
    Ok(())
}
