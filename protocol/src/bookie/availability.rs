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
/// The most runs that are put in order for a peer that did not.
const MAX_UNORDERED: usize = 1 << 20;

/// Ids of entries, ascending, as the patterns that striping leaves: a few words, however many they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    groups: Vec<Group>,
}

/// Runs of `size` ids, the first of each `period` after that of the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    pub first: i64,
    /// Where the last run starts.
    pub last_start: i64,
    pub size: i64,
    /// More than `size`; 0: there is one run.
    pub period: i64,
}

impl Runs {
    /// Adds the ids from `first` to `last`, all of which MUST be greater than those that are here.
    pub fn add(&mut self, first: EntryId, last: EntryId) {
        let mut run = Group::run(first.0, last.0);
        if let Some(group) = self.groups.last_mut()
            && group.last() + 1 == run.first
        {
            // It continues the last run, which so leaves the pattern that it was in.
            run.first = group.last_start;
            run.last_start = run.first;
            run.size += group.size;
            if !group.shrink() {
                self.groups.pop();
            }
        }
        if !self.groups.last_mut().is_some_and(|group| group.takes(&run)) {
            self.groups.push(run);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    pub fn contains(&self, entry: EntryId) -> bool {
        let after = self.groups.partition_point(|group| group.first <= entry.0);
        let group = after.checked_sub(1).and_then(|at| self.groups.get(at));
        group.is_some_and(|group| {
            let into = entry.0 - group.first;
            let within = if group.period == 0 { into } else { into % group.period };
            entry.0 <= group.last() && within < group.size
        })
    }

    /// The runs, each (first, last) inclusive. A peer's list may be of any number of them: [`Runs::from`] what one
    /// looks for, and no further, or by [`Runs::groups`].
    pub fn iter(&self) -> impl Iterator<Item = (EntryId, EntryId)> + '_ {
        self.from(EntryId(0))
    }

    /// The runs that end at `entry` or later.
    pub fn from(&self, entry: EntryId) -> impl Iterator<Item = (EntryId, EntryId)> + '_ {
        let skipped = self.groups.partition_point(|group| group.last() < entry.0);
        self.groups.iter().skip(skipped).flat_map(move |group| group.runs_from(entry.0))
    }

    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(HEAD + self.groups.len() * GROUP);
        out.put_bytes(0, HEAD);
        let mut count = 0_u32;
        for group in &self.groups {
            count += group.encode(&mut out);
        }
        out[4..8].copy_from_slice(&count.to_be_bytes());
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
        let mut groups: Vec<Group> = Vec::new();
        for _ in 0..count {
            groups.push(Group::decode(&mut packet).ok_or(WRONG)?);
        }
        match groups.is_sorted_by(|a, b| a.last() < b.first) {
            true => Ok(Runs { groups }),
            false => in_order(&groups),
        }
    }
}

/// Groups that overlap, or do not ascend.
fn in_order(groups: &[Group]) -> Result<Runs, Garbage> {
    let all = groups.iter().flat_map(|group| group.runs_from(0));
    let mut runs: Vec<_> = all.take(MAX_UNORDERED + 1).collect();
    if runs.len() > MAX_UNORDERED {
        return Err(Garbage("a list of more than a million runs of entries, in no order"));
    }
    runs.sort();
    Ok(runs.into_iter().collect())
}

impl FromIterator<(EntryId, EntryId)> for Runs {
    /// From runs whose starts ascend; where they overlap they are joined.
    fn from_iter<I: IntoIterator<Item = (EntryId, EntryId)>>(pairs: I) -> Runs {
        let mut runs = Runs::default();
        for (first, last) in pairs {
            let end = runs.groups.last().map_or(-1, Group::last);
            if last.0 > end {
                runs.add(EntryId(first.0.max(end + 1)), last);
            }
        }
        runs
    }
}

impl Group {
    fn run(first: i64, last: i64) -> Group {
        Group { first, last_start: first, size: last - first + 1, period: 0 }
    }

    /// The greatest id.
    pub fn last(&self) -> i64 {
        self.last_start + self.size - 1
    }

    /// Takes the run in if it continues the pattern.
    fn takes(&mut self, run: &Group) -> bool {
        let distance = run.first - self.last_start;
        let fits = run.size == self.size
            && (self.period == 0 || distance == self.period)
            && distance <= i64::from(i32::MAX);
        if fits {
            (self.period, self.last_start) = (distance, run.first);
        }
        fits
    }

    /// Gives its last run up; false if that was all.
    fn shrink(&mut self) -> bool {
        if self.period == 0 {
            return false;
        }
        self.last_start -= self.period;
        if self.last_start == self.first {
            self.period = 0;
        }
        true
    }

    /// The runs that end at `entry` or later.
    pub fn runs_from(self, entry: i64) -> impl Iterator<Item = (EntryId, EntryId)> {
        let behind = entry.saturating_sub(self.first).saturating_sub(self.size - 1).max(0);
        let (skipped, step) = match self.period {
            0 => (i64::from(behind > 0), 1),
            period => (behind / period + i64::from(behind % period > 0), period),
        };
        let start = skipped.checked_mul(step).and_then(|skipped| self.first.checked_add(skipped));
        let starts = std::iter::successors(start, move |start| start.checked_add(step));
        let runs = starts.take_while(move |start| *start <= self.last_start);
        runs.map(move |start| (EntryId(start), EntryId(start + self.size - 1)))
    }

