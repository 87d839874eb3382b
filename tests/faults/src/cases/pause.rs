//! Processes that stop for longer than every time-out, and go on as if nothing had been.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tokio::time::sleep;

use crate::checker::check;
use crate::cluster::Cluster;
use crate::load::Load;
use crate::roles::{lease_holder, member_of_open_ensemble, must_have_left, open_ledger};

const LOG: &str = "pause";

pub async fn member() -> Result<()> {
    let mut cluster = Cluster::start(4).await?;
    let load = Load::start(&cluster, LOG, 1).await?;
    let (before, victim) = (open_ledger(&cluster, LOG).await?, member_of_open_ensemble(&cluster, LOG).await?);
    cluster.bookie(&victim)?.signal(Signal::STOP)?;
    load.must_acknowledge(300, Duration::from_secs(20), "while one bookie is paused").await?;
    must_have_left(&cluster, LOG, before, &victim).await?;
    cluster.bookie(&victim)?.signal(Signal::CONT)?;
    cluster.ready(&victim, Duration::from_secs(30)).await?;
    load.must_acknowledge(300, Duration::from_secs(20), "after it went on").await?;
    let history = load.kill().await?;
    check(&cluster, LOG, &[history]).await.map(|_| ())
}

/// Paused past its lease, the auditor loses its office to another, and does not get it back by waking up.
pub async fn lease_holder_loses_office() -> Result<()> {
    let mut cluster = Cluster::start(4).await?;
    let load = Load::start(&cluster, LOG, 1).await?;
    let holder = lease_holder(&cluster, None, Duration::from_secs(60)).await?;
    let victim = holder_bookie(&cluster, &holder)?;
    cluster.bookie(&victim)?.signal(Signal::STOP)?;
    let successor = lease_holder(&cluster, Some(&holder), Duration::from_secs(60)).await?;
    load.must_acknowledge(200, Duration::from_secs(20), "while the auditor is paused").await?;
    cluster.bookie(&victim)?.signal(Signal::CONT)?;
    sleep(Duration::from_secs(3)).await;
    let now = lease_holder(&cluster, None, Duration::from_secs(10)).await?;
    ensure!(now == successor, "{holder} woke up, and the office went from {successor} to {now}");
    load.must_acknowledge(200, Duration::from_secs(20), "after it went on").await?;
    let history = load.kill().await?;
    check(&cluster, LOG, &[history]).await.map(|_| ())
}

fn holder_bookie(cluster: &Cluster, holder: &str) -> Result<protocol::BookieId> {
    let found = cluster.members.keys().find(|id| holder.contains(id.as_str()));
    found.cloned().with_context(|| format!("the auditor {holder} is none of the bookies"))
}
