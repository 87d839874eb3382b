//! Folders that are not the bookie's to use.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::one;
use super::raw::must_serve;
use crate::cluster::Cluster;
use crate::process::Process;

/// Starts `member`'s bookie on `data`, which it must refuse with words that name one of `reasons`.
async fn must_refuse(
    cluster: &Cluster,
    member: &crate::cluster::Member,
    data: &std::path::Path,
    reasons: &[&str],
) -> Result<()> {
    let log = cluster.folder.path().join("refused.log");
    let mut command = cluster.bookie_command(member, data, &cluster.uri());
    let mut process = Process::start("a bookie that must not start", &mut command, &log)?;
    let status = process.ended(Duration::from_secs(20)).await.with_context(|| process.last_words())?;
    let words = process.last_words();
    ensure!(!status.success(), "it ended with success:\n{words}");
    let lower = words.to_lowercase();
    ensure!(reasons.iter().any(|reason| lower.contains(reason)), "it does not say why:\n{words}");
    println!("      {}", words.lines().last().unwrap_or_default());
    Ok(())
}

pub async fn foreign_disk() -> Result<()> {
    let (mut cluster, first) = one().await?;
    must_serve(&first, 1).await?;
    let theirs = cluster.members.get(&first).context("the first bookie")?.data.clone();
    cluster.kill_bookie(&first)?;
    let second = cluster.new_member("")?;
    must_refuse(&cluster, &second, &theirs, &[first.as_str()]).await?;
    // Nothing of it was touched: its owner starts as before, and has what it had.
    cluster.start_bookie(&first).await?;
    must_serve(&first, 2).await
}

pub async fn folder_in_use() -> Result<()> {
    let (mut cluster, first) = one().await?;
    let theirs = cluster.members.get(&first).context("the first bookie")?.data.clone();
    let second = cluster.new_member("")?;
    must_refuse(&cluster, &second, &theirs, &["in use", "locked", "another process"]).await?;
    must_serve(&first, 3).await
}
