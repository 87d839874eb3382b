//! Metadata is away for longer than any lease: what is served goes on, and afterwards all is as before.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use super::SOON;
use super::servers::{Ownership, Servers, VBS};
use super::traffic::Traffic;

const OUTAGE: Duration = Duration::from_secs(7);

pub async fn paused() -> Result<()> {
    let mut servers = Servers::start().await?;
    let mut traffic = Traffic::start(&servers.addresses()).await?;
    let before = servers.owners().await?;
    traffic.fault();
    servers.cluster.etcd()?.signal(Signal::STOP)?;
    outage(&traffic).await?;
    servers.cluster.etcd()?.signal(Signal::CONT)?;
    finish(servers, traffic, before).await
}

pub async fn killed() -> Result<()> {
    gone(Signal::KILL).await
}

pub async fn stopped() -> Result<()> {
    gone(Signal::TERM).await
}

async fn gone(by: Signal) -> Result<()> {
    let mut servers = Servers::start().await?;
    let mut traffic = Traffic::start(&servers.addresses()).await?;
    let before = servers.owners().await?;
    traffic.fault();
    servers.cluster.end_etcd(by).await?;
    outage(&traffic).await?;
    servers.cluster.start_etcd().await?;
    finish(servers, traffic, before).await
}

async fn outage(traffic: &Traffic) -> Result<()> {
    traffic.must_flow("without etcd", SOON).await?;
    sleep(OUTAGE).await;
    traffic.must_flow("after leases have ended", SOON).await?;
    // Adds need no metadata. Were they to end with the broker's lease, nothing had been acknowledged for 4 s by now.
    let gap = traffic.gap();
    ensure!(gap < Duration::from_secs(3), "without etcd nothing was acknowledged for {gap:?}");
    Ok(())
}

/// Nothing has changed hands for the outage; and metadata works again, to the point that a take-over does.
async fn finish(mut servers: Servers, mut traffic: Traffic, before: BTreeMap<u32, Ownership>) -> Result<()> {
    ensure!(before.len() == VBS as usize, "before the outage only these were owned: {before:?}");
    traffic.must_flow("after etcd is back", SOON).await?;
    let deadline = Instant::now() + SOON;
    while servers.owners().await?.len() < VBS as usize {
        ensure!(Instant::now() < deadline, "etcd is back, and owners do not claim again what they serve");
        sleep(Duration::from_millis(50)).await;
    }
    let after = servers.owners().await?;
    ensure!(after == before, "an outage of etcd moved virtual brokers: {before:?} became {after:?}");
    println!(
        "      longest gap {:.2} s without etcd, and nothing changed hands",
        traffic.gap().as_secs_f64()
    );
    let victim = servers.owner().await?;
    traffic.fault();
    servers.kill(&victim)?;
    servers.must_have_moved(&after, &victim, SOON).await?;
    traffic.must_flow("after the owner was killed", SOON).await?;
    traffic.finish().await
}
