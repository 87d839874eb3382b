//! Who plays which part at the moment: faults choose their victims by it.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use metadata::election;
use protocol::{BookieId, LedgerId};
use tokio::time::{Instant, sleep};

use crate::access;
use crate::cluster::Cluster;

/// The office that bookies stand for: who holds it audits.
pub const AUDITOR: &str = "auditor";

/// The ledger that a log's owner writes now.
pub async fn open_ledger(cluster: &Cluster, log: &str) -> Result<LedgerId> {
    let links = access::links(&cluster.uri(), log).await?;
    Ok(links.last().context("the log has no ledger")?.ledger)
}

/// The bookies that the log's owner writes to now.
pub async fn open_ensemble(cluster: &Cluster, log: &str) -> Result<Vec<BookieId>> {
    let ledger = open_ledger(cluster, log).await?;
    let stored = cluster.ledgers().read(ledger).await?.context("the open ledger has no metadata")?;
    Ok(stored.metadata.segments.last().context("the open ledger has no ensemble")?.ensemble.clone())
}

pub async fn member_of_open_ensemble(cluster: &Cluster, log: &str) -> Result<BookieId> {
    open_ensemble(cluster, log).await?.into_iter().next().context("an empty ensemble")
}

/// Fails unless the log goes on in another ledger than `before`, one without `victim`.
pub async fn must_have_left(cluster: &Cluster, log: &str, before: LedgerId, victim: &BookieId) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let now = open_ledger(cluster, log).await?;
        let ensemble = open_ensemble(cluster, log).await?;
        if now != before && !ensemble.contains(victim) {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!(
                "no ledger changed: {victim} is lost, and the log is in ledger {now} on {ensemble:?} (it was in {before})"
            );
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// The bookie that holds the auditor's lease; waits for one to be elected.
pub async fn lease_holder(cluster: &Cluster, other_than: Option<&str>, within: Duration) -> Result<String> {
    let deadline = Instant::now() + within;
    loop {
        let leader = election::leader(&*cluster.store, &cluster.scope, AUDITOR).await?;
        match leader {
            Some(leader) if Some(leader.name.as_str()) != other_than => return Ok(leader.name),
            found if Instant::now() > deadline => {
                bail!("no new auditor after {within:?}; the last was {found:?}")
            }
            _ => sleep(Duration::from_millis(100)).await,
        }
    }
}
