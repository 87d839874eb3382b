//! An etcd that is down, slow or half formatted.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use metadata::Txn;
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use super::one;
use super::raw::{Code, KEY, Raw, add, must_serve, read};
use crate::cluster::Cluster;
use crate::ports::free_port;
use crate::process::Process;

/// With nobody at the metadata address a bookie does not serve; it names the address, or ends and names it.
pub async fn down() -> Result<()> {
    let mut cluster = Cluster::start(0).await?;
    let member = cluster.new_member("")?;
    let nobody = format!("etcd://127.0.0.1:{}/ledgers", free_port()?);
    let log = cluster.folder.path().join("down.log");
    let mut command = cluster.bookie_command(&member, &member.data, &nobody);
    let mut process = Process::start("a bookie without metadata", &mut command, &log)?;
    let deadline = Instant::now() + Duration::from_secs(30);
    let address = nobody.trim_start_matches("etcd://").trim_end_matches("/ledgers");
    while !process.last_words().contains(address) {
        ensure!(Instant::now() < deadline, "no word about {address} in 30 s:\n{}", process.last_words());
        sleep(Duration::from_millis(100)).await;
    }
    if let Some(status) = process.exited()? {
        ensure!(!status.success(), "it ended with success");
    }
    println!("      {}", process.last_words().lines().last().unwrap_or_default());
    Ok(())
}

/// Ledgers that the bookie knows go on; a new one gets an answer in time, and is taken when etcd is back.
pub async fn slow() -> Result<()> {
    let (mut cluster, bookie) = one().await?;
    let mut client = Raw::connect(&bookie).await?;
    ensure!(client.ask(&add(1, 0, &KEY, b"known")).await? == Code::OK, "the first add was refused");
    cluster.etcd()?.signal(Signal::STOP)?;
    for entry in 1..50 {
        let code = client.ask(&add(1, entry, &KEY, b"known")).await?;
        ensure!(code == Code::OK, "an add to a known ledger got {code:?} while etcd was paused");
    }
    ensure!(client.ask(&read(1, 20)).await? == Code::OK, "a read while etcd was paused");
    let code =
        Raw::connect(&bookie).await?.ask(&add(2, 0, &KEY, b"new")).await.context("an add to a new ledger")?;
    ensure!(code != Code::OK, "a new ledger was taken without asking metadata");
    sleep(Duration::from_secs(12)).await;
    cluster.etcd()?.signal(Signal::CONT)?;
    cluster.ready(&bookie, Duration::from_secs(30)).await?;
    must_serve(&bookie, 3).await
}

/// A cluster without its layout key: bookie and `cluster check` say what is missing.
pub async fn half_formatted() -> Result<()> {
    let mut cluster = Cluster::start(0).await?;
    cluster.store.txn(Txn::default().delete(cluster.scope.layout())).await?;
    let member = cluster.new_member("")?;
    let log = cluster.folder.path().join("half.log");
    let mut command = cluster.bookie_command(&member, &member.data, &cluster.uri());
    let mut process = Process::start("a bookie of half a cluster", &mut command, &log)?;
    let status = process.ended(Duration::from_secs(20)).await?;
    let words = process.last_words();
    ensure!(
        !status.success() && words.contains("layout"),
        "it ended with {status}, and these words:\n{words}"
    );
    let check = cluster.admin(&["cluster", "check"]);
    let said = format!("{check:?}");
    ensure!(check.is_err() && said.contains("layout"), "`cluster check` said {said}");
    println!("      {}", words.lines().last().unwrap_or_default());
    Ok(())
}
