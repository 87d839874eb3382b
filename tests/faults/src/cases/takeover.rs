//! Writers that are replaced: what they were told stays true, and they are told nothing more.

use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::process::Signal;

use crate::checker::check;
use crate::cluster::Cluster;
use crate::load::Load;
use crate::roles::open_ledger;

const LOG: &str = "takeover";

pub async fn killed_writer() -> Result<()> {
    let cluster = Cluster::start(3).await?;
    let mut histories = vec![];
    for writer in 1..=3 {
        let load = Load::start(&cluster, LOG, writer).await?;
        load.must_acknowledge(200, Duration::from_secs(20), "before its kill").await?;
        histories.push(load.kill().await?);
    }
    let last = Load::start(&cluster, LOG, 4).await?;
    last.must_acknowledge(100, Duration::from_secs(20), "after three kills").await?;
    histories.push(last.kill().await?);
    check(&cluster, LOG, &histories).await.map(|_| ())
}

/// The paused owner wakes up with appends in flight: nothing of its own may be acknowledged any more.
pub async fn paused_writer() -> Result<()> {
    let cluster = Cluster::start(3).await?;
    let first = Load::start(&cluster, LOG, 1).await?;
    first.must_acknowledge(200, Duration::from_secs(20), "before its pause").await?;
    let before = open_ledger(&cluster, LOG).await?;
    first.process.signal(Signal::STOP)?;
    let told = first.acknowledged();
    let second = Load::start(&cluster, LOG, 2).await?;
    ensure!(
        open_ledger(&cluster, LOG).await? != before,
        "the second owner writes to the first's ledger {before}"
    );
    second.must_acknowledge(200, Duration::from_secs(20), "beside a paused owner").await?;
    first.process.signal(Signal::CONT)?;
    let why = first.end(Duration::from_secs(60)).await?;
    let history = first.kill().await?;
    // What was on its way to the watcher when it was paused was acknowledged before the second owner came; the
    // checker finds it in the log, or fails.
    println!(
        "      the first owner was told: {why} ({} appends came through late)",
        history.acknowledged.len() - told
    );
    second.must_acknowledge(200, Duration::from_secs(20), "after the first owner's end").await?;
    let second = second.kill().await?;
    check(&cluster, LOG, &[history, second]).await.map(|_| ())
}
