//! A bookie of the open ensemble goes; nobody should notice.

use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;
use tokio::time::sleep;

use super::SOON;
use super::servers::Servers;
use super::traffic::Traffic;
use crate::roles::{member_of_open_ensemble, must_have_left, open_ledger};

/// The log of a virtual broker with load.
const LOG: &str = "vb-0";
/// Longer than every time-out.
const PAUSE: Duration = Duration::from_secs(8);

/// With a spare bookie: the log must go on without the dead one.
pub async fn killed() -> Result<()> {
    let mut servers = Servers::of(4).await?;
    let mut traffic = Traffic::start(&servers.addresses()).await?;
    let before = open_ledger(&servers.cluster, LOG).await?;
    let victim = member_of_open_ensemble(&servers.cluster, LOG).await?;
    traffic.fault();
    servers.cluster.kill_bookie(&victim)?;
    traffic.must_flow("without a bookie", SOON).await?;
    must_have_left(&servers.cluster, LOG, before, &victim).await?;
    servers.cluster.start_bookie(&victim).await?;
    traffic.must_flow("after its return", SOON).await?;
    traffic.finish().await
}

pub async fn paused() -> Result<()> {
    let mut servers = Servers::start().await?;
    let mut traffic = Traffic::start(&servers.addresses()).await?;
    let victim = member_of_open_ensemble(&servers.cluster, LOG).await?;
    traffic.fault();
    servers.cluster.bookie(&victim)?.signal(Signal::STOP)?;
    traffic.must_flow("while a bookie is paused", SOON).await?;
    sleep(PAUSE).await;
    traffic.must_flow("after a long pause", SOON).await?;
    servers.cluster.bookie(&victim)?.signal(Signal::CONT)?;
    traffic.must_flow("after it woke up", SOON).await?;
    traffic.finish().await
}

pub async fn stopped() -> Result<()> {
    let mut servers = Servers::start().await?;
    let mut traffic = Traffic::start(&servers.addresses()).await?;
    let victim = member_of_open_ensemble(&servers.cluster, LOG).await?;
    traffic.fault();
    servers.cluster.bookie(&victim)?.signal(Signal::TERM)?;
    servers.cluster.bookie(&victim)?.ended(Duration::from_secs(10)).await?;
    traffic.must_flow("after a bookie has left", SOON).await?;
    servers.cluster.start_bookie(&victim).await?;
    traffic.must_flow("after its return", SOON).await?;
    traffic.finish().await
}
