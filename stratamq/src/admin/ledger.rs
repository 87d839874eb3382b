//! `stratamq admin ledger`.

use clap::Subcommand;
use metadata::ledgers::Stored;
use metadata::schema::{LedgerMetadata, State};
use protocol::LedgerId;
use serde_json::json;

use super::{Given, entries, ledger_id, print_json};
use crate::cluster::Cluster;
use crate::error::{Error, Outcome};
use crate::output::say;
use crate::table;

#[derive(Subcommand)]
pub enum Command {
    /// All ledgers
    List,
    /// One ledger: quorums, state, which bookies hold which entries
    Info {
        #[arg(value_parser = ledger_id)]
        ledger: LedgerId,
    },
    /// Make a ledger of the lines of standard input
    Create(entries::Create),
    /// Show entries, without disturbing the writer
    Read(entries::Read),
    /// Close a ledger whose writer is gone; a writer that is not gone is fenced
    Recover {
        #[arg(value_parser = ledger_id)]
        ledger: LedgerId,
        /// Also a link of a log
        #[arg(long)]
        force: bool,
    },
    /// Delete a ledger's metadata; bookies drop its entries when they notice
    Delete {
        #[arg(value_parser = ledger_id)]
        ledger: LedgerId,
        /// Also if it is open or a link of a log
        #[arg(long)]
        force: bool,
    },
}

pub async fn run(given: &Given, command: Command) -> Outcome {
    match command {
        Command::List => list(given, &given.cluster().await?).await,
        Command::Info { ledger } => info(given, &given.cluster().await?, ledger).await,
        Command::Create(wanted) => entries::create(given, &wanted).await,
        Command::Read(wanted) => entries::read(given, &wanted).await,
        Command::Recover { ledger, force } => entries::recover(given, ledger, force).await,
        Command::Delete { ledger, force } => delete(&given.cluster().await?, ledger, force).await,
    }
}

fn state(metadata: &LedgerMetadata) -> &'static str {
    match metadata.state {
        State::Open => "open",
        State::InRecovery => "in recovery",
        State::Closed { .. } => "closed",
    }
}

fn end(metadata: &LedgerMetadata) -> Option<(i64, i64)> {
    match metadata.state {
        State::Closed { last, length } => Some((last.0, length)),
        State::Open | State::InRecovery => None,
    }
}

/// What it is for, where that is known.
fn purpose(metadata: &LedgerMetadata) -> String {
    match metadata.origin() {
        Some(origin) => format!("{} {}", origin.kind, origin.vb).trim().to_string(),
        None => String::new(),
    }
}

fn as_json(stored: &Stored) -> serde_json::Value {
    let metadata = &stored.metadata;
    let segments: Vec<_> = metadata
        .segments
        .iter()
        .map(|segment| {
            let bookies: Vec<_> = segment.ensemble.iter().map(|bookie| bookie.as_str()).collect();
            json!({ "first_entry": segment.first.0, "bookies": bookies })
        })
        .collect();
    json!({
        "ledger": stored.id.0,
        "state": state(metadata),
        "ensemble": metadata.ensemble_size,
        "write_quorum": metadata.write_quorum,
        "ack_quorum": metadata.ack_quorum,
        "digest": format!("{:?}", metadata.digest),
        "last_entry": end(metadata).map(|(last, _)| last),
        "length": end(metadata).map(|(_, length)| length),
        "purpose": purpose(metadata),
        "segments": segments,
    })
}

async fn list(given: &Given, cluster: &Cluster) -> Outcome {
    let mut rows = Vec::new();
    cluster
        .each_ledger(|stored| {
            if given.json {
                return print_json(&as_json(stored));
            }
            let metadata = &stored.metadata;
            let (last, length) = end(metadata).map_or(("–".into(), "–".into()), |(last, length)| {
                (last.to_string(), length.max(0).to_string())
            });
            let quorums =
                format!("{},{},{}", metadata.ensemble_size, metadata.write_quorum, metadata.ack_quorum);
            rows.push([
                stored.id.to_string(),
                state(metadata).into(),
                quorums,
                last,
                length,
                purpose(metadata),
            ]);
        })
        .await?;
    if !given.json {
        table::print(["ledger", "state", "E,W,A", "last entry", "bytes", "for"], &rows);
    }
    Ok(())
}

async fn find(cluster: &Cluster, ledger: LedgerId) -> Outcome<Stored> {
    let found = cluster.ledgers().read(ledger).await;
    found.map_err(|error| Error::cannot(format!("read ledger {ledger}"), error))?.ok_or_else(|| {
        Error::Failed(format!(
            "there is no ledger {ledger} in this cluster: `stratamq admin ledger list` shows all"
        ))
    })
}

async fn info(given: &Given, cluster: &Cluster, ledger: LedgerId) -> Outcome {
    let stored = find(cluster, ledger).await?;
    if given.json {
        print_json(&as_json(&stored));
        return Ok(());
    }
    let metadata = &stored.metadata;
    let quorums = format!(
        "{} bookies, {} copies, {} to acknowledge",
        metadata.ensemble_size, metadata.write_quorum, metadata.ack_quorum
    );
    let mut rows = vec![
        ["ledger".to_string(), ledger.to_string()],
        ["state".into(), state(metadata).into()],
        ["spread".into(), quorums],
        ["digest".into(), format!("{:?}", metadata.digest)],
    ];
    if let Some((last, length)) = end(metadata) {
        rows.push(["last entry".into(), last.to_string()]);
        rows.push(["length".into(), table::bytes(length.max(0) as u64)]);
    }
    for (name, value) in &metadata.custom {
        rows.push([name.clone(), String::from_utf8_lossy(value).into_owned()]);
    }
    for segment in &metadata.segments {
        let bookies: Vec<_> = segment.ensemble.iter().map(ToString::to_string).collect();
        rows.push([format!("from entry {}", segment.first), bookies.join("  ")]);
    }
    table::print(["", ""], &rows);
    Ok(())
}

async fn delete(cluster: &Cluster, ledger: LedgerId, force: bool) -> Outcome {
    let stored = find(cluster, ledger).await?;
    if !force && !stored.metadata.is_closed() {
        return Err(Error::Failed(format!(
            "ledger {ledger} is {}: somebody may be writing it. Close it with `stratamq admin ledger recover {ledger}`, \
             or delete it with --force",
            state(&stored.metadata)
        )));
    }
    if !force && stored.metadata.is_log_link() {
        return Err(Error::Failed(format!(
            "ledger {ledger} is a link of log '{}': the log would have a hole. Only --force deletes it",
            stored.metadata.origin().map(|origin| origin.vb).unwrap_or_default()
        )));
    }
    let deleted = cluster.ledgers().delete(ledger, Some(stored.version)).await;
    if !deleted.map_err(|error| Error::cannot(format!("delete ledger {ledger}"), error))? {
        return Err(Error::Failed(format!("ledger {ledger} changed meanwhile: look again, then try again")));
    }
    say!("Ledger {ledger} is deleted.");
    Ok(())
}
