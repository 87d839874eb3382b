//! Formats 1 and 2 of ledger metadata, which old releases of BookKeeper wrote. Read only.

use std::collections::BTreeMap;

use bytes::Bytes;
use protocol::entry::DigestType;
use protocol::{BookieId, EntryId};

use super::ledger::{LedgerMetadata, Segment, State, Stored, StoredCustom, StoredSegment};
use super::text::{self, Field};

/// In format 1, "closed" at this entry means "in recovery".
const IN_RECOVERY: i64 = -102;

/// Lines: write quorum, ensemble size, length; then a line per segment (first entry, bookies), fields parted by tabs;
/// at last, unless open, `<last entry>\tCLOSED`.
pub(super) fn decode_1(body: &str) -> Result<LedgerMetadata, String> {
    let mut lines = body.lines();
    let mut number = |what: &str| {
        let line = lines.next().ok_or_else(|| format!("it ends before the {what}"))?;
        line.parse::<i64>().map_err(|_| format!("its {what} is '{line}'"))
    };
    let quorum = |n: i64| u32::try_from(n).map_err(|_| format!("a quorum of {n} is impossible"));
    let write_quorum = quorum(number("write quorum")?)?;
    let ensemble_size = quorum(number("ensemble size")?)?;
    let length = number("length")?;
    let mut state = State::Open;
    let mut segments = Vec::new();
    for line in lines {
        let mut parts = line.split('\t');
        let first = parts.next().unwrap_or_default();
        let first = first.parse::<i64>().map_err(|_| format!("an entry id is '{first}'"))?;
        let rest: Vec<&str> = parts.collect();
        if rest.first() == Some(&"CLOSED") {
            state = match first {
                IN_RECOVERY => State::InRecovery,
                last => State::Closed { last: EntryId(last), length },
            };
            break;
        }
        let ensemble = rest.iter().map(|id| id.parse::<BookieId>().map_err(|error| error.to_string()));
        segments.push(Segment { first: EntryId(first), ensemble: ensemble.collect::<Result<_, _>>()? });
    }
    LedgerMetadata {
        ensemble_size,
        write_quorum,
        ack_quorum: write_quorum,
        state,
        segments,
        digest: DigestType::Crc32,
        password: Bytes::new(),
        created_ms: None,
        custom: BTreeMap::new(),
        token: 0,
    }
    .checked()
}

/// The message of format 3 as text.
pub(super) fn decode_2(body: &str) -> Result<Stored, String> {
    let mut stored = Stored::default();
    for (name, field) in text::parse(body)? {
        match (name, field) {
            ("quorumSize", Field::Word(word)) => stored.write_quorum = number(name, word)?,
            ("ensembleSize", Field::Word(word)) => stored.ensemble_size = number(name, word)?,
            ("length", Field::Word(word)) => stored.length = number(name, word)?,
            ("lastEntryId", Field::Word(word)) => stored.last_entry = Some(number(name, word)?),
            ("state", Field::Word(word)) => {
                stored.state = named(name, word, &["OPEN", "IN_RECOVERY", "CLOSED"])?
            }
            ("segment", Field::Message(fields)) => stored.segments.push(segment(fields)?),
            ("digestType", Field::Word(word)) => {
                stored.digest = Some(named(name, word, &["CRC32", "HMAC", "CRC32C", "DUMMY"])?);
            }
            ("password", Field::Bytes(bytes)) => stored.password = Some(bytes.into()),
            ("ackQuorumSize", Field::Word(word)) => stored.ack_quorum = Some(number(name, word)?),
            ("ctime", Field::Word(word)) => stored.created_ms = Some(number(name, word)?),
            ("customMetadata", Field::Message(fields)) => stored.custom.push(custom(fields)),
            ("cToken", Field::Word(word)) => stored.token = Some(number(name, word)?),
            (other, _) => return Err(format!("field {other} is unknown or of the wrong type")),
        }
    }
    Ok(stored)
}

fn number<T: std::str::FromStr>(name: &str, word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("{name} is '{word}'"))
}

/// Enums are numbered from 1 in the order of `names`.
fn named(name: &str, word: &str, names: &[&str]) -> Result<i32, String> {
    let at = names.iter().position(|known| *known == word).ok_or_else(|| format!("{name} is '{word}'"))?;
    i32::try_from(at + 1).map_err(|error| error.to_string())
}

fn segment(fields: Vec<(&str, Field<'_>)>) -> Result<StoredSegment, String> {
    let mut segment = StoredSegment::default();
    for (name, field) in fields {
        match (name, field) {
            ("ensembleMember", Field::Bytes(id)) => {
                segment.bookies.push(String::from_utf8(id).map_err(|error| error.to_string())?);
            }
            ("firstEntryId", Field::Word(word)) => segment.first = number(name, word)?,
            (other, _) => return Err(format!("field {other} of a segment is unknown or of the wrong type")),
        }
    }
    Ok(segment)
}

fn custom(fields: Vec<(&str, Field<'_>)>) -> StoredCustom {
    let mut custom = StoredCustom::default();
    for (name, field) in fields {
        match (name, field) {
            ("key", Field::Bytes(bytes)) => custom.key = Some(String::from_utf8_lossy(&bytes).into_owned()),
            ("value", Field::Bytes(bytes)) => custom.value = Some(bytes.into()),
            _ => {}
        }
    }
    custom
}
