//! `stratamq bench`: one loader for our servers and Apache's.

mod disk;
mod figures;
mod ledgers;
mod load;
mod machine;
mod mq;
mod pace;
mod progress;
mod read;
mod sequential;
mod sides;
mod storage;
mod write;

use clap::Subcommand;
use net::client::Settings;

use crate::cluster::{self, Cluster};
use crate::config::MetadataUri;
use crate::error::Outcome;

#[derive(Subcommand)]
pub enum Command {
    /// Write entries to ledgers and measure from their intended times
    ///
    /// Closed loop with --in-flight, open loop with --rate. With --versus the same load runs on a second cluster (ours
    /// or Apache BookKeeper's), in turns. Run it alone on the machine.
    Ledger(Box<write::Ledger>),
    /// Fill a ledger, then read it from its first entry to its last, many entries per request
    Read(Box<sequential::Read>),
    /// What a disk alone makes of an open loop: no server that syncs before it acknowledges is quicker on it
    Disk(disk::Disk),
    /// Send and receive messages, on StrataMQ and on Apache RocketMQ alike
    #[command(subcommand)]
    Mq(Box<mq::Command>),
}

/// Most of an open loop's backlog waits in the client: it must take it.
const MOST_UNANSWERED: usize = 512 << 20;

/// A client for loads: never the bottleneck by its own limits.
async fn connect(uri: &MetadataUri) -> Outcome<Cluster> {
    let (store, scope) = cluster::open(uri).await?;
    let settings = Settings { max_unanswered: MOST_UNANSWERED, ..Settings::default() };
    Cluster::over(uri, store, scope, settings).await
}

pub async fn run(command: Command) -> Outcome {
    match command {
        Command::Ledger(arguments) => arguments.run().await,
        Command::Read(arguments) => arguments.run().await,
        Command::Disk(arguments) => arguments.run().await,
        Command::Mq(command) => mq::run(*command).await,
    }
}
