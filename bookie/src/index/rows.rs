//! Keys and values of the index. Drawn in docs/formats.md, *Index*.
//!
//! Everything here can be made again from the segments; so a layout that changes gets a new version, and an index of
//! an old one is thrown away.

use protocol::{EntryId, LedgerId};

use crate::position::{Location, Position, SegmentId};
use crate::segment::format::Fields;
use crate::segment::record::{decode_state, encode_state};
use crate::state::{LedgerState, ShelfState};

pub const VERSION: u16 = 1;
/// Ids that share one value.
pub const BUCKET: i64 = 1024;

pub const CHECKPOINT: &[u8] = b"C";

pub fn ledger_key(ledger: LedgerId) -> Vec<u8> {
    [b"L".as_slice(), &ledger.0.to_be_bytes()].concat()
}

/// Keys of all ledgers after `ledger`.
pub fn ledgers_after(ledger: Option<LedgerId>) -> (Vec<u8>, Vec<u8>) {
    let from = ledger.map_or(vec![b'L'], |ledger| [ledger_key(ledger).as_slice(), &[0]].concat());
    (from, vec![b'L' + 1])
}

pub fn ledger_of(key: &[u8]) -> Option<LedgerId> {
    let mut fields = Fields(key.strip_prefix(b"L")?);
    let ledger = LedgerId(fields.i64()?);
    fields.0.is_empty().then_some(ledger)
}

pub fn run_key(ledger: LedgerId, bucket: i64) -> Vec<u8> {
    [b"R".as_slice(), &ledger.0.to_be_bytes(), &bucket.to_be_bytes()].concat()
}

pub fn bucket_of(key: &[u8]) -> Option<(LedgerId, i64)> {
    let mut fields = Fields(key.strip_prefix(b"R")?);
    Some((LedgerId(fields.i64()?), fields.i64()?))
}

/// Keys of a ledger's runs from `bucket` on.
pub fn runs_from(ledger: LedgerId, bucket: i64) -> (Vec<u8>, Vec<u8>) {
    let end = [b"R".as_slice(), &ledger.0.to_be_bytes(), &[0xff]].concat();
    (run_key(ledger, bucket), end)
}

pub fn all_runs() -> (Vec<u8>, Vec<u8>) {
    (vec![b'R'], vec![b'R' + 1])
}

pub fn segment_key(segment: SegmentId) -> Vec<u8> {
    [b"S".as_slice(), &segment.0.to_be_bytes()].concat()
}

pub fn all_segments() -> (Vec<u8>, Vec<u8>) {
    (vec![b'S'], vec![b'S' + 1])
}

pub fn segment_of(key: &[u8]) -> Option<SegmentId> {
    Some(SegmentId(Fields(key.strip_prefix(b"S")?).u32()?))
}

/// Says that a ledger's state was written to a segment.
pub fn home_key(segment: SegmentId, ledger: LedgerId) -> Vec<u8> {
    [b"H".as_slice(), &segment.0.to_be_bytes(), &ledger.0.to_be_bytes()].concat()
}

pub fn homes_of(segment: SegmentId) -> (Vec<u8>, Vec<u8>) {
    let from = [b"H".as_slice(), &segment.0.to_be_bytes()].concat();
    let to = [from.as_slice(), &[0xff]].concat();
    (from, to)
}

pub fn home_ledger(key: &[u8]) -> Option<LedgerId> {
    let mut fields = Fields(key.strip_prefix(b"H")?);
    fields.u32()?;
    Some(LedgerId(fields.i64()?))
}

/// Everything, for starting anew.
pub fn everything() -> (Vec<u8>, Vec<u8>) {
    (vec![0], vec![0xff])
}

/// Up to where the index goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    pub identity: [u8; 16],
    /// Where the next group begins.
    pub end: Position,
    /// The last group before `end`: where it is, its number, and the CRC of its header.
    pub last: Position,
    pub sequence: u64,
    pub crc: u32,
    pub boot: u32,
    pub shelf: ShelfState,
}

impl Checkpoint {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = VERSION.to_be_bytes().to_vec();
        out.extend(self.identity);
        for position in [self.end, self.last] {
            out.extend(position.segment.0.to_be_bytes());
            out.extend(position.offset.to_be_bytes());
        }
        out.extend(self.sequence.to_be_bytes());
        for word in [self.crc, self.boot, self.shelf.damages, self.shelf.cleared] {
            out.extend(word.to_be_bytes());
        }
        out
    }

    /// `None`: of another version, or damaged.
    pub fn decode(value: &[u8]) -> Option<Checkpoint> {
        let fields = &mut Fields(value);
        if fields.u16()? != VERSION {
            return None;
        }
        Some(Checkpoint {
            identity: fields.take()?,
            end: fields.position()?,
            last: fields.position()?,
            sequence: fields.u64()?,
            crc: fields.u32()?,
            boot: fields.u32()?,
            shelf: ShelfState { damages: fields.u32()?, cleared: fields.u32()? },
        })
    }
}

