//! The head that a log puts before the caller's bytes in every entry.
//!
//! `"SL" | version u8 | flags u8 | crc u32 | epoch u64 | position u64 | length u32 | 0 u32`, big endian, 32 bytes.
//! The CRC-32C covers the head without itself, then the caller's bytes. Flags are zero in version 1; a reader
//! refuses those that it does not know. Every head of a ledger has this size, so a position follows from an entry's
//! id and the ledger's length up to it, without reading what lies between. Version 2 is [`super::sparse`]'s.

use bytes::Bytes;

use super::{Entry, Epoch, HEAD_LEN, Position, sparse};
use crate::Error;

const MAGIC: [u8; 2] = *b"SL";
const VERSION: u8 = 1;
const SPARSE: u8 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub epoch: Epoch,
    /// Of the entry's first byte.
    pub position: Position,
}

impl Head {
    pub fn encode(&self, body: &[u8]) -> [u8; HEAD_LEN] {
        self.encode_as(VERSION, (body.len() as u32, 0), body)
    }

    /// Of an entry of `length` bytes, so many pieces of which are in `rest`.
    pub(super) fn encode_sparse(&self, length: u32, pieces: u32, rest: &[u8]) -> [u8; HEAD_LEN] {
        self.encode_as(SPARSE, (length, pieces), rest)
    }

    fn encode_as(&self, version: u8, (length, last): (u32, u32), rest: &[u8]) -> [u8; HEAD_LEN] {
        let mut head = [0; HEAD_LEN];
        head[..2].copy_from_slice(&MAGIC);
        head[2] = version;
        head[8..16].copy_from_slice(&self.epoch.0.to_be_bytes());
        head[16..24].copy_from_slice(&self.position.0.to_be_bytes());
        head[24..28].copy_from_slice(&length.to_be_bytes());
        head[28..].copy_from_slice(&last.to_be_bytes());
        let crc = crc_of(&head, rest);
        head[4..8].copy_from_slice(&crc.to_be_bytes());
        head
    }

    /// Reads an entry's payload; `what` names it in the error.
    pub fn decode(payload: &Bytes, what: impl Fn() -> String) -> Result<(Head, Entry), Error> {
        let wrong = |why: &str| Error::Corrupt(format!("{}: {why}", what()));
        let head =
            payload.first_chunk::<HEAD_LEN>().ok_or_else(|| wrong("too short for an entry of a log"))?;
        if head[..2] != MAGIC {
            return Err(wrong("it is not an entry of a log"));
        }
        let (length, pieces) = (u32_at(head, 24), u32_at(head, 28));
        let is_sparse = match (head[2], pieces) {
            (VERSION, 0) => false,
            (SPARSE, _) => true,
            _ => return Err(wrong("it is of a newer format than this release knows")),
        };
        if head[3] != 0 {
            return Err(wrong("it is of a newer format than this release knows"));
        }
        let mut body = payload.slice(HEAD_LEN..);
        if !is_sparse && body.len() as u64 != u64::from(length) {
            return Err(wrong("its length is not the one in its head"));
        }
        if u32_at(head, 4) != crc_of(head, &body) {
            return Err(wrong("its checksum does not match its bytes"));
        }
        if is_sparse {
            body = sparse::expand(&body, length, pieces).ok_or_else(|| wrong("its pieces do not fit it"))?;
        }
        let position = Position(u64_at(head, 16));
        Ok((Head { epoch: Epoch(u64_at(head, 8)), position }, Entry { position, body }))
    }
}

/// The position that a head says, of which nothing but its shape is looked at.
pub fn position_of(head: &[u8]) -> Option<Position> {
    let head = head.first_chunk::<HEAD_LEN>()?;
    (head[..2] == MAGIC && head[2] == VERSION).then(|| Position(u64_at(head, 16)))
}

fn crc_of(head: &[u8; HEAD_LEN], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(&head[..4]), &head[8..]), body)
}

fn u32_at(head: &[u8; HEAD_LEN], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&head[at..at + 4]);
    u32::from_be_bytes(word)
}

fn u64_at(head: &[u8; HEAD_LEN], at: usize) -> u64 {
    u64::from(u32_at(head, at)) << 32 | u64::from(u32_at(head, at + 4))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEAD: Head = Head { epoch: Epoch(7), position: Position(0x1_0000_0002) };

    fn whole(body: &[u8]) -> Bytes {
        [&HEAD.encode(body), body].concat().into()
    }

    fn decode(payload: &Bytes) -> Result<(Head, Entry), Error> {
        Head::decode(payload, || "entry 3 of ledger 4".into())
    }

    #[test]
    fn the_golden_entry_is_read() {
        let golden = Bytes::from_static(include_bytes!("../../../tests/golden/log_entry.v1.bin"));
        assert_eq!(whole(b"what was appended"), golden);
        let body = Bytes::from_static(b"what was appended");
        assert_eq!(decode(&golden), Ok((HEAD, Entry { position: HEAD.position, body })));
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let good = whole(b"some bytes");
        for bit in 0..good.len() * 8 {
            let mut bad = good.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(
                matches!(decode(&bad.into()), Err(Error::Corrupt(why)) if why.starts_with("entry 3")),
                "{bit}"
            );
        }
    }

    proptest! {
        #[test]
        fn fuzz_a_payload_is_read_or_refused(bytes: Vec<u8>) {
            let _ = decode(&bytes.into());
        }

        #[test]
        fn what_is_encoded_is_read(body: Vec<u8>) {
            let body = Bytes::from(body);
            prop_assert_eq!(decode(&whole(&body)), Ok((HEAD, Entry { position: HEAD.position, body })));
        }
    }
}
