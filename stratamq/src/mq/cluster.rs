//! `stratamq cluster`

use clap::Subcommand;

use super::{Arguments, Where, failed, log, vbs};
use crate::config::MetadataUri;
use crate::error::Outcome;

#[derive(Subcommand)]
pub enum Command {
    /// All brokers that name servers know; with --metadata our virtual brokers, who has them, and where they write
    List {
        #[arg(long, value_name = "URI")]
        metadata: Option<MetadataUri>,
    },
    /// The ledgers that the log of a virtual broker is made of, and what still needs how much of each
    Log {
        /// broker-0, or vb-0 as metadata has it
        vb: String,
        /// Tells the state and the bookies of each ledger too, also when the owner does not answer
        #[arg(long, env = "STRATAMQ_METADATA", value_name = "URI")]
        metadata: Option<MetadataUri>,
    },
}

pub async fn run(Arguments { at, command }: Arguments<Command>) -> Outcome {
    match command {
        Command::List { metadata: Some(uri) } => vbs::list(&at, &uri).await,
        Command::List { metadata: None } => list(&at).await,
        Command::Log { vb, metadata } => log::show(&at, metadata.as_ref(), &vb).await,
    }
}

async fn list(at: &Where) -> Outcome {
    let admin = at.client()?.admin();
    let cluster = admin.cluster().await.map_err(failed)?;
    let mut rows = Vec::new();
    for (name, broker) in cluster.broker_addr_table {
        for (id, address) in broker.broker_addrs {
            let status = admin.broker_status(&address).await.unwrap_or_default();
            let of = |key: &str| status.get(key).map(|value| value.trim()).filter(|value| !value.is_empty());
            // Rates over ten seconds, a minute, ten minutes: the first says what is going on now.
            let rate = |key: &str| of(key)?.split(' ').next()?.parse::<f64>().ok();
            rows.push([
                broker.cluster.clone().into(),
                name.clone().into(),
                id.into(),
                address.into(),
                of("brokerVersionDesc").into(),
                rate("putTps").into(),
                rate("getTransferredTps").into(),
            ]);
        }
    }
    at.show(["cluster", "broker", "id", "address", "version", "in", "out"], &rows)
}
