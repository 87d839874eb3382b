//! Metadata that does not answer: adds need none, so load goes on.

use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;
use tokio::time::sleep;

use crate::checker::check;
use crate::cluster::Cluster;
use crate::load::Load;
use crate::roles::open_ledger;

const LOG: &str = "metadata";
/// Longer than any lease.
const OUTAGE: Duration = Duration::from_secs(9);

pub async fn paused() -> Result<()> {
    let mut cluster = Cluster::start(3).await?;
    let load = Load::start(&cluster, LOG, 1).await?;
    cluster.etcd()?.signal(Signal::STOP)?;
    load.must_acknowledge(200, Duration::from_secs(10), "while etcd is paused").await?;
    sleep(OUTAGE).await;
    load.must_acknowledge(200, Duration::from_secs(10), "after 9 s without etcd").await?;
    cluster.etcd()?.signal(Signal::CONT)?;
    finish(cluster, load).await
}

pub async fn killed() -> Result<()> {
    let mut cluster = Cluster::start(3).await?;
    let load = Load::start(&cluster, LOG, 1).await?;
    cluster.end_etcd(Signal::KILL).await?;
    load.must_acknowledge(200, Duration::from_secs(10), "without etcd").await?;
    sleep(OUTAGE).await;
    load.must_acknowledge(200, Duration::from_secs(10), "after 9 s without etcd").await?;
    cluster.start_etcd().await?;
    finish(cluster, load).await
}

/// Every bookie registers again, and a new owner finds everything.
async fn finish(mut cluster: Cluster, load: Load) -> Result<()> {
    let ids: Vec<_> = cluster.members.keys().cloned().collect();
    for id in &ids {
        cluster.ready(id, Duration::from_secs(60)).await?;
    }
    load.must_acknowledge(200, Duration::from_secs(20), "after etcd is back").await?;
    let first = load.kill().await?;
    let before = open_ledger(&cluster, LOG).await?;
    let second = Load::start(&cluster, LOG, 2).await?;
    anyhow::ensure!(
        open_ledger(&cluster, LOG).await? != before,
        "the second owner writes to the first's ledger"
    );
    let second = second.kill().await?;
    check(&cluster, LOG, &[first, second]).await.map(|_| ())
}
