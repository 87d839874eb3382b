//! Bad input to a real bookie: a clear answer or a closed connection, nothing lost, and the others are served.

mod flood;
mod identity;
mod metadata;
mod raw;
mod requests;
mod sockets;

use anyhow::{Context, Result};
use protocol::BookieId;

use crate::cluster::Cluster;
use crate::suite::Case;

pub fn all() -> Vec<Case> {
    vec![
        Case::new("wrong key", || Box::pin(requests::wrong_key())),
        Case::new("wrong ledger, missing entry", || Box::pin(requests::wrong_ledger())),
        Case::new("negative ids", || Box::pin(requests::negative_ids())),
        Case::new("oversized frame and entry", || Box::pin(requests::oversized())),
        Case::new("garbage bytes", || Box::pin(sockets::garbage())),
        Case::new("half a frame for ever", || Box::pin(sockets::half_frames())),
        Case::alone("ten thousand idle connections", || Box::pin(sockets::idle())),
        Case::new("a disk of another bookie", || Box::pin(identity::foreign_disk())),
        Case::new("a folder in use by another process", || Box::pin(identity::folder_in_use())),
        Case::new("etcd down at start", || Box::pin(metadata::down())),
        Case::new("etcd slow", || Box::pin(metadata::slow())),
        Case::new("a half formatted cluster", || Box::pin(metadata::half_formatted())),
        Case::alone("flood under a memory limit", || Box::pin(flood::flood())),
    ]
}

/// A cluster of one bookie, and that bookie.
async fn one() -> Result<(Cluster, BookieId)> {
    let cluster = Cluster::start(1).await?;
    let id = cluster.members.keys().next().context("a bookie")?.clone();
    Ok((cluster, id))
}