    /// How many groups of the packet it takes: its fields are 32 bits wide there.
    fn encode(&self, out: &mut BytesMut) -> u32 {
        let mut put = |first: i64, last_start: i64, size: i64| {
            out.put_i64(first);
            out.put_i64(last_start);
            out.put_i32(size as i32);
            out.put_i32(self.period as i32);
        };
        let most = i64::from(i32::MAX);
        if self.size <= most {
            put(self.first, self.last_start, self.size);
            return 1;
        }
        let (mut start, mut count) = (self.first, 0);
        while start <= self.last() {
            put(start, start, most.min(self.last() - start + 1));
            start += most;
            count += 1;
        }
        count
    }

    fn decode(packet: &mut Bytes) -> Option<Group> {
        let group = Group {
            first: packet.try_get_i64().ok()?,
            last_start: packet.try_get_i64().ok()?,
            size: packet.try_get_i32().ok()?.into(),
            period: packet.try_get_i32().ok()?.into(),
        };
        let bounded = group.first >= 0 && group.size > 0 && group.last_start < i64::MAX - i64::from(i32::MAX);
        if !bounded || group.last_start < group.first {
            return None;
        }
        let span = group.last_start - group.first;
        match group.period {
            _ if span == 0 => Some(Group { period: 0, ..group }),
            // Nothing between its runs: they are one.
            period if period == group.size && span % period == 0 => {
                Some(Group::run(group.first, group.last()))
            }
            period if period > group.size && span % period == 0 => Some(group),
            _ => None,
        }
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
        let packet = runs(&striped).encode();
        assert_eq!(packet.len(), HEAD + GROUP);
        assert_eq!(packet[HEAD..], [&[0; 8][..], &2997i64.to_be_bytes(), &[0, 0, 0, 2, 0, 0, 0, 3]].concat());
        assert_eq!(Runs::decode(packet), Ok(runs(&striped)));
    }

    #[test]
    fn entry_by_entry_comes_to_the_same_as_run_by_run() {
        let mut one_by_one = Runs::default();
        (0..3000).filter(|id| id % 3 != 2).for_each(|id| one_by_one.add(EntryId(id), EntryId(id)));
        assert_eq!(one_by_one.groups(), [Group { first: 0, last_start: 2997, size: 2, period: 3 }]);
    }

    #[test]
    fn a_run_longer_than_a_field_is_cut_and_read_back() {
        let long = runs(&[(5, 5 + (1 << 33))]);
        assert_eq!(Runs::decode(long.encode()).map(|read| read.iter().collect::<Runs>()), Ok(long));
    }

    #[test]
    fn a_small_packet_costs_little_whatever_it_says() {
        let many = Group { first: 0, last_start: 1 << 60, size: 1, period: 2 };
        let packet = |groups: &[Group]| Runs { groups: groups.to_vec() }.encode();
        let told = Runs::decode(packet(&[many])).expect("a pattern");
        assert!(told.contains(EntryId(1 << 40)) && !told.contains(EntryId((1 << 40) + 1)));
        assert_eq!(told.from(EntryId(1 << 50)).next(), Some((EntryId(1 << 50), EntryId(1 << 50))));
        assert!(Runs::decode(packet(&[many, many])).is_err());
        let swapped = Runs::decode(packet(&[Group::run(5, 9), Group::run(0, 6)]));
        assert_eq!(swapped, Ok(runs(&[(0, 9)])));
    }

    proptest! {
        #[test]
        fn any_runs_survive(gaps in prop::collection::vec((1i64..5, 0i64..4), 0..60), from in 0i64..200) {
            let mut at = 0;
            let mut wanted = Vec::new();
            for (gap, size) in gaps {
                wanted.push((EntryId(at + gap), EntryId(at + gap + size)));
                at += gap + size + 1;
            }
            let packed: Runs = wanted.iter().copied().collect();
            prop_assert_eq!(packed.iter().collect::<Vec<_>>(), wanted.clone());
            let late: Vec<_> = wanted.iter().copied().filter(|(_, last)| last.0 >= from).collect();
            prop_assert_eq!(packed.from(EntryId(from)).collect::<Vec<_>>(), late);
            let here = wanted.iter().any(|(first, last)| (first.0..=last.0).contains(&from));
            prop_assert_eq!(packed.contains(EntryId(from)), here);
            prop_assert_eq!(Runs::decode(packed.encode()), Ok(packed));
        }

        #[test]
        fn fuzz_any_bytes_decode_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Runs::decode(bytes.clone().into());
            let mut packet = bytes;
            packet.splice(0..0, [&[0; 7][..], &[2], &[0; HEAD - 8]].concat());
            if let Ok(runs) = Runs::decode(packet.into()) {
                let _ = (runs.iter().take(10).count(), runs.contains(EntryId(7)));
            }
        }
    }
}
