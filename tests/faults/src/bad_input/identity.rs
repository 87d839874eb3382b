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

/// A bookie that is given another's disk beside its own. (Given nothing but that disk it would be that bookie.)
pub async fn foreign_disk() -> Result<()> {
    let (mut cluster, first) = one().await?;
    must_serve(&first, 1).await?;
    let second = cluster.new_member("")?;
    cluster.start_bookie(&second.id).await?;
    must_serve(&second.id, 2).await?;
    let theirs = cluster.members.get(&first).context("the first bookie")?.data.clone();
    cluster.kill_bookie(&first)?;
    cluster.kill_bookie(&second.id)?;
    let both = format!("{},{}", second.data.display(), theirs.display());
    must_refuse(&cluster, &second, both.as_ref(), &[first.as_str()]).await?;
    // Nothing was touched: both start as before, and have what they had.
    for id in [&first, &second.id] {
        cluster.start_bookie(id).await?;
        must_serve(id, 3).await?;
    }
    Ok(())
}

pub async fn folder_in_use() -> Result<()> {
    let (mut cluster, first) = one().await?;
    let theirs = cluster.members.get(&first).context("the first bookie")?.data.clone();
    let second = cluster.new_member("")?;
    must_refuse(&cluster, &second, &theirs, &["in use", "locked", "another process"]).await?;
    must_serve(&first, 3).await
}
