//! Which entries of a ledger a bookie has, as BookKeeper packs it: a head of 64 bytes (`version i32 = 0 | groups i32`,
//! the rest zero), then groups of 24: `first i64 | last start i64 | size i32 | period i32`.
//!
//! A group stands for runs of `size` entries that start at `first`, `first + period`, … and lastly at `last start`:
//! what striping leaves on a bookie. A single run has period 0.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::Garbage;
use crate::EntryId;

const HEAD: usize = 64;
const GROUP: usize = 24;
/// The most runs that one takes from a peer: a packet of a few bytes can announce any number.
const MAX_RUNS: usize = 1 << 20;

/// Runs of ids, each (first, last) inclusive.
pub type Runs = Vec<(EntryId, EntryId)>;

#[derive(Clone, Copy)]
struct Group {
    first: i64,
    last_start: i64,
    size: i32,
    period: i32,
}

impl Group {
    /// Takes the run in if it continues the group's pattern.
    fn takes(&mut self, start: i64, size: i32) -> bool {
        let distance = start.wrapping_sub(self.last_start);
        let fits =
            size == self.size && distance > 0 && (self.period == 0 || distance == i64::from(self.period));
        let Some(period) = i32::try_from(distance).ok().filter(|_| fits) else { return false };
        self.period = period;
        self.last_start = start;
        true
    }

    fn encode(&self, out: &mut BytesMut) {
        out.put_i64(self.first);
        out.put_i64(self.last_start);
        out.put_i32(self.size);
        out.put_i32(self.period);
    }

    fn decode(packet: &mut Bytes) -> Option<Group> {
        let group = Group {
            first: packet.try_get_i64().ok()?,
            last_start: packet.try_get_i64().ok()?,
            size: packet.try_get_i32().ok()?,
            period: packet.try_get_i32().ok()?,
        };
        let single = group.period == 0 && group.last_start == group.first;
        let several = group.period >= group.size && group.last_start >= group.first;
        let bounded = group.first >= 0 && group.size > 0 && group.last_start < i64::MAX - i64::from(i32::MAX);
        (bounded && (single || several)).then_some(group)
    }
}

/// Packs ascending runs. Runs longer than a group's size field are cut.
pub fn encode(runs: &[(EntryId, EntryId)]) -> Bytes {
    let mut groups: Vec<Group> = Vec::new();
    for (first, last) in runs {
        let mut start = first.0;
        while start <= last.0 {
            let size = i32::try_from(last.0.saturating_sub(start).saturating_add(1)).unwrap_or(i32::MAX);
            if !groups.last_mut().is_some_and(|group| group.takes(start, size)) {
                groups.push(Group { first: start, last_start: start, size, period: 0 });
            }
            let Some(next) = start.checked_add(i64::from(size)) else { break };
            start = next;
        }
    }
    let mut out = BytesMut::with_capacity(HEAD + groups.len() * GROUP);
    out.put_i32(0);
    out.put_u32(groups.len() as u32);
    out.put_bytes(0, HEAD - 8);
    groups.iter().for_each(|group| group.encode(&mut out));
    out.freeze()
}

pub fn decode(mut packet: Bytes) -> Result<Runs, Garbage> {
    const WRONG: Garbage =
        Garbage("a list of entries that is not BookKeeper's availability format, version 0");
    let head = packet.get(..8).ok_or(WRONG)?;
    let (version, count) = head.split_at(4);
    if version != [0; 4] || packet.len() < HEAD {
        return Err(WRONG);
    }
    let count = count.first_chunk().map_or(0, |count| u32::from_be_bytes(*count));
    packet.advance(HEAD);
    let mut runs: Runs = Vec::new();
    for _ in 0..count {
        let group = Group::decode(&mut packet).ok_or(WRONG)?;
        let mut start = group.first;
        while start <= group.last_start {
            if runs.len() == MAX_RUNS {
                return Err(Garbage("a list of more than a million runs of entries"));
            }
            push(&mut runs, start, start + i64::from(group.size) - 1);
            if group.period == 0 {
                break;
            }
            start += i64::from(group.period);
        }
    }
    Ok(runs)
}

/// Adds a run, joined to the one before if there is nothing between them.
fn push(runs: &mut Runs, first: i64, last: i64) {
    match runs.last_mut() {
        Some(before) if before.1.0 + 1 == first => before.1 = EntryId(last),
        _ => runs.push((EntryId(first), EntryId(last))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn runs(pairs: &[(i64, i64)]) -> Runs {
        pairs.iter().map(|(first, last)| (EntryId(*first), EntryId(*last))).collect()
    }

    #[test]
    fn striping_packs_into_one_group() {
        let striped: Vec<(i64, i64)> = (0..1000).map(|i| (i * 3, i * 3 + 1)).collect();
        let packet = encode(&runs(&striped));
        assert_eq!(packet.len(), HEAD + GROUP);
        assert_eq!(packet[HEAD..], [&[0; 8][..], &2997i64.to_be_bytes(), &[0, 0, 0, 2, 0, 0, 0, 3]].concat());
        assert_eq!(decode(packet), Ok(runs(&striped)));
    }

    #[test]
    fn a_small_packet_cannot_demand_much_memory() {
        let mut packet = BytesMut::from(&encode(&[])[..]);
        packet[7] = 1;
        Group { first: 0, last_start: i64::MAX / 4, size: 1, period: 2 }.encode(&mut packet);
        assert!(decode(packet.freeze()).is_err());
    }

    proptest! {
        #[test]
        fn any_runs_survive(gaps in prop::collection::vec((1i64..5, 0i64..4), 0..60)) {
            let mut at = 0;
            let mut wanted = Vec::new();
            for (gap, size) in gaps {
                wanted.push((EntryId(at + gap), EntryId(at + gap + size)));
                at += gap + size + 1;
            }
            prop_assert_eq!(decode(encode(&wanted)), Ok(wanted));
        }

        #[test]
        fn fuzz_any_bytes_decode_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(bytes.clone().into());
            let mut packet = bytes;
            packet.splice(0..0, [&[0; 7][..], &[2], &[0; HEAD - 8]].concat());
            let _ = decode(packet.into());
        }
    }
}
