//! What the records that are not entries say. Drawn in docs/formats.md, *Segment*.

use bytes::Bytes;
use protocol::entry::MasterKey;
use protocol::{EntryId, LedgerId};

use super::format::Fields;
use crate::position::SegmentId;
use crate::state::{LedgerState, ShelfState};

const KEY: u8 = 1;
const FENCED: u8 = 2;
const VOUCHED: u8 = 4;
const DELETED: u8 = 8;
const LIMBO: u8 = 16;
const LAC: u8 = 32;
const KNOWN: u8 = 63;

/// The largest explicit LAC packet that is taken: ids and the longest digest, with room to spare.
pub const MAX_LAC_PACKET: usize = 256;

/// `ledger i64 | flags u8 | born u32 | cleared u32 | key [20] if flag 1 | lac i64, packet to the end if flag 32`
pub fn encode_ledger(ledger: LedgerId, state: &LedgerState) -> Vec<u8> {
    let mut out = Vec::with_capacity(96);
    out.extend(ledger.0.to_be_bytes());
    encode_state(state, &mut out);
    out
}

pub fn decode_ledger(body: &[u8]) -> Option<(LedgerId, LedgerState)> {
    let mut fields = Fields(body);
    let ledger = LedgerId(fields.i64()?);
    Some((ledger, decode_state(fields)?))
}

pub(crate) fn encode_state(state: &LedgerState, out: &mut Vec<u8>) {
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    out.push(
        flag(state.key.is_some(), KEY)
            | flag(state.fenced, FENCED)
            | flag(state.vouched, VOUCHED)
            | flag(state.deleted, DELETED)
            | flag(state.limbo, LIMBO)
            | flag(state.lac.is_some(), LAC),
    );
    out.extend(state.born.to_be_bytes());
    out.extend(state.cleared.to_be_bytes());
    if let Some(key) = &state.key {
        out.extend(key.0);
    }
    if let Some((lac, packet)) = &state.lac {
        out.extend(lac.0.to_be_bytes());
        out.extend(packet);
    }
}

pub(crate) fn decode_state(mut fields: Fields<'_>) -> Option<LedgerState> {
    let flags = fields.u8()?;
    if flags & !KNOWN != 0 {
        return None;
    }
    let (born, cleared) = (fields.u32()?, fields.u32()?);
    let key = if flags & KEY != 0 { Some(MasterKey(fields.take()?)) } else { None };
    let lac = if flags & LAC != 0 {
        Some((EntryId(fields.i64()?), Bytes::copy_from_slice(fields.0)))
    } else if fields.0.is_empty() {
        None
    } else {
        return None;
    };
    Some(LedgerState {
        key,
        fenced: flags & FENCED != 0,
        vouched: flags & VOUCHED != 0,
        deleted: flags & DELETED != 0,
        limbo: flags & LIMBO != 0,
        born,
        cleared,
        lac,
    })
}

/// `damages u32 | cleared u32 | (first u32, last u32)*`: the segments that count, as ranges.
pub fn encode_shelf(state: &ShelfState, segments: impl Iterator<Item = SegmentId>) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    out.extend(state.damages.to_be_bytes());
    out.extend(state.cleared.to_be_bytes());
    let mut range: Option<(u32, u32)> = None;
    for SegmentId(id) in segments {
        range = match range {
            Some((first, last)) if last + 1 == id => Some((first, id)),
            whole => {
                push_range(whole, &mut out);
                Some((id, id))
            }
        };
    }
    push_range(range, &mut out);
    out
}

fn push_range(range: Option<(u32, u32)>, out: &mut Vec<u8>) {
    if let Some((first, last)) = range {
        out.extend(first.to_be_bytes());
        out.extend(last.to_be_bytes());
    }
}

/// The shelf's state and the segments that count, as ranges (ascending, both ends inclusive).
pub fn decode_shelf(body: &[u8]) -> Option<(ShelfState, Vec<(u32, u32)>)> {
    let mut fields = Fields(body);
    let state = ShelfState { damages: fields.u32()?, cleared: fields.u32()? };
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    while !fields.0.is_empty() {
        let (first, last) = (fields.u32()?, fields.u32()?);
        if first > last || ranges.last().is_some_and(|(_, before)| *before >= first) {
            return None;
        }
        ranges.push((first, last));
    }
    Some((state, ranges))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn states() -> impl Strategy<Value = LedgerState> {
        let lac = proptest::option::of((0..i64::MAX, proptest::collection::vec(any::<u8>(), 0..64)));
        let flags = any::<[bool; 4]>();
        (proptest::option::of(any::<[u8; 20]>()), flags, any::<[u32; 2]>(), lac).prop_map(
            |(key, [fenced, vouched, deleted, limbo], [born, cleared], lac)| LedgerState {
                key: key.map(MasterKey),
                fenced,
                vouched,
                deleted,
                limbo,
                born,
                cleared,
                lac: lac.map(|(lac, packet)| (EntryId(lac), packet.into())),
            },
        )
    }

    proptest! {
        #[test]
        fn a_ledger_record_survives_the_round_trip(ledger: i64, state in states()) {
            let bytes = encode_ledger(LedgerId(ledger), &state);
            prop_assert_eq!(decode_ledger(&bytes), Some((LedgerId(ledger), state)));
        }

        #[test]
        fn a_shelf_record_survives_the_round_trip(ids in proptest::collection::btree_set(0u32..60, 0..40)) {
            let state = ShelfState { damages: 3, cleared: 1 };
            let bytes = encode_shelf(&state, ids.iter().map(|id| SegmentId(*id)));
            let (decoded, ranges) = decode_shelf(&bytes).expect("own bytes");
            prop_assert_eq!(decoded, state);
            let named: Vec<u32> = ranges.into_iter().flat_map(|(first, last)| first..=last).collect();
            prop_assert_eq!(named, ids.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn fuzz_records_of_any_bytes_do_no_harm(bytes: Vec<u8>) {
            let _ = decode_ledger(&bytes);
            let _ = decode_shelf(&bytes);
        }
    }
}
