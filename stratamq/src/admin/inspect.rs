//! `stratamq admin bookie inspect`: the segments of a bookie that does not run, read as they are.
//!
//! Nothing is changed and the index is not needed. Damage below the greatest position up to which answers had been given
//! is loss; what is broken above it is the tail of a crash, which the bookie cuts when it starts.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use bookie::identity::file::Identity;
use bookie::inspect::{Inspector, RecordInfo, Scan, What};
use bookie::{Position, SegmentId};
use clap::Args;
use disk::real::Folder;
use serde_json::json;

use super::{Given, print_json};
use crate::error::{Error, Outcome};
use crate::output::say;
use crate::table;

#[derive(Args)]
pub struct Inspect {
    /// A data folder of a bookie that does not run
    folder: PathBuf,
    /// Only this segment
    #[arg(long, value_name = "N")]
    segment: Option<u32>,
    /// Show every record
    #[arg(long)]
    records: bool,
}

/// What is in one segment.
#[derive(Default)]
struct Seen {
    scan: Scan,
    entries: u64,
    entry_bytes: u64,
    others: u64,
    ledgers: BTreeSet<i64>,
}

pub fn run(given: &Given, wanted: &Inspect) -> Outcome {
    let shown = wanted.folder.display();
    if !wanted.folder.is_dir() {
        return Err(Error::Failed(format!("{shown} is not a folder: name one of the bookie's data folders")));
    }
    let failed = |error: std::io::Error| Error::cannot(format!("inspect {shown}"), error);
    let disk = Arc::new(Folder::open(&wanted.folder).map_err(failed)?);
    let identity = Identity::load(&*disk).map_err(failed)?;
    let identity = identity
        .ok_or_else(|| Error::Failed(format!("{shown} has no identity: it is no data folder of a bookie")))?
        .map_err(|error| Error::Failed(format!("the identity in {shown} cannot be read: {error}")))?;
    let inspector = Inspector::new(disk, identity.disk.into_bytes()).map_err(failed)?;
    let mut all = Vec::new();
    for id in inspector.segments().iter().filter(|id| wanted.segment.is_none_or(|only| only == id.0)) {
        match look(&inspector, *id, given, wanted).map_err(failed)? {
            Some(seen) => all.push((*id, seen)),
            None => return Ok(()),
        }
    }
    let acked = match wanted.segment {
        // Later segments tell more of this one.
        Some(_) => inspector.acked().map_err(failed)?,
        None => all.iter().map(|(_, seen)| seen.scan.acked).max().unwrap_or_default(),
    };
    report(given, &identity, &all, acked)
}

/// `None` once nobody reads any more.
fn look(
    inspector: &Inspector,
    id: SegmentId,
    given: &Given,
    wanted: &Inspect,
) -> std::io::Result<Option<Seen>> {
    let (mut seen, mut deaf) = (Seen::default(), false);
    seen.scan = inspector.scan(id, &mut |record| {
        match record.what {
            What::Entry { ledger, .. } => {
                seen.entries += 1;
                seen.entry_bytes += u64::from(record.length);
                seen.ledgers.insert(ledger.0);
            }
            _ => seen.others += 1,
        }
        deaf = wanted.records && !show(given, &record);
        if deaf { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok((!deaf).then_some(seen))
}

/// `false` once nobody reads any more.
fn show(given: &Given, record: &RecordInfo) -> bool {
    let RecordInfo { at, length, intact, what } = record;
    if given.json {
        let (ledger, entry) = match what {
            What::Entry { ledger, entry, .. } => (Some(ledger.0), Some(entry.0)),
            _ => (None, None),
        };
        let value = json!({
            "at": at.to_string(),
            "what": what.to_string(),
            "bytes": length,
            "intact": intact,
            "ledger": ledger,
            "entry": entry,
        });
        say!("{value}")
    } else {
        let state = if *intact { "" } else { "  DAMAGED" };
        say!("{:>16}  {length:>8} bytes  {what}{state}", at.to_string())
    }
}

fn report(given: &Given, identity: &Identity, all: &[(SegmentId, Seen)], acked: Position) -> Outcome {
    let broken: Vec<_> = all.iter().flat_map(|(_, seen)| &seen.scan.broken).collect();
    let lost = broken.iter().filter(|(at, _)| *at < acked).count();
    let verdict =
        |at: &Position| if *at < acked { "LOST: had been acknowledged" } else { "a torn tail: cut at start" };
    if given.json {
        for (id, seen) in all {
            let broken: Vec<_> = seen
                .scan
                .broken
                .iter()
                .map(|(at, what)| json!({ "at": at.to_string(), "what": what, "lost": *at < acked }))
                .collect();
            print_json(&json!({
                "segment": id.0,
                "bytes": seen.scan.bytes,
                "used": seen.scan.used,
                "groups": seen.scan.groups,
                "entries": seen.entries,
                "entry_bytes": seen.entry_bytes,
                "other_records": seen.others,
                "ledgers": seen.ledgers.len(),
                "clean_end": seen.scan.clean,
                "broken": broken,
            }));
        }
    } else {
        say!("Bookie {}, incarnation {}, disk {}.\n", identity.bookie, identity.incarnation, identity.disk);
        let rows: Vec<_> = all.iter().map(|(id, seen)| row(*id, seen)).collect();
        table::print(
            ["segment", "size", "used", "groups", "entries", "ledgers", "other records", "broken"],
            &rows,
        );
        for (at, what) in &broken {
            say!("{at}: {what}. {}", verdict(at));
        }
        say!("\nAcknowledged up to {acked}.");
    }
    match lost {
        0 => Ok(()),
        lost => Err(Error::Failed(format!(
            "{lost} places are damaged that had been acknowledged: start the bookie, it will say \"I cannot tell\" for the \
             ledgers there, and repair copies them from others"
        ))),
    }
}

fn row(id: SegmentId, seen: &Seen) -> [String; 8] {
    [
        id.to_string(),
        table::bytes(u64::from(seen.scan.bytes)),
        table::bytes(u64::from(seen.scan.used)),
        seen.scan.groups.to_string(),
        seen.entries.to_string(),
        seen.ledgers.len().to_string(),
        seen.others.to_string(),
        seen.scan.broken.len().to_string(),
    ]
}
