//! Version 1 of an entry's bytes.
//!
//! `preamble (48) | records | table | CRC-32C of the table`, integers big endian.
//!
//! The table stands behind the records: so the position of a record is final when it is staged, and a message is
//! encoded once, into the very bytes that are appended, cached and served. Preamble and table are enough to rebuild
//! the index; each record has a checksum of its own, so that a range of an entry can be verified.

use bytes::Bytes;

use super::varint;

const MAGIC: [u8; 2] = *b"SM";
const VERSION: u8 = 1;
pub const PREAMBLE_LEN: usize = 48;
pub const CRC_LEN: usize = 4;
/// The most bytes of an entry.
pub const MAX_ENTRY: usize = ledger::log::MAX_APPEND;
/// More than any row of the table takes without its keys.
pub const ROW_ROOM: usize = 64;

const MESSAGE: u8 = 1;
const CHANGE: u8 = 2;
const MARK: u8 = 3;
const CRITICAL: u8 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preamble {
    pub vb: u32,
    pub epoch: u64,
    /// The log position of the preamble.
    pub base: u64,
    /// Of the first record, in milliseconds since 1970. Rows count on from it.
    pub store_time: i64,
    pub rows: u32,
    pub records_len: u32,
    pub table_len: u32,
}

/// One record, as the table has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Where the record begins in the log.
    pub position: u64,
    pub len: u32,
    pub crc: u32,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Message(MessageRow),
    Change {
        store_time: i64,
    },
    /// Nothing: it shows that its writer still owned the log.
    Mark,
    /// Of a later release, which says that it may be skipped.
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageRow {
    pub topic: u32,
    pub queue: u16,
    pub queue_offset: u64,
    pub store_time: i64,
    pub tag: i64,
    pub keys: Vec<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Corrupt(pub String);

fn corrupt(why: impl Into<String>) -> Corrupt {
    Corrupt(why.into())
}

impl Preamble {
    pub fn encode(&self) -> [u8; PREAMBLE_LEN] {
        let mut out = [0; PREAMBLE_LEN];
        out[..2].copy_from_slice(&MAGIC);
        out[2] = VERSION;
        out[8..12].copy_from_slice(&self.vb.to_be_bytes());
        out[12..16].copy_from_slice(&self.rows.to_be_bytes());
        out[16..24].copy_from_slice(&self.epoch.to_be_bytes());
        out[24..32].copy_from_slice(&self.base.to_be_bytes());
        out[32..40].copy_from_slice(&self.store_time.to_be_bytes());
        out[40..44].copy_from_slice(&self.records_len.to_be_bytes());
        out[44..48].copy_from_slice(&self.table_len.to_be_bytes());
        let crc = crc_of(&out);
        out[4..8].copy_from_slice(&crc.to_be_bytes());
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Preamble, Corrupt> {
        let head: &[u8; PREAMBLE_LEN] =
            bytes.first_chunk().ok_or_else(|| corrupt("too short for an entry of a virtual broker"))?;
        if head[..2] != MAGIC {
            return Err(corrupt("it is not an entry of a virtual broker"));
        }
        if u32_at(head, 4) != crc_of(head) {
            return Err(corrupt("the checksum of its preamble does not match"));
        }
        if head[2] != VERSION || head[3] != 0 {
            return Err(corrupt("it is of a newer format than this release knows: upgrade this broker"));
        }
        Ok(Preamble {
            vb: u32_at(head, 8),
            rows: u32_at(head, 12),
            epoch: u64_at(head, 16),
            base: u64_at(head, 24),
            store_time: u64_at(head, 32) as i64,
            records_len: u32_at(head, 40),
            table_len: u32_at(head, 44),
        })
    }
}

fn crc_of(preamble: &[u8; PREAMBLE_LEN]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&preamble[..4]), &preamble[8..])
}

fn u32_at(bytes: &[u8; PREAMBLE_LEN], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_be_bytes(word)
}

fn u64_at(bytes: &[u8; PREAMBLE_LEN], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) << 32 | u64::from(u32_at(bytes, at + 4))
}

/// What the table says of a message that is being staged.
pub struct NewRow<'a> {
    pub topic: u32,
    pub queue: u16,
    pub queue_offset: u64,
    /// Milliseconds after the preamble's store time.
    pub later: u64,
    pub tag: i64,
    pub keys: &'a [u64],
}

/// Returns the record's CRC-32C.
pub fn put_message(table: &mut Vec<u8>, record: &[u8], row: &NewRow<'_>) -> u32 {
    put_row(table, MESSAGE, CRITICAL, record, |rest| {
        varint::put(rest, u64::from(row.topic));
        varint::put(rest, u64::from(row.queue));
        varint::put(rest, row.queue_offset);
        varint::put(rest, row.later);
        varint::put_signed(rest, row.tag);
        row.keys.iter().for_each(|key| rest.extend_from_slice(&key.to_be_bytes()));
    })
}

/// `later` as in [`NewRow`].
pub fn put_change(table: &mut Vec<u8>, record: &[u8], critical: bool, later: u64) {
    put_row(table, CHANGE, u8::from(critical) * CRITICAL, record, |rest| varint::put(rest, later));
}

pub fn put_mark(table: &mut Vec<u8>) {
    put_row(table, MARK, 0, &[], |_| ());
}

