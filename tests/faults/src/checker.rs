//! Reads a log back, and holds it against what its writers were told.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use ledger::log::{Log, Position};
use tokio::time::timeout;

use crate::access;
use crate::cluster::Cluster;
use crate::entry::Name;
use crate::load::History;

const READ: usize = 1 << 20;
/// For opening the log, which recovers it, and for each read.
const PATIENCE: Duration = Duration::from_secs(60);

/// Takes the log over, reads all of it, and fails if anything that was acknowledged is missing, changed, elsewhere
/// or there twice, or if positions have holes. Returns how many entries the log has.
pub async fn check(cluster: &Cluster, name: &str, histories: &[History]) -> Result<usize> {
    let log = timeout(PATIENCE, access::open(&cluster.uri(), name))
        .await
        .context("the log cannot be taken over")??;
    let found = read_all(&*log).await?;
    let told: usize = histories.iter().map(|history| history.acknowledged.len()).sum();
    ensure!(told > 0, "nothing was acknowledged: there is nothing to check");
    for (entry, position) in histories.iter().flat_map(|history| &history.acknowledged) {
        match found.get(entry) {
            None => {
                bail!("LOST: {entry:?} was acknowledged at {position}; the log has {} entries", found.len())
            }
            Some(at) if at != position => bail!("{entry:?} was acknowledged at {position}, and is at {at}"),
            Some(_) => {}
        }
    }
    Ok(found.len())
}

async fn read_all(log: &dyn Log) -> Result<BTreeMap<Name, u64>> {
    let end = log.progress().borrow().acknowledged;
    let mut found = BTreeMap::new();
    let mut at = Position::START;
    while at < end {
        let entries =
            timeout(PATIENCE, log.read(at, READ)).await.with_context(|| format!("no answer at {at}"))?;
        let entries = entries.with_context(|| format!("the log ends at {end} and cannot be read at {at}"))?;
        ensure!(!entries.is_empty(), "the log ends at {end}, and has nothing at {at}");
        for entry in entries {
            ensure!(entry.position == at, "the entry after {at} is at {}", entry.position);
            let name = Name::of(&entry.body)
                .with_context(|| format!("the entry at {at} is none that was appended"))?;
            if let Some(before) = found.insert(name, at.0) {
                bail!("{name:?} is in the log at {before} and at {at}");
            }
            at = entry.end();
        }
    }
    ensure!(at == end, "the log ends at {end}; its last entry ends at {at}");
    Ok(found)
}
