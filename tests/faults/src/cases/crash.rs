//! Processes that die, and come back.

use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use crate::checker::check;
use crate::cluster::Cluster;
use crate::load::Load;
use crate::roles::{member_of_open_ensemble, must_have_left, open_ensemble, open_ledger};

const LOG: &str = "crash";

pub async fn member() -> Result<()> {
    let mut cluster = Cluster::start(4).await?;
    let load = Load::start(&cluster, LOG, 1).await?;
    let (before, victim) = (open_ledger(&cluster, LOG).await?, member_of_open_ensemble(&cluster, LOG).await?);
    cluster.kill_bookie(&victim)?;
    load.must_acknowledge(300, Duration::from_secs(20), "without one bookie").await?;
    must_have_left(&cluster, LOG, before, &victim).await?;
    cluster.start_bookie(&victim).await?;
    load.must_acknowledge(300, Duration::from_secs(20), "after its return").await?;
    let history = load.kill().await?;
    check(&cluster, LOG, &[history]).await.map(|_| ())
}

/// More than the ack quorum allows: the log stalls for as long as detection takes, then goes on elsewhere.
pub async fn two_members() -> Result<()> {
    let mut cluster = Cluster::start(5).await?;
    let load = Load::start(&cluster, LOG, 1).await?;
    let before = open_ledger(&cluster, LOG).await?;
    let victims: Vec<_> = open_ensemble(&cluster, LOG).await?.into_iter().take(2).collect();
    for victim in &victims {
        cluster.bookie(victim)?.signal(Signal::KILL)?;
    }
    for victim in &victims {
        cluster.kill_bookie(victim)?;
    }
    load.must_acknowledge(300, Duration::from_secs(40), "without two bookies").await?;
    for victim in &victims {
        must_have_left(&cluster, LOG, before, victim).await?;
    }
    for victim in &victims {
        cluster.start_bookie(victim).await?;
    }
    load.must_acknowledge(300, Duration::from_secs(20), "after their return").await?;
    let history = load.kill().await?;
    check(&cluster, LOG, &[history]).await.map(|_| ())
}

/// SIGTERM: gone in 2 s, load goes on, and what the bookie has is there again after its start.
pub async fn graceful_stop() -> Result<()> {
    let mut cluster = Cluster::start(4).await?;
    let load = Load::start(&cluster, LOG, 1).await?;
    let (before, victim) = (open_ledger(&cluster, LOG).await?, member_of_open_ensemble(&cluster, LOG).await?);
    let start = Instant::now();
    cluster.bookie(&victim)?.signal(Signal::TERM)?;
    let status = cluster.bookie(&victim)?.ended(Duration::from_secs(10)).await?;
    let took = start.elapsed();
    ensure!(status.success(), "a graceful stop ended with {status}");
    println!("      it took {:.2} s", took.as_secs_f64());
    ensure!(took < Duration::from_secs(2), "a graceful stop took {took:?}");
    load.must_acknowledge(300, Duration::from_secs(20), "after a graceful stop").await?;
    must_have_left(&cluster, LOG, before, &victim).await?;
    cluster.start_bookie(&victim).await?;
    load.must_acknowledge(100, Duration::from_secs(20), "after its return").await?;
    let history = load.kill().await?;
    check(&cluster, LOG, &[history]).await.map(|_| ())
}

/// As when the power fails, short of what the disks have in their caches.
pub async fn everything() -> Result<()> {
    let mut cluster = Cluster::start(3).await?;
    let load = Load::start(&cluster, LOG, 1).await?;
    load.must_acknowledge(500, Duration::from_secs(30), "before the end of everything").await?;
    let before = open_ledger(&cluster, LOG).await?;
    cluster.kill_all()?;
    let first = load.kill().await?;
    sleep(Duration::from_millis(500)).await;

    cluster.start_etcd().await?;
    let ids: Vec<_> = cluster.members.keys().cloned().collect();
    for id in &ids {
        cluster.start_bookie(id).await?;
    }
    let load = Load::start(&cluster, LOG, 2).await?;
    ensure!(
        open_ledger(&cluster, LOG).await? != before,
        "the new owner writes to the old owner's ledger {before}"
    );
    load.must_acknowledge(200, Duration::from_secs(20), "after the restart").await?;
    let second = load.kill().await?;
    check(&cluster, LOG, &[first, second]).await.map(|_| ())
}
