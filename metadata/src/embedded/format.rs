//! The bytes of an embedded store's file. Version 1; all integers big endian.
//!
//! A file `meta-<generation>` holds the whole store: a header, a snapshot, then a log. It consists of *blocks*, each
//! padded with zeroes to 512 bytes, so that a reader finds the next block behind a damaged one:
//!
//! ```text
//! block     magic "SMB1" · kind u8 · 3 zero bytes · payload length u32 · generation u64 · settled u64 · crc32c u32 · payload
//! header    kind 0; payload: version u32 · revision i64 · entries in the snapshot u64 · start of the log u64
//! snapshot  kind 1; payload: puts
//! log       kind 2; payload: puts and deletes, whole transactions
//! put       1 u8 · key length u32 · key · value length u32 · value · created i64 · modified i64 · version i64 · lease i64 (0: none)
//! delete    2 u8 · key length u32 · key · revision i64
//! ```
//!
//! `settled` is the position up to which the file had been synced when the block was written: an invalid block before
//! the greatest `settled` is damage to something acknowledged, one behind it is the torn end of what never was.

use bytes::{Buf, BufMut, Bytes};

use super::tree::{Item, Record};
use crate::store::LeaseId;
use crate::{Error, Revision};

pub const BLOCK: u64 = 512;
pub const VERSION: u32 = 1;
const MAGIC: &[u8; 4] = b"SMB1";
pub const HEAD: usize = 32;
/// No block is larger; a length above it is damage.
pub const LARGEST: usize = 8 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Header = 0,
    Snapshot = 1,
    Log = 2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHead {
    pub kind: Kind,
    pub payload: usize,
    pub generation: u64,
    pub settled: u64,
    crc: u32,
}

impl BlockHead {
    /// None if this is no block of `generation`.
    pub fn decode(mut bytes: &[u8], generation: u64) -> Option<BlockHead> {
        if bytes.len() < HEAD || !bytes.starts_with(MAGIC) {
            return None;
        }
        bytes.advance(MAGIC.len());
        let kind = match bytes.get_u8() {
            0 => Kind::Header,
            1 => Kind::Snapshot,
            2 => Kind::Log,
            _ => return None,
        };
        bytes.advance(3);
        let payload = bytes.get_u32() as usize;
        let head = BlockHead {
            kind,
            payload,
            generation: bytes.get_u64(),
            settled: bytes.get_u64(),
            crc: bytes.get_u32(),
        };
        (head.generation == generation && payload <= LARGEST).then_some(head)
    }

    /// Whether `payload` is what was written under this head.
    pub fn fits(&self, payload: &[u8]) -> bool {
        payload.len() == self.payload
            && self.crc == crc(&head(self.kind, self.payload, self.generation, self.settled), payload)
    }

    /// What the block takes on disk.
    pub fn padded(&self) -> u64 {
        padded((HEAD + self.payload) as u64)
    }
}

fn padded(len: u64) -> u64 {
    len.div_ceil(BLOCK) * BLOCK
}

fn head(kind: Kind, payload: usize, generation: u64, settled: u64) -> [u8; HEAD - 4] {
    let mut out = [0; HEAD - 4];
    let mut at = &mut out[..];
    at.put_slice(MAGIC);
    at.put_u8(kind as u8);
    at.put_bytes(0, 3);
    at.put_u32(payload as u32);
    at.put_u64(generation);
    at.put_u64(settled);
    out
}

fn crc(head: &[u8], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(head), payload)
}

/// A whole block, padded.
pub fn block(kind: Kind, generation: u64, settled: u64, payload: &[u8]) -> Vec<u8> {
    let head = head(kind, payload.len(), generation, settled);
    let len = padded((HEAD + payload.len()) as u64) as usize;
    let mut out = Vec::with_capacity(len);
    out.extend_from_slice(&head);
    out.put_u32(crc(&head, payload));
    out.extend_from_slice(payload);
    out.resize(len, 0);
    out
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub revision: Revision,
    pub entries: u64,
    pub log_start: u64,
}

