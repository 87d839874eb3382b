//! `stratamq admin ledger create`, `read` and `recover`: what goes through bookies.

use std::io::{BufRead, IsTerminal, Write};
use std::sync::Arc;

use bytes::Bytes;
use clap::{Args, ValueEnum};
use ledger::quorum::Quorums;
use ledger::reader::LedgerEntry;
use ledger::{LedgerReader, LedgerWriter, Plan, ReadAhead};
use metadata::schema::State;
use protocol::entry::DigestType;
use protocol::{EntryId, LedgerId};
use serde_json::json;
use tokio::sync::mpsc;

use super::{Given, ledger_id, print_json};
use crate::cluster::Cluster;
use crate::error::{Error, Outcome};
use crate::output::say;

#[derive(Args)]
pub struct Create {
    #[arg(long, value_name = "E", default_value_t = 1)]
    ensemble: u32,
    #[arg(long, value_name = "W", default_value_t = 1)]
    write_quorum: u32,
    #[arg(long, value_name = "A", default_value_t = 1)]
    ack_quorum: u32,
    #[arg(long, default_value = "")]
    password: String,
    #[arg(long, default_value = "crc32c")]
    digest: Kind,
    /// End as a writer that died: the ledger stays open until somebody recovers it
    #[arg(long)]
    leave_open: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Crc32,
    Crc32c,
    Mac,
    Dummy,
}

#[derive(Args)]
pub struct Read {
    #[arg(value_parser = ledger_id)]
    ledger: LedgerId,
    /// The first entry
    #[arg(long, value_name = "N", default_value_t = 0)]
    from: i64,
    /// The last entry; without it, the last that is confirmed
    #[arg(long, value_name = "N")]
    to: Option<i64>,
}

/// Pieces of this size are read, so many at a time.
const PIECE: usize = 256 << 10;
const PIECES: usize = 4;
/// Of an entry, people are shown so much.
const SHOWN: usize = 60;

pub async fn create(given: &Given, wanted: &Create) -> Outcome {
    let quorums = Quorums::new(wanted.ensemble, wanted.write_quorum, wanted.ack_quorum)
        .map_err(|error| Error::Usage(error.to_string()))?;
    let cluster = given.cluster().await?;
    let digest = match wanted.digest {
        Kind::Crc32 => DigestType::Crc32,
        Kind::Crc32c => DigestType::Crc32c,
        Kind::Mac => DigestType::Hmac,
        Kind::Dummy => DigestType::Dummy,
    };
    let password = Bytes::copy_from_slice(wanted.password.as_bytes());
    let plan = Plan { digest, password, ..Plan::new(quorums) };
    let writer = LedgerWriter::create(&cluster.client, &plan).await;
    let writer = writer.map_err(|error| Error::cannot("create a ledger", error))?;
    let ledger = writer.ledger();
    let failed = |why: String| Error::cannot(format!("write ledger {ledger}"), why);
    if std::io::stdin().is_terminal() {
        eprintln!("Each line becomes an entry; end with Ctrl-D.");
    }
    let mut last = None;
    let mut lines = lines_of_standard_input();
    while let Some(line) = lines.recv().await {
        let line = line.map_err(|error| Error::cannot("read standard input", error))?;
        let appended = writer.append_when_room(line.into()).await;
        last = Some(appended.map_err(|refused| failed(refused.to_string()))?);
    }
    if let Some(last) = last {
        writer.acknowledged(last).await.map_err(|ended| failed(ended.to_string()))?;
    }
    let (last, length) = if wanted.leave_open {
        (last.unwrap_or(EntryId::NONE).0, None)
    } else {
        let stored = writer.close().await.map_err(|error| failed(error.to_string()))?;
        match stored.metadata.state {
            State::Closed { last, length } => (last.0, Some(length)),
            State::Open | State::InRecovery => return Err(failed("somebody else is recovering it".into())),
        }
    };
    if given.json {
        print_json(&json!({ "ledger": ledger.0, "last_entry": last, "length": length }));
    } else {
        say!("{} entries are in ledger {ledger}", last + 1);
    }
    Ok(())
}

