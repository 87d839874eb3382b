//! `stratamq admin`: what an operator looks at and changes.

mod bookie;
mod check;
mod cluster;
mod entries;
mod inspect;
mod leaving;
mod ledger;
mod replication;
mod retained;

use std::sync::Arc;

use clap::{Args, Subcommand};
use metadata::{Scope, Store};
use protocol::LedgerId;

use crate::cluster::Cluster;
use crate::config::MetadataUri;
use crate::error::{Error, Outcome};
use crate::output::say;

#[derive(Args)]
pub struct Arguments {
    /// The cluster
    #[arg(long, env = "STRATAMQ_METADATA", value_name = "etcd://H:P/SCOPE", global = true)]
    metadata: Option<MetadataUri>,
    /// JSON instead of tables
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The cluster as a whole: init, check
    #[command(subcommand)]
    Cluster(cluster::Command),
    /// Bookies: list, info, drain, decommission, check, inspect, why-retained
    #[command(subcommand)]
    Bookie(bookie::Command),
    /// Ledgers: list, info, create, read, recover, delete
    #[command(subcommand)]
    Ledger(ledger::Command),
    /// Repair: status, pause, resume, retry
    #[command(subcommand)]
    Replication(replication::Command),
}

/// What every admin command is given.
struct Given {
    metadata: Option<MetadataUri>,
    json: bool,
}

impl Given {
    fn uri(&self) -> Outcome<&MetadataUri> {
        self.metadata.as_ref().ok_or_else(|| {
            Error::Usage(
                "which cluster? Give --metadata etcd://host:port/SCOPE, or set STRATAMQ_METADATA".into(),
            )
        })
    }

    /// The metadata store, whether there is a cluster in it or not.
    async fn store(&self) -> Outcome<(Arc<dyn Store>, Scope)> {
        crate::cluster::open(self.uri()?).await
    }

    async fn cluster(&self) -> Outcome<Cluster> {
        Cluster::connect(self.uri()?).await
    }
}

pub async fn run(arguments: Arguments) -> Outcome {
    let given = Given { metadata: arguments.metadata, json: arguments.json };
    match arguments.command {
        Command::Cluster(command) => cluster::run(&given, command).await,
        Command::Bookie(command) => bookie::run(&given, command).await,
        Command::Replication(command) => replication::run(&given, command).await,
        Command::Ledger(command) => ledger::run(&given, command).await,
    }
}

fn ledger_id(text: &str) -> Result<LedgerId, String> {
    match text.parse() {
        Ok(id) if id >= 0 => Ok(LedgerId(id)),
        _ => Err("a ledger id is a number from 0".into()),
    }
}

/// One JSON value per line.
fn print_json(value: &serde_json::Value) {
    say!("{value}");
}
