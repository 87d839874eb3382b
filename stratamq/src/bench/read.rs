//! A ledger is filled, and read in order, by the client that everybody uses.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use ledger::{LedgerReader, LedgerWriter, ReadAhead};
use metadata::Stored;
use protocol::EntryId;

use super::figures::{self, Measured};
use super::machine;
use crate::cluster::Cluster;
use crate::error::{Error, Outcome};

/// What to read and how.
pub struct Plan {
    pub entry_bytes: usize,
    pub entries: u64,
    pub request_bytes: usize,
    pub requests_in_flight: usize,
    pub pids: Vec<u32>,
}

/// Makes a ledger of `plan.entries` entries, closed.
pub async fn fill(plan: &Plan, cluster: &Cluster, how: &ledger::Plan, payload: Bytes) -> Outcome<Stored> {
    let failed = |why: String| Error::cannot("fill a ledger", why);
    let writer =
        LedgerWriter::create(&cluster.client, how).await.map_err(|error| failed(error.to_string()))?;
    for _ in 0..plan.entries {
        writer.append_when_room(payload.clone()).await.map_err(|refused| failed(refused.to_string()))?;
    }
    let last = EntryId(plan.entries as i64 - 1);
    writer.acknowledged(last).await.map_err(|ended| failed(ended.to_string()))?;
    writer.close().await.map_err(|error| failed(error.to_string()))
}

/// Makes the kernel forget what it has cached: without that "cold" is a word.
pub fn drop_page_cache() -> Outcome {
    rustix::fs::sync();
    std::fs::write("/proc/sys/vm/drop_caches", "1")
        .map_err(|error| Error::cannot("drop the page cache (--cold needs root, outside a container)", error))
}

/// Reads the whole ledger once, in order, every digest checked.
pub async fn run(plan: &Plan, cluster: &Cluster, stored: &Stored) -> Outcome<Measured> {
    let failed = |error| Error::cannot(format!("read ledger {}", stored.id), error);
    let reader = LedgerReader::of(&cluster.client, stored, Default::default()).map_err(failed)?;
    let last = EntryId(plan.entries as i64 - 1);
    let mut latencies = figures::latencies()?;
    let (mut entries, mut payload_bytes, mut rss) = (0, 0, 0);
    let (before, cpu, started) = (machine::reading(&plan.pids)?, machine::own_cpu()?, Instant::now());
    let mut ahead =
        ReadAhead::new(Arc::new(reader), EntryId::FIRST, last, plan.request_bytes, plan.requests_in_flight);
    loop {
        let asked = Instant::now();
        let Some(piece) = ahead.next().await else { break };
        latencies.saturating_record(u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX));
        for entry in piece.map_err(failed)? {
            if entry.payload.len() != plan.entry_bytes {
                return Err(Error::Failed(format!(
                    "entry {} has {} bytes",
                    entry.entry,
                    entry.payload.len()
                )));
            }
            entries += 1;
            payload_bytes += entry.payload.len() as u64;
        }
        if latencies.len() % 256 == 0 {
            rss = rss.max(machine::rss_bytes(&plan.pids));
        }
    }
    let took = started.elapsed();
    if entries != plan.entries {
        return Err(Error::Failed(format!("{entries} of {} entries came back", plan.entries)));
    }
    let after = machine::reading(&plan.pids)?;
    let bookies =
        (!plan.pids.is_empty()).then(|| before.cost_until(after, rss.max(machine::rss_bytes(&plan.pids))));
    let loader_cpu = machine::own_cpu()?.saturating_sub(cpu);
    Ok(Measured { latencies, entries, payload_bytes, took, errors: 0, loader_cpu, bookies })
}