impl Header {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_u32(VERSION);
        out.put_i64(self.revision.0);
        out.put_u64(self.entries);
        out.put_u64(self.log_start);
        out
    }

    pub fn decode(mut payload: &[u8]) -> Result<Header, String> {
        let version = payload.try_get_u32().map_err(|error| error.to_string())?;
        if version != VERSION {
            return Err(format!("it has format version {version}, this release knows {VERSION}: upgrade"));
        }
        if payload.len() != 24 {
            return Err("its header has the wrong length".into());
        }
        Ok(Header {
            revision: Revision(payload.get_i64()),
            entries: payload.get_u64(),
            log_start: payload.get_u64(),
        })
    }
}

/// Appends one change to a payload.
pub fn put_item(out: &mut Vec<u8>, item: &Item) {
    let text = |out: &mut Vec<u8>, bytes: &[u8]| {
        out.put_u32(bytes.len() as u32);
        out.put_slice(bytes);
    };
    match item {
        Item::Put { key, record } => {
            out.put_u8(1);
            text(out, key.as_bytes());
            text(out, &record.value);
            out.put_i64(record.created.0);
            out.put_i64(record.modified.0);
            out.put_i64(record.version);
            out.put_i64(record.lease.map_or(0, |lease| lease.0));
        }
        Item::Delete { key, at } => {
            out.put_u8(2);
            text(out, key.as_bytes());
            out.put_i64(at.0);
        }
    }
}

/// All changes of a payload whose checksum was right: what does not parse was written so.
pub fn items(payload: Vec<u8>) -> Result<Vec<Item>, Error> {
    let mut rest = Bytes::from(payload);
    let mut items = Vec::new();
    while !rest.is_empty() {
        let item =
            item(&mut rest).ok_or_else(|| Error::Corrupt("a block of the store makes no sense".into()))?;
        items.push(item);
    }
    Ok(items)
}

fn item(rest: &mut Bytes) -> Option<Item> {
    let kind = rest.try_get_u8().ok()?;
    let key = String::from_utf8(field(rest)?.to_vec()).ok()?;
    if kind == 2 {
        return Some(Item::Delete { key, at: Revision(rest.try_get_i64().ok()?) });
    }
    if kind != 1 {
        return None;
    }
    // Copied: a slice would keep its whole block in memory.
    let value = Bytes::copy_from_slice(&field(rest)?);
    let mut number = || rest.try_get_i64().ok();
    let (created, modified, version, lease) = (number()?, number()?, number()?, number()?);
    let lease = (lease != 0).then_some(LeaseId(lease));
    let record = Record { value, created: Revision(created), modified: Revision(modified), version, lease };
    Some(Item::Put { key, record })
}

fn field(rest: &mut Bytes) -> Option<Bytes> {
    let len = rest.try_get_u32().ok()? as usize;
    (len <= rest.len()).then(|| rest.split_to(len))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn fuzz_blocks_and_items_are_refused_or_read(bytes: Vec<u8>) {
            let _ = BlockHead::decode(&bytes, 0);
            let _ = Header::decode(&bytes);
            let _ = items(bytes);
        }

        #[test]
        fn a_changed_bit_is_seen(payload: Vec<u8>, bit in 0usize..1000) {
            let mut block = block(Kind::Log, 3, 512, &payload);
            let written = HEAD + payload.len();
            let bit = bit % (written * 8);
            block[bit / 8] ^= 1 << (bit % 8);
            let whole = BlockHead::decode(&block, 3)
                .is_some_and(|head| block.get(HEAD..HEAD + head.payload).is_some_and(|payload| head.fits(payload)));
            // Bits of the zero bytes behind the kind are checked by the checksum's own zeroes.
            prop_assert!(!whole || (5..8).contains(&(bit / 8)));
        }
    }
}
