//! Networks that are cut, in ways that nobody is told of and in ways that everybody notices.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::sleep;

use crate::checker::check;
use crate::cluster::Cluster;
use crate::load::Load;
use crate::network::Cut;
use crate::roles::{member_of_open_ensemble, must_have_left, open_ledger};

const LOG: &str = "network";

pub async fn silent() -> Result<()> {
    cut_member(Cut::Silent, true).await
}

pub async fn one_way() -> Result<()> {
    cut_member(Cut::Outgoing, true).await
}

pub async fn reset() -> Result<()> {
    cut_member(Cut::Reset, true).await
}

/// Its registration expires; what is written to it may go on.
pub async fn no_metadata() -> Result<()> {
    cut_member(Cut::Metadata, false).await
}

async fn cut_member(how: Cut, must_leave: bool) -> Result<()> {
    let mut cluster = Cluster::start_networked(4).await?;
    let load = Load::start(&cluster, LOG, 1).await?;
    let (before, victim) = (open_ledger(&cluster, LOG).await?, member_of_open_ensemble(&cluster, LOG).await?);
    let (namespace, etcd) = (cluster.namespace(&victim)?.to_owned(), cluster.etcd_port()?);
    cluster.network.as_ref().context("a network")?.cut(&namespace, how, etcd)?;
    load.must_acknowledge(300, Duration::from_secs(30), "while one bookie is cut off").await?;
    if must_leave {
        must_have_left(&cluster, LOG, before, &victim).await?;
    } else {
        // Past the lease of its registration.
        sleep(Duration::from_secs(9)).await;
        load.must_acknowledge(300, Duration::from_secs(30), "after its registration has expired").await?;
    }
    cluster.network.as_ref().context("a network")?.heal(&namespace)?;
    cluster.ready(&victim, Duration::from_secs(60)).await?;
    load.must_acknowledge(300, Duration::from_secs(30), "after the network is whole").await?;
    let history = load.kill().await?;
    check(&cluster, LOG, &[history]).await.map(|_| ())
}
