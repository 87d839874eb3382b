//! Disks that are full, and disks that are gone.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use metadata::registry::{self, Standing};
use protocol::BookieId;
use tokio::time::{Instant, sleep};

use crate::checker::check;
use crate::cluster::{Cluster, SEGMENT};
use crate::load::Load;
use crate::roles::{member_of_open_ensemble, must_have_left, open_ensemble, open_ledger};
use crate::volume::Volume;

const LOG: &str = "disk";

/// A disk that fills up makes its bookie read-only, not dead; with space it is writable again by itself.
pub async fn full() -> Result<()> {
    let mut cluster = Cluster::start(3).await?;
    let member = cluster.new_member("")?;
    let image = cluster.folder.path().join("small.img");
    let volume = Volume::new(&image, &member.data, 16 * SEGMENT)?;
    cluster.start_bookie(&member.id).await?;
    let load = load_through(&cluster, &member.id).await?;
    let before = open_ledger(&cluster, LOG).await?;

    volume.fill(SEGMENT / 2)?;
    must_become(&cluster, &member.id, Standing::Readonly, Duration::from_secs(90)).await?;
    ensure!(cluster.bookie(&member.id)?.exited()?.is_none(), "a full disk ended the bookie");
    load.must_acknowledge(300, Duration::from_secs(20), "beside a full disk").await?;
    must_have_left(&cluster, LOG, before, &member.id).await?;

    volume.drain()?;
    must_become(&cluster, &member.id, Standing::Writable, Duration::from_secs(60)).await?;
    load.must_acknowledge(100, Duration::from_secs(20), "after the disk has room").await?;
    let history = load.kill().await?;
    let checked = check(&cluster, LOG, &[history]).await;
    cluster.kill_bookie(&member.id)?;
    drop(volume);
    checked.map(|_| ())
}

/// A writer whose open ensemble has this bookie in it: others are started until one has.
async fn load_through(cluster: &Cluster, wanted: &BookieId) -> Result<Load> {
    for attempt in 0..20 {
        let load = Load::launch(cluster, LOG, attempt, 1500)?;
        load.must_acknowledge(20, Duration::from_secs(30), "after its start").await?;
        if open_ensemble(cluster, LOG).await?.contains(wanted) {
            return Ok(load);
        }
        load.kill().await?;
    }
    anyhow::bail!("twenty ledgers, and none has {wanted} in its ensemble")
}

async fn must_become(cluster: &Cluster, id: &BookieId, standing: Standing, within: Duration) -> Result<()> {
    let deadline = Instant::now() + within;
    loop {
        let bookies = registry::bookies(&*cluster.store, &cluster.scope).await?;
        let now = bookies.iter().find(|bookie| bookie.id == *id).map(|bookie| bookie.standing);
        if now == Some(standing) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{id} is {now:?} after {within:?}, expected {standing:?}");
        sleep(Duration::from_millis(200)).await;
    }
}

/// All data of one bookie is gone, and it comes back under its name: it must not answer as if it had never had any.
/// Either it refuses to start, or it says that it cannot tell; what was acknowledged is readable either way.
pub async fn lost() -> Result<()> {
    let mut cluster = Cluster::start(4).await?;
    let load = Load::start(&cluster, LOG, 1).await?;
    load.must_acknowledge(300, Duration::from_secs(20), "before the loss").await?;
    let (before, victim) = (open_ledger(&cluster, LOG).await?, member_of_open_ensemble(&cluster, LOG).await?);
    let data = cluster.members.get(&victim).context("the victim")?.data.clone();
    cluster.kill_bookie(&victim)?;
    fs::remove_dir_all(&data)?;
    fs::create_dir_all(&data)?;
    load.must_acknowledge(300, Duration::from_secs(20), "without the lost disk").await?;
    must_have_left(&cluster, LOG, before, &victim).await?;

    match cluster.start_bookie(&victim).await {
        Ok(()) => println!("      it serves, and says that it cannot tell"),
        Err(error) => {
            let exited = cluster.bookie(&victim)?.exited()?.context("it neither serves nor ends")?;
            ensure!(!exited.success(), "a bookie without its data ended with success");
            let words = format!("{error:#}");
            ensure!(
                words.contains("cookie") || words.contains("disk") || words.contains("folder"),
                "no word of why: {words}"
            );
            println!("      it refused to start");
        }
    }
    load.must_acknowledge(100, Duration::from_secs(20), "beside the bookie without its data").await?;
    let history = load.kill().await?;
    check(&cluster, LOG, &[history]).await.map(|_| ())
}
