//! `stratamq bench read`: how fast a ledger is read in order, from cache or from the disk.

use std::path::PathBuf;

use clap::Args;
use ledger::quorum::Quorums;
use metadata::Stored;

use super::figures::{About, Figures, Measured};
use super::read::{self, Plan};
use super::storage::{self, Probe};
use super::{ledgers, load, machine, sides};
use crate::cluster::Cluster;
use crate::config::{MetadataUri, Size};
use crate::error::{Error, Outcome};

#[derive(Args)]
pub struct Read {
    /// The cluster to read from
    #[arg(long, env = "STRATAMQ_METADATA", value_name = "etcd://H:P/SCOPE")]
    metadata: MetadataUri,
    /// Bookies that the ledger is spread over; each has every entry
    #[arg(long, value_name = "E", default_value_t = 1)]
    ensemble: u32,
    /// Payload of an entry
    #[arg(long, value_name = "BYTES", default_value = "1KB")]
    size: Size,
    /// Payload of the whole ledger
    #[arg(long, value_name = "BYTES", default_value = "1GB")]
    bytes: Size,
    /// Payload of a request
    #[arg(long, value_name = "BYTES", default_value = "512KB")]
    request: Size,
    /// Requests under way
    #[arg(long, value_name = "N", default_value_t = 8)]
    in_flight: usize,
    /// Drop the machine's page cache first (needs root)
    #[arg(long)]
    cold: bool,
    /// How often the ledger is read; the fastest round is shown with all of them
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,
    /// Processes of the bookies on this machine: gives CPU and memory
    #[arg(long, value_name = "PID[,PID]", value_delimiter = ',')]
    pid: Vec<u32>,
    /// A folder on the bookies' disk, to probe it; without it that of --pid, else the current folder
    #[arg(long, value_name = "DIR")]
    disk: Option<PathBuf>,
    /// One JSON object, for machines
    #[arg(long)]
    json: bool,
}

impl Read {
    pub async fn run(&self) -> Outcome {
        let quorums = Quorums::new(self.ensemble, self.ensemble, self.ensemble)
            .map_err(|error| Error::Usage(error.to_string()))?;
        let plan = self.plan()?;
        let folder = storage::probed(self.disk.as_ref(), &self.pid)?;
        let cluster = Cluster::connect(&self.metadata).await?;
        let busy_before = machine::busy().await;
        let probe = Probe::begin(folder)?;
        let payload = load::payload(plan.entry_bytes);
        let stored = read::fill(&plan, &cluster, &ledgers::plan(quorums), payload).await?;
        let ran = self.rounds(&plan, &cluster, &stored).await;
        ledgers::delete(&cluster, &[stored.id]).await?;
        let (measured, rounds) = ran?;
        let disk = probe.end()?;
        let side = if self.cold { "cold" } else { "cached" };
        let metadata = self.metadata.to_string();
        // What is written meanwhile has nothing to do with reading.
        let about = About { side: side.into(), metadata, copies: self.ensemble, rounds, disk, busy_before };
        let figures = Figures { disk_bytes_per_byte: None, ..Figures::of(about, &measured) };
        sides::show(&[figures], self.json)
    }

    fn plan(&self) -> Outcome<Plan> {
        let wrong = |text: &str| Err(Error::Usage(text.into()));
        if self.size.0 == 0 || self.size.0 as usize > protocol::entry::MAX_PAYLOAD {
            return wrong(&format!("--size: from 1 to {} bytes", protocol::entry::MAX_PAYLOAD));
        }
        if self.in_flight == 0 || self.rounds == 0 || self.bytes.0 < self.size.0 {
            return wrong("--in-flight and --rounds are at least 1, --bytes at least --size");
        }
        Ok(Plan {
            entry_bytes: self.size.0 as usize,
            entries: self.bytes.0 / self.size.0,
            request_bytes: self.request.0 as usize,
            requests_in_flight: self.in_flight,
            pids: self.pid.clone(),
        })
    }

    async fn rounds(&self, plan: &Plan, cluster: &Cluster, stored: &Stored) -> Outcome<(Measured, Vec<f64>)> {
        let mut best: Option<Measured> = None;
        let mut rates = Vec::new();
        for _ in 0..self.rounds {
            if self.cold {
                read::drop_page_cache()?;
            }
            let measured = read::run(plan, cluster, stored).await?;
            rates.push(measured.per_second());
            if best.as_ref().is_none_or(|best| measured.took < best.took) {
                best = Some(measured);
            }
        }
        Ok((best.ok_or_else(|| Error::Usage("--rounds is 0".into()))?, rates))
    }
}
