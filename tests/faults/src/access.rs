//! Our log client, on the cluster at a metadata address.

use std::sync::Arc;

use anyhow::Result;
use ledger::Cluster;
use ledger::log::chain::{ChainLogs, ChainSettings};
use ledger::log::{Link, Log, LogName, Logs};
use ledger::quorum::Quorums;
use metadata::Ledgers;
use net::Dns;
use net::client::{Settings, Tcp};

async fn logs(uri: &str) -> Result<ChainLogs> {
    let (store, scope) = metadata::cluster::open(uri).await?;
    let bookies = Arc::new(Tcp::new(Arc::new(Dns), Settings::default()));
    let cluster = Cluster::new(bookies, Ledgers::new(store, scope, rand::random()), rand::random());
    let owner = format!("faults-{}", std::process::id());
    Ok(ChainLogs::new(cluster, ChainSettings::new(&owner, Quorums::new(3, 3, 2)?)))
}

/// Takes a log over, as its owner.
pub async fn open(uri: &str, name: &str) -> Result<Arc<dyn Log>> {
    Ok(logs(uri).await?.open(&LogName::new(name)?).await?)
}

/// The ledgers of a log, without owning it.
pub async fn links(uri: &str, name: &str) -> Result<Vec<Link>> {
    Ok(logs(uri).await?.links(&LogName::new(name)?).await?)
}