/// `last entry i64 | state` as in a segment's ledger record.
pub fn encode_ledger(state: &LedgerState, last: EntryId) -> Vec<u8> {
    let mut out = last.0.to_be_bytes().to_vec();
    encode_state(state, &mut out);
    out
}

pub fn decode_ledger(value: &[u8]) -> Option<(LedgerState, EntryId)> {
    let mut fields = Fields(value);
    let last = EntryId(fields.i64()?);
    Some((decode_state(fields)?, last))
}

/// Bytes of entries written to a segment, and those that a read could still ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub written: u64,
    pub live: u64,
}

impl Usage {
    pub fn encode(&self) -> Vec<u8> {
        [self.written.to_be_bytes(), self.live.to_be_bytes()].concat()
    }

    pub fn decode(value: &[u8]) -> Option<Usage> {
        let fields = &mut Fields(value);
        Some(Usage { written: fields.u64()?, live: fields.u64()? })
    }
}

/// Where one entry is, in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    pub entry: i64,
    pub segment: u32,
    pub offset: u32,
    pub length: u32,
}

impl Slot {
    pub fn location(&self) -> Location {
        Location { at: Position::new(SegmentId(self.segment), self.offset), length: self.length }
    }
}

/// Adds a run to `out`: `count`, then for each entry four differences to what one would expect after the one before
/// (id, segment, offset, length), all as variable-length integers. Neighbours in the log cost four bytes each.
pub fn encode_run(bucket: i64, slots: &[Slot], out: &mut Vec<u8>) {
    put_varint(slots.len() as u64, out);
    let mut before = Slot { entry: bucket * BUCKET - 1, segment: 0, offset: 0, length: 0 };
    for slot in slots {
        put_varint((slot.entry - before.entry) as u64, out);
        put_varint(zigzag(i64::from(slot.segment) - i64::from(before.segment)), out);
        put_varint(zigzag(i64::from(slot.offset) - i64::from(before.offset) - i64::from(before.length)), out);
        put_varint(zigzag(i64::from(slot.length) - i64::from(before.length)), out);
        before = *slot;
    }
}

/// The runs of one value, oldest first: what comes later in it counts. `None`: damaged.
pub fn decode_runs(bucket: i64, mut value: &[u8]) -> Option<Vec<Slot>> {
    let mut slots = Vec::new();
    while !value.is_empty() {
        let count = varint(&mut value)?;
        let mut before =
            Slot { entry: bucket.checked_mul(BUCKET)?.checked_sub(1)?, segment: 0, offset: 0, length: 0 };
        for _ in 0..count {
            let step = i64::try_from(varint(&mut value)?).ok()?;
            let next = |before: u32, plus: u32, value: &mut &[u8]| {
                let expected = i64::from(before) + i64::from(plus);
                u32::try_from(expected.checked_add(unzigzag(varint(value)?))?).ok()
            };
            let slot = Slot {
                entry: before.entry.checked_add(step)?,
                segment: next(before.segment, 0, &mut value)?,
                offset: next(before.offset, before.length, &mut value)?,
                length: next(before.length, 0, &mut value)?,
            };
            slots.push(slot);
            before = slot;
        }
    }
    Some(slots)
}

/// Each id once, ascending, where it was put last.
pub fn newest(mut slots: Vec<Slot>) -> Vec<Slot> {
    let ascending = slots.windows(2).all(|pair| pair[0].entry < pair[1].entry);
    if !ascending {
        slots.reverse();
        slots.sort_by_key(|slot| slot.entry);
        slots.dedup_by_key(|slot| slot.entry);
    }
    slots
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return None;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn runs_survive_the_round_trip(
            bucket in 0i64..1 << 40,
            places in proptest::collection::btree_map(0..BUCKET, any::<[u32; 3]>(), 0..50),
        ) {
            let slots: Vec<Slot> = places
                .into_iter()
                .map(|(i, [segment, offset, length])| Slot { entry: bucket * BUCKET + i, segment, offset, length })
                .collect();
            let mut value = Vec::new();
            encode_run(bucket, &slots, &mut value);
            prop_assert_eq!(decode_runs(bucket, &value), Some(slots));
        }

        #[test]
        fn fuzz_values_of_any_bytes_do_no_harm(bytes: Vec<u8>, bucket: i64) {
            let _ = decode_runs(bucket, &bytes);
            let _ = decode_ledger(&bytes);
            let _ = Checkpoint::decode(&bytes);
            let _ = Usage::decode(&bytes);
        }
    }

    #[test]
    fn neighbours_cost_four_bytes() {
        let slots: Vec<Slot> = (0..1000)
            .map(|i| Slot { entry: i, segment: 3, offset: 512 + i as u32 * 1080, length: 1060 })
            .collect();
        let mut value = Vec::new();
        encode_run(0, &slots, &mut value);
        assert!(value.len() <= 4010, "{} bytes", value.len());
    }

    #[test]
    fn what_was_put_last_counts() {
        let slot = |entry, offset| Slot { entry, segment: 1, offset, length: 5 };
        let slots = vec![slot(1, 10), slot(2, 20), slot(1, 30)];
        assert_eq!(newest(slots), [slot(1, 30), slot(2, 20)]);
    }
}
