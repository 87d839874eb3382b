//! `stratamq bench ledger`: how fast entries become durable, on one cluster or on two in turns.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use ledger::quorum::Quorums;

use super::figures::Measured;
use super::load::{self, Leg, Pace};
use super::progress::Progress;
use super::sides::{self, Side};
use super::{connect, ledgers};
use crate::cluster::Cluster;
use crate::config::{MetadataUri, Size, Span};
use crate::error::{Error, Outcome};

#[derive(Args)]
pub struct Ledger {
    /// The cluster to load
    #[arg(long, env = "STRATAMQ_METADATA", value_name = "etcd://H:P/SCOPE")]
    metadata: MetadataUri,
    /// A second cluster, for comparison
    #[arg(long, value_name = "etcd://H:P/SCOPE")]
    versus: Option<MetadataUri>,
    /// Bookies that a ledger is spread over
    #[arg(long, value_name = "E", default_value_t = 1)]
    ensemble: u32,
    /// Copies of each entry
    #[arg(long, value_name = "W", default_value_t = 1)]
    write_quorum: u32,
    /// Copies that must be durable before an entry is acknowledged
    #[arg(long, value_name = "A", default_value_t = 1)]
    ack_quorum: u32,
    /// Payload of an entry
    #[arg(long, value_name = "BYTES", default_value = "1KB")]
    size: Size,
    /// Closed loop: entries unacknowledged at any time
    #[arg(long, value_name = "N", conflicts_with = "rate", required_unless_present = "rate")]
    in_flight: Option<u64>,
    /// Open loop: entries per second
    #[arg(long, value_name = "R")]
    rate: Option<u64>,
    /// How long each round measures
    #[arg(long, value_name = "S", default_value_t = 10)]
    seconds: u64,
    /// How long the load runs before it is measured (Java bookies want 60s)
    #[arg(long, value_name = "TIME", default_value = "2s")]
    warm_up: Span,
    /// How often each side runs; with two sides in the order A B, B A, A B, …
    #[arg(long, value_name = "N", default_value_t = 1)]
    rounds: usize,
    /// Ledgers written in turn
    #[arg(long, value_name = "N", default_value_t = 1)]
    ledgers: usize,
    /// Processes of the bookies on this machine, all that serve the load: gives CPU, memory and disk bytes
    #[arg(long, value_name = "PID[,PID]", value_delimiter = ',')]
    pid: Vec<u32>,
    /// The same for the second cluster
    #[arg(long, value_name = "PID[,PID]", value_delimiter = ',', requires = "versus")]
    versus_pid: Vec<u32>,
    /// A folder on the bookies' disk, to probe it; without it that of --pid, else the current folder
    #[arg(long, value_name = "DIR")]
    disk: Option<PathBuf>,
    /// Leave the ledgers, closed, when done
    #[arg(long)]
    keep: bool,
    /// One JSON object per side, for machines
    #[arg(long)]
    json: bool,
}

impl Ledger {
    pub async fn run(&self) -> Outcome {
        let quorums = self.check()?;
        let mut sides = vec![self.side("metadata", &self.metadata, &self.pid).await?];
        if let Some(uri) = &self.versus {
            sides.push(self.side("versus", uri, &self.versus_pid).await?);
        }
        for round in 0..self.rounds {
            let mut order: Vec<&mut Side<Cluster>> = sides.iter_mut().collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for side in order {
                self.round(side, quorums, round).await?;
            }
        }
        sides::report(sides, self.write_quorum, self.json)
    }

    fn check(&self) -> Outcome<Quorums> {
        let usage = |text: &str| Err(Error::Usage(text.into()));
        if self.size.0 as usize > protocol::entry::MAX_PAYLOAD {
            return usage(&format!("--size: an entry takes at most {} bytes", protocol::entry::MAX_PAYLOAD));
        }
        if self.ledgers == 0 || self.ledgers > load::MOST_LEDGERS {
            return usage(&format!("--ledgers: from 1 to {}", load::MOST_LEDGERS));
        }
        if self.in_flight == Some(0) || self.rate == Some(0) || self.seconds == 0 || self.rounds == 0 {
            return usage("--in-flight, --rate, --seconds and --rounds are at least 1");
        }
        if self.rate.is_some_and(|rate| rate > 100_000_000) {
            return usage("--rate: at most 100000000 per second");
        }
        Quorums::new(self.ensemble, self.write_quorum, self.ack_quorum)
            .map_err(|error| Error::Usage(error.to_string()))
    }

    async fn side(&self, name: &str, uri: &MetadataUri, pids: &[u32]) -> Outcome<Side<Cluster>> {
        Side::new(name, uri.to_string(), pids, connect(uri).await?)
    }

    fn leg(&self, pids: &[u32]) -> Leg {
        Leg {
            pace: match (self.rate, self.in_flight) {
                (Some(rate), _) => Pace::Rate(rate),
                (None, in_flight) => Pace::InFlight(in_flight.unwrap_or(1)),
            },
            entry_bytes: self.size.0 as usize,
            warm_up: self.warm_up.0,
            measured: Duration::from_secs(self.seconds),
            pids: pids.to_vec(),
        }
    }

    async fn round(&self, side: &mut Side<Cluster>, quorums: Quorums, round: usize) -> Outcome {
        let leg = self.leg(&side.pids);
        let title = format!("{} round {}", side.name, round + 1);
        side.round(self.disk.as_ref(), async |cluster| self.load(cluster, &leg, quorums, title).await).await
    }

    async fn load(&self, cluster: &Cluster, leg: &Leg, quorums: Quorums, title: String) -> Outcome<Measured> {
        let opened = ledgers::open(cluster, quorums, self.ledgers).await?;
        let ids: Vec<_> = opened.iter().map(|writer| writer.target().ledger).collect();
        let mut progress = Progress::new(title);
        let ran = tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => Err(Error::Failed("interrupted".into())),
            ran = load::run(leg, opened, &*cluster.client.bookies, &mut progress) => ran,
        };
        drop(progress);
        let measured = match ran {
            Ok((measured, writers)) => {
                ledgers::close(cluster, &writers).await?;
                Ok(measured)
            }
            Err(error) => Err(error),
        };
        if !self.keep {
            ledgers::delete(cluster, &ids).await?;
        }
        measured
    }
}
