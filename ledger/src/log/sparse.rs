//! Version 2 of a log's entries: pieces of one that was appended, without what lies between them.
//!
//! The head is that of version 1, but for the version, the length, which is that of the whole entry, and its last number,
//! which counts pieces. Then `offset u32 | length u32` of each, then their bytes. The CRC-32C covers all of it. Read, such
//! an entry is as long as it ever was, so positions in it are what they were; what is left out is zeros.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::format::Head;
use super::{Entry, Epoch, HEAD_LEN, MAX_APPEND};

const PIECE_LEN: usize = 8;

/// An entry's payload that holds `pieces` of it, in order, and the rest too where leaving it out saves nothing.
pub fn encode(epoch: Epoch, entry: &Entry, pieces: &[Range<usize>]) -> Bytes {
    let head = Head { epoch, position: entry.position };
    let kept = |piece: &Range<usize>| entry.body.get(piece.clone()).unwrap_or_default();
    let mut rest = Vec::new();
    for piece in pieces {
        rest.extend_from_slice(&(piece.start as u32).to_be_bytes());
        rest.extend_from_slice(&(kept(piece).len() as u32).to_be_bytes());
    }
    pieces.iter().for_each(|piece| rest.extend_from_slice(kept(piece)));
    if rest.len() >= entry.body.len() {
        return [&head.encode(&entry.body), &*entry.body].concat().into();
    }
    [&head.encode_sparse(entry.body.len() as u32, pieces.len() as u32, &rest), &*rest].concat().into()
}

/// The whole entry, of which `rest` has pieces; `None` for what makes no sense.
pub(super) fn expand(rest: &[u8], length: u32, pieces: u32) -> Option<Bytes> {
    let (table, mut bytes) = rest.split_at_checked(PIECE_LEN.checked_mul(pieces as usize)?)?;
    let length = Some(length as usize).filter(|length| *length <= MAX_APPEND)?;
    let mut body = BytesMut::zeroed(length);
    let mut end = 0;
    for [o0, o1, o2, o3, l0, l1, l2, l3] in table.as_chunks::<PIECE_LEN>().0 {
        let offset = u32::from_be_bytes([*o0, *o1, *o2, *o3]) as usize;
        let (piece, behind) = bytes.split_at_checked(u32::from_be_bytes([*l0, *l1, *l2, *l3]) as usize)?;
        if offset < end {
            return None;
        }
        end = offset.checked_add(piece.len())?;
        body.get_mut(offset..end)?.copy_from_slice(piece);
        bytes = behind;
    }
    bytes.is_empty().then(|| body.freeze())
}

/// Bytes that a payload takes beside its head.
pub fn stored_len(payload: &Bytes) -> u64 {
    payload.len().saturating_sub(HEAD_LEN) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Error;
    use crate::log::Position;

    fn entry(body: &[u8]) -> Entry {
        Entry { position: Position(0x1_0000_0002), body: Bytes::copy_from_slice(body) }
    }

    fn decode(payload: &Bytes) -> Result<Entry, Error> {
        Head::decode(payload, || "entry 3 of ledger 4".into()).map(|(_, entry)| entry)
    }

    const BODY: &[u8] = b"what was appended, of which a part is needed and the rest is forgotten";

    #[test]
    fn the_golden_entry_is_read() {
        let golden = Bytes::from_static(include_bytes!("../../../tests/golden/log_entry.v2.bin"));
        assert_eq!(encode(Epoch(7), &entry(BODY), &[0..4, 28..34]), golden);
        let mut expected = vec![0; BODY.len()];
        expected[..4].copy_from_slice(b"what");
        expected[28..34].copy_from_slice(b"a part");
        assert_eq!(decode(&golden), Ok(entry(&expected)));
    }

    #[test]
    fn an_entry_of_which_everything_is_needed_is_of_version_1() {
        let whole = encode(Epoch(7), &entry(BODY), std::slice::from_ref(&(0..BODY.len())));
        assert_eq!((whole[2], whole.len()), (1, HEAD_LEN + BODY.len()));
        assert_eq!(decode(&whole), Ok(entry(BODY)));
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let good = encode(Epoch(7), &entry(BODY), &[0..4, 28..34]);
        for bit in 0..good.len() * 8 {
            let mut bad = good.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bad.into()).is_err(), "{bit}");
        }
    }

    proptest! {
        #[test]
        fn fuzz_pieces_are_read_or_refused(rest: Vec<u8>, length in 0u32..100_000, pieces in 0u32..100) {
            let _ = expand(&rest, length, pieces);
        }

        #[test]
        fn pieces_are_where_they_were_and_the_rest_is_zeros(
            body in proptest::collection::vec(1u8.., 1..300),
            cuts in proptest::collection::btree_set(0usize..300, 0..20),
        ) {
            let cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut <= body.len()).collect();
            let pieces: Vec<Range<usize>> = cuts.chunks_exact(2).map(|cut| cut[0]..cut[1]).collect();
            let read = decode(&encode(Epoch(1), &entry(&body), &pieces)).unwrap().body;
            prop_assert_eq!(read.len(), body.len());
            for (at, byte) in read.iter().enumerate() {
                let kept = pieces.iter().any(|piece| piece.contains(&at));
                prop_assert!(*byte == body[at] || *byte == 0 && !kept);
            }
        }
    }
}
