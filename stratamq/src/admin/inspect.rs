//! `stratamq admin bookie inspect`: the segments of a bookie that does not run, read as they are.
//!
//! Nothing is changed and the index is not needed. Damage below the greatest position up to which answers had been given
//! is loss; what is broken above it is the tail of a crash, which the bookie cuts when it starts.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use bookie::identity::file::Identity;
use bookie::segment::files::{SegmentFile, Segments};
use bookie::segment::format::{CLEAN, Kind, SEGMENT_HEADER};
use bookie::segment::record::decode_ledger;
use bookie::segment::walk::{self, Record};
use bookie::{Position, SegmentId};
use clap::Args;
use disk::real::Folder;
use protocol::entry::Header;
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

/// Segment files kept open.
const OPEN: usize = 4;

/// What is in one segment.
#[derive(Default)]
struct Seen {
    size: u32,
    used: u32,
    groups: u64,
    entries: u64,
    entry_bytes: u64,
    others: u64,
    ledgers: BTreeSet<i64>,
    clean: bool,
    /// The greatest position up to which answers had been given, as its groups say.
    acked: Position,
    /// Where something is broken, and what.
    broken: Vec<(Position, String)>,
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
    let segments = Segments::new(disk, identity.disk.into_bytes(), OPEN);
    let listed = segments.list().map_err(failed)?.segments;
    let mut all = Vec::new();
    for id in listed.into_iter().filter(|id| wanted.segment.is_none_or(|only| only == id.0)) {
        let seen = match segments.open(id) {
            Ok(file) => match look(&file, given, wanted) {
                Ok(seen) => seen,
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
                Err(error) => return Err(failed(error)),
            },
            Err(error) => {
                Seen { broken: vec![(Position::new(id, 0), error.into_io().to_string())], ..Seen::default() }
            }
        };
        all.push((id, seen));
    }
    report(given, &identity, &all)
}

fn look(file: &SegmentFile, given: &Given, wanted: &Inspect) -> std::io::Result<Seen> {
    let mut seen = Seen { size: file.size, used: SEGMENT_HEADER as u32, ..Seen::default() };
    let (mut at, mut last) = (SEGMENT_HEADER as u32, None);
    loop {
        let follows = |sequence: u64, boot: u32| {
            last.is_none_or(|(before, boot_before)| sequence > before && boot >= boot_before)
        };
        let found =
            walk::header_at(file, at)?.filter(|group| follows(group.header.sequence, group.header.boot));
        let group = match found {
            Some(group) => group,
            None => {
                // A hole in the chain shows by a later group behind it.
                let next = walk::find(file, at, |header| follows(header.sequence, header.boot))?;
                let Some(next) = next else { break };
                let what = format!("{} bytes without a group, and groups behind them", next.offset - at);
                seen.broken.push((Position::new(file.id, at), what));
                next
            }
        };
        last = Some((group.header.sequence, group.header.boot));
        let content = walk::content(file, &group)?;
        seen.groups += 1;
        seen.acked = seen.acked.max(group.header.acked);
        seen.clean = group.header.flags & CLEAN != 0;
        for record in &content.records {
            note(&mut seen, file.id, record);
            if wanted.records && !show(given, file.id, record) {
                return Err(ErrorKind::BrokenPipe.into());
            }
        }
        if !content.complete {
            let what = format!(
                "a group of {} records of which {} can be read",
                group.header.records,
                content.records.len()
            );
            seen.broken.push((Position::new(file.id, group.offset), what));
        }
        at = walk::after(&group);
        seen.used = at;
    }
    Ok(seen)
}

fn note(seen: &mut Seen, segment: SegmentId, record: &Record) {
    match (record.header.kind, Header::of(&record.body)) {
        (Kind::Entry, Some(header)) => {
            seen.entries += 1;
            seen.entry_bytes += record.body.len() as u64;
            seen.ledgers.insert(header.ledger.0);
        }
        _ => seen.others += 1,
    }
    if !record.intact {
        let what = format!("{}: its checksum is wrong", named(record));
        seen.broken.push((Position::new(segment, record.offset), what));
    }
}

fn named(record: &Record) -> String {
    match record.header.kind {
        Kind::Entry => match Header::of(&record.body) {
            Some(header) => format!("entry {} of ledger {}", header.entry, header.ledger),
            None => "an entry that is too short".into(),
        },
        Kind::Ledger => match decode_ledger(&record.body) {
            Some((ledger, state)) => {
                let flags = [
                    (state.fenced, "fenced"),
                    (state.deleted, "deleted"),
                    (state.limbo, "in limbo"),
                    (state.lac.is_some(), "explicit LAC"),
                ];
                let flags: Vec<_> = flags.into_iter().filter(|(set, _)| *set).map(|(_, flag)| flag).collect();
                format!("state of ledger {ledger} {}", flags.join(", ")).trim_end().to_string()
            }
            None => "a ledger's state that cannot be read".into(),
        },
        Kind::Shelf => "state of the disk".into(),
    }
}

/// `false` once nobody reads any more.
fn show(given: &Given, segment: SegmentId, record: &Record) -> bool {
    let at = Position::new(segment, record.offset).to_string();
    if given.json {
        let header = Header::of(&record.body).filter(|_| record.header.kind == Kind::Entry);
        let value = json!({
            "at": at,
            "what": named(record),
            "bytes": record.header.length,
            "intact": record.intact,
            "ledger": header.map(|header| header.ledger.0),
            "entry": header.map(|header| header.entry.0),
        });
        say!("{value}")
    } else {
        let state = if record.intact { "" } else { "  DAMAGED" };
        say!("{at:>16}  {:>8} bytes  {}{state}", record.header.length, named(record))
    }
}

fn report(given: &Given, identity: &Identity, all: &[(SegmentId, Seen)]) -> Outcome {
    let acked = all.iter().map(|(_, seen)| seen.acked).max().unwrap_or_default();
    let broken: Vec<_> = all.iter().flat_map(|(_, seen)| &seen.broken).collect();
    let lost = broken.iter().filter(|(at, _)| *at < acked).count();
    let verdict =
        |at: &Position| if *at < acked { "LOST: had been acknowledged" } else { "a torn tail: cut at start" };
    if given.json {
        for (id, seen) in all {
            let broken: Vec<_> = seen
                .broken
                .iter()
                .map(|(at, what)| json!({ "at": at.to_string(), "what": what, "lost": *at < acked }))
                .collect();
            print_json(&json!({
                "segment": id.0,
                "bytes": seen.size,
                "used": seen.used,
                "groups": seen.groups,
                "entries": seen.entries,
                "entry_bytes": seen.entry_bytes,
                "other_records": seen.others,
                "ledgers": seen.ledgers.len(),
                "clean_end": seen.clean,
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
        table::bytes(u64::from(seen.size)),
        table::bytes(u64::from(seen.used)),
        seen.groups.to_string(),
        seen.entries.to_string(),
        seen.ledgers.len().to_string(),
        seen.others.to_string(),
        seen.broken.len().to_string(),
    ]
}
