//! `stratamq quickstart`: three bookies, a ledger, a death, and everything is still there.

use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use clap::Args;
use ledger::quorum::Quorums;
use ledger::{LedgerReader, LedgerWriter, Plan, ReadAhead};
use metadata::{Ledgers, Stored};
use net::client::Settings as ClientSettings;
use protocol::{EntryId, LedgerId};

use super::bookie::Running;
use crate::cluster::{self, Cluster};
use crate::config::{BookieSettings, MetadataUri, Settings};
use crate::error::{Error, Outcome};
use crate::output::say;

/// Starts three bookies in one process, writes, kills one, reads everything back; leaves nothing behind
///
/// The bookies are real: each has its folder, its disk thread and its TCP port on 127.0.0.1. Metadata is in the embedded
/// store, so no etcd is needed.
#[derive(Args)]
pub struct Arguments {
    /// Entries to write
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    entries: u64,
}

const BOOKIES: usize = 3;
const ENTRY_BYTES: usize = 1024;

pub async fn run(arguments: Arguments) -> Outcome {
    let folder = tempfile::Builder::new().prefix("stratamq-quickstart-").tempdir();
    let folder = folder.map_err(|error| Error::cannot("make a folder for temporary files", error))?;
    tokio::select! {
        biased;
        // The folder goes with the error.
        _ = tokio::signal::ctrl_c() => Err(Error::Failed("interrupted".into())),
        shown = show(folder.path(), arguments.entries.max(2)) => shown,
    }
}

async fn show(folder: &Path, entries: u64) -> Outcome {
    let store = folder.join("metadata");
    let uri: MetadataUri = format!("embedded://{}", store.display()).parse().map_err(Error::Failed)?;
    let (store, scope) = cluster::open(&uri).await?;
    cluster::format(&*store, &scope).await?;
    let ledgers = Ledgers::new(store.clone(), scope.clone(), rand::random());

    say!("1. Three bookies on the embedded metadata store, data in {}:", folder.display());
    let mut bookies = Vec::new();
    for number in 1..=BOOKIES {
        let running = start(&uri, &folder.join(format!("bookie-{number}")), ledgers.clone()).await?;
        say!("     {}", running.bookie.id());
        bookies.push(running);
    }
    let cluster = Cluster::over(&uri, store, scope, ClientSettings::default()).await?;
    wait_until_writable(&cluster).await?;

    let quorums = Quorums::new(3, 3, 2).map_err(|error| Error::Failed(error.to_string()))?;
    let cannot = |error| Error::cannot("create a ledger", error);
    let writer = LedgerWriter::create(&cluster.client, &Plan::new(quorums)).await.map_err(cannot)?;
    let ledger = writer.ledger();
    say!("2. Ledger {ledger}: three copies of each entry, acknowledged when two are durable.");
    write(&writer, ledger, 0, entries / 2).await?;

    let victim = bookies.pop().ok_or_else(|| Error::Failed("no bookie".into()))?;
    say!("3. Bookie {} is killed, in the middle of it.", victim.bookie.id());
    drop(victim);
    write(&writer, ledger, entries / 2, entries).await?;
    let stored = writer.close().await.map_err(|error| Error::cannot("close the ledger", error))?;

    read_all(&cluster, &stored, entries).await?;
    for running in bookies {
        running.stop().await;
    }
    say!("5. The other bookies are stopped, and the folder is removed.");
    say!("\nAll {entries} acknowledged entries were read back from two bookies of three, unchanged.");
    Ok(())
}

async fn start(uri: &MetadataUri, data: &Path, ledgers: Ledgers) -> Outcome<Running> {
    // Any free port will do; it is known only once it is bound.
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = free.map_err(|error| Error::cannot("find a free port on 127.0.0.1", error))?.to_string();
    let mut settings = BookieSettings::default();
    for (key, value) in [
        ("metadata", uri.to_string()),
        ("listen", address),
        ("data", data.display().to_string()),
        ("segment_size", "32MB".into()),
        ("reserve", "2MB".into()),
        ("index_reserve", "8MB".into()),
    ] {
        settings.set(key, &value).map_err(|why| Error::Failed(format!("{key} = {value}: {why}")))?;
    }
    Running::start(&settings, ledgers, Default::default()).await
}

/// Bookies register a moment after they serve.
async fn wait_until_writable(cluster: &Cluster) -> Outcome {
    for _ in 0..100 {
        if cluster.bookies().await?.iter().filter(|bookie| bookie.takes_ledgers()).count() == BOOKIES {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    Err(Error::Failed("the bookies did not register within ten seconds".into()))
}

/// What entry `entry` says: another thing than all others.
fn payload(ledger: LedgerId, entry: u64) -> Bytes {
    let line = format!("entry {entry} of ledger {ledger}; ");
    line.bytes().cycle().take(ENTRY_BYTES).collect()
}

async fn write(writer: &LedgerWriter, ledger: LedgerId, from: u64, to: u64) -> Outcome {
    let started = Instant::now();
    let failed = |why: String| Error::cannot("write", why);
    for entry in from..to {
        let appended = writer.append_when_room(payload(ledger, entry)).await;
        appended.map_err(|refused| failed(refused.to_string()))?;
    }
    let last = EntryId(to as i64 - 1);
    writer.acknowledged(last).await.map_err(|ended| failed(ended.to_string()))?;
    say!("     entries {from} to {last} acknowledged, {} ms", started.elapsed().as_millis());
    Ok(())
}

async fn read_all(cluster: &Cluster, stored: &Stored, entries: u64) -> Outcome {
    let failed = |error| Error::cannot("read the ledger back", error);
    let started = Instant::now();
    let reader = LedgerReader::of(&cluster.client, stored, Default::default()).map_err(failed)?;
    let last = EntryId(entries as i64 - 1);
    let mut ahead = ReadAhead::new(reader.into(), EntryId::FIRST, last, 1 << 20, 4);
    let mut next = 0;
    while let Some(piece) = ahead.next().await {
        for entry in piece.map_err(failed)? {
            if entry.entry.0 as u64 != next || entry.payload != payload(stored.id, next) {
                return Err(Error::Failed(format!(
                    "entry {next} came back as something else: {:?}",
                    entry.entry
                )));
            }
            next += 1;
        }
    }
    if next != entries {
        return Err(Error::Failed(format!("{next} of {entries} entries came back")));
    }
    say!("4. Everything is read back and compared, {} ms.", started.elapsed().as_millis());
    Ok(())
}