/// Read beside the writer, which goes on while nothing comes.
fn lines_of_standard_input() -> mpsc::Receiver<std::io::Result<Vec<u8>>> {
    let (to, lines) = mpsc::channel(64);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().split(b'\n') {
            if to.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

pub async fn recover(given: &Given, ledger: LedgerId, force: bool) -> Outcome {
    let cluster = given.cluster().await?;
    let failed = |error| Error::cannot(format!("recover ledger {ledger}"), error);
    let before = cluster.client.stored(ledger).await.map_err(failed)?;
    if before.metadata.is_log_link() && !before.metadata.is_closed() && !force {
        return Err(Error::Failed(format!(
            "ledger {ledger} is a link of log '{}': only the log's owner may recover it, and does when it opens the \
             log. Only --force does it here",
            before.metadata.origin().map(|origin| origin.vb).unwrap_or_default()
        )));
    }
    let stored = ledger::recover(&cluster.client, ledger).await.map_err(failed)?;
    let State::Closed { last, length } = stored.metadata.state else {
        return Err(Error::Failed(format!("ledger {ledger} is still not closed: try again")));
    };
    if given.json {
        print_json(&json!({ "ledger": ledger.0, "last_entry": last.0, "length": length }));
    } else if before.metadata.is_closed() {
        say!("Ledger {ledger} was closed already: {} entries, {length} bytes.", last.0 + 1);
    } else {
        say!(
            "Ledger {ledger} is closed: {} entries, {length} bytes. Its writer, if any, is fenced.",
            last.0 + 1
        );
    }
    Ok(())
}

pub async fn read(given: &Given, wanted: &Read) -> Outcome {
    let cluster = given.cluster().await?;
    let failed = |error| Error::cannot(format!("read ledger {}", wanted.ledger), error);
    let reader = LedgerReader::open(&cluster.client, wanted.ledger).await.map_err(failed)?;
    let last = last_readable(&cluster, &reader, wanted).await?;
    let mut ahead = ReadAhead::new(Arc::new(reader), EntryId(wanted.from.max(0)), last, PIECE, PIECES);
    let mut out = std::io::stdout().lock();
    while let Some(piece) = ahead.next().await {
        for entry in piece.map_err(failed)? {
            let line = if given.json { as_json(&entry) } else { as_text(&entry) };
            if writeln!(out, "{line}").is_err() {
                // Whoever read this has seen enough.
                return Ok(());
            }
        }
    }
    Ok(())
}

async fn last_readable(cluster: &Cluster, reader: &LedgerReader, wanted: &Read) -> Outcome<EntryId> {
    let failed = |error| Error::cannot(format!("read ledger {}", wanted.ledger), error);
    let confirmed = match reader.closed() {
        Some(end) => end.last,
        None => reader.last_confirmed().await.map_err(failed)?,
    };
    if confirmed.is_none() {
        eprintln!("stratamq: nothing in ledger {} is confirmed", wanted.ledger);
    }
    let last = wanted.to.map_or(confirmed, EntryId);
    if last > confirmed {
        let state = if reader.closed().is_some() { "it ends at" } else { "it is open, and confirmed up to" };
        let uri = &cluster.uri;
        return Err(Error::Failed(format!(
            "ledger {} has no entry {last} to read: {state} entry {confirmed}. `stratamq admin --metadata {uri} ledger \
             info {}` says more",
            wanted.ledger, wanted.ledger
        )));
    }
    Ok(last)
}

fn as_json(entry: &LedgerEntry) -> String {
    let payload: String = entry.payload.iter().map(|byte| format!("{byte:02x}")).collect();
    json!({ "entry": entry.entry.0, "payload": payload }).to_string()
}

fn as_text(entry: &LedgerEntry) -> String {
    let text = String::from_utf8_lossy(entry.payload.get(..SHOWN).unwrap_or(&entry.payload)).into_owned();
    let more = if entry.payload.len() > SHOWN { "…" } else { "" };
    format!("{:>8}  {:>8} bytes  {}{more}", entry.entry.0, entry.payload.len(), text.escape_debug())
}