/// `length of the row u16 | kind | flags | CRC-32C | length of the record | the rest, by kind`.
fn put_row(table: &mut Vec<u8>, kind: u8, flags: u8, record: &[u8], rest: impl FnOnce(&mut Vec<u8>)) -> u32 {
    let (at, crc) = (table.len(), crc32c::crc32c(record));
    table.extend_from_slice(&[0, 0, kind, flags]);
    table.extend_from_slice(&crc.to_be_bytes());
    varint::put(table, record.len() as u64);
    rest(table);
    let len = (table.len() - at - 2) as u16;
    table[at..at + 2].copy_from_slice(&len.to_be_bytes());
    crc
}

/// An entry that was read and whose preamble and table are whole.
#[derive(Clone, Debug)]
pub struct Contents {
    pub preamble: Preamble,
    pub rows: Vec<Row>,
    records: Bytes,
}

impl Contents {
    /// Reads the entry at `position`. Bodies are not looked at: see [`Contents::record`].
    pub fn decode(position: u64, body: &Bytes) -> Result<Contents, Corrupt> {
        decode(position, body).map_err(|why| corrupt(format!("the entry at position {position}: {why}")))
    }

    /// Where the entry ends in the log.
    pub fn end(&self) -> u64 {
        let Preamble { base, records_len, table_len, .. } = self.preamble;
        base + (PREAMBLE_LEN + CRC_LEN) as u64 + u64::from(records_len) + u64::from(table_len)
    }

    /// A record's bytes, without a copy, if its checksum is right.
    pub fn record(&self, row: &Row) -> Result<Bytes, Corrupt> {
        let from = row.position.saturating_sub(self.preamble.base + PREAMBLE_LEN as u64) as usize;
        let wrong = || corrupt(format!("the record at position {} is damaged", row.position));
        if from + row.len as usize > self.records.len() {
            return Err(wrong());
        }
        let record = self.records.slice(from..from + row.len as usize);
        match crc32c::crc32c(&record) == row.crc {
            true => Ok(record),
            false => Err(wrong()),
        }
    }
}

fn decode(position: u64, body: &Bytes) -> Result<Contents, Corrupt> {
    let preamble = Preamble::decode(body)?;
    if preamble.base != position {
        return Err(corrupt(format!("it says that it is at {}", preamble.base)));
    }
    let records_end = PREAMBLE_LEN + preamble.records_len as usize;
    let table_end = records_end + preamble.table_len as usize;
    if table_end + CRC_LEN != body.len() {
        return Err(corrupt("its length is not the one in its preamble"));
    }
    let (table, crc) = body[records_end..].split_at(table_end - records_end);
    if crc32c::crc32c(table).to_be_bytes() != crc {
        return Err(corrupt("the checksum of its table does not match"));
    }
    let records = body.slice(PREAMBLE_LEN..records_end);
    let rows = Table { rest: table, at: position + PREAMBLE_LEN as u64, preamble: &preamble }.rows()?;
    let end = rows.last().map_or(position + PREAMBLE_LEN as u64, |row| row.position + u64::from(row.len));
    if end != position + records_end as u64 {
        return Err(corrupt("its records and its table differ in length"));
    }
    Ok(Contents { preamble, rows, records })
}

struct Table<'a> {
    rest: &'a [u8],
    at: u64,
    preamble: &'a Preamble,
}

impl Table<'_> {
    fn rows(mut self) -> Result<Vec<Row>, Corrupt> {
        let mut rows = Vec::with_capacity((self.preamble.rows as usize).min(self.rest.len() / 9));
        while !self.rest.is_empty() {
            rows.push(self.row().ok_or_else(|| corrupt("its table is cut short"))??);
        }
        match rows.len() == self.preamble.rows as usize {
            true => Ok(rows),
            false => Err(corrupt("its table has another number of rows than its preamble says")),
        }
    }

    fn row(&mut self) -> Option<Result<Row, Corrupt>> {
        let len = usize::from(u16::from_be_bytes(*self.rest.first_chunk()?));
        let (row, rest) = self.rest[2..].split_at_checked(len)?;
        self.rest = rest;
        let (&[kind, flags], row) = row.split_first_chunk()?;
        let (crc, mut row) = row.split_first_chunk()?;
        let len = u32::try_from(varint::take(&mut row)?).ok()?;
        let what = match kind {
            MESSAGE => What::Message(message_row(row, self.preamble.store_time)?),
            CHANGE => {
                let later = varint::take(&mut row)?;
                What::Change { store_time: self.preamble.store_time.checked_add_unsigned(later)? }
            }
            MARK => What::Mark,
            _ if flags & CRITICAL == 0 => What::Unknown,
            kind => {
                let why =
                    format!("it has a record of kind {kind}, which must be understood: upgrade this broker");
                return Some(Err(corrupt(why)));
            }
        };
        let position = self.at;
        self.at += u64::from(len);
        Some(Ok(Row { position, len, crc: u32::from_be_bytes(*crc), what }))
    }
}

fn message_row(mut row: &[u8], base_time: i64) -> Option<MessageRow> {
    let topic = u32::try_from(varint::take(&mut row)?).ok()?;
    let queue = u16::try_from(varint::take(&mut row)?).ok()?;
    let queue_offset = varint::take(&mut row)?;
    let later = varint::take(&mut row)?;
    let tag = varint::take_signed(&mut row)?;
    let (keys, rest) = row.as_chunks::<8>();
    let keys = keys.iter().map(|key| u64::from_be_bytes(*key)).collect();
    let store_time = base_time.checked_add_unsigned(later)?;
    rest.is_empty().then_some(MessageRow { topic, queue, queue_offset, store_time, tag, keys })
}
