//! Which entries of a ledger should be on a bookie, and which of them are lacking: arithmetic on patterns, not on
//! entries.

use protocol::bookie::Runs;
use protocol::bookie::availability::Group;
use protocol::{BookieId, EntryId};

use crate::LedgerMetadata;

/// The entries that go to some members of an ensemble: the same ones of every `size`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stripe {
    size: i64,
    /// Ascending, below `size`, at least one.
    residues: Vec<i64>,
}

/// A bookie's entries of one segment of a closed ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    pub stripe: Stripe,
    pub first: EntryId,
    pub last: EntryId,
}

impl LedgerMetadata {
    /// What `bookie` should have of a ledger, by segment; nothing of one that has no end yet.
    pub fn shares(&self, bookie: &BookieId) -> Vec<Share> {
        let share = |(index, segment): (usize, &crate::Segment)| {
            let places = (0..segment.ensemble.len()).filter(|at| segment.ensemble.get(*at) == Some(bookie));
            let stripe = Stripe::of(segment.ensemble.len() as u32, self.write_quorum, places)?;
            let last = self.segment_end(index).filter(|end| *end >= segment.first)?;
            Some(Share { stripe, first: segment.first, last })
        };
        self.segments.iter().enumerate().filter_map(share).collect()
    }
}

impl Stripe {
    /// Entry e goes to `write_quorum` members from e mod `ensemble` on. `None` without a place, or a sound quorum.
    pub fn of(ensemble: u32, write_quorum: u32, places: impl IntoIterator<Item = usize>) -> Option<Stripe> {
        let size = i64::from(ensemble);
        let mut residues: Vec<i64> = places
            .into_iter()
            .flat_map(|place| {
                (0..i64::from(write_quorum)).map(move |i| (place as i64 - i).checked_rem_euclid(size))
            })
            .collect::<Option<_>>()?;
        residues.sort_unstable();
        residues.dedup();
        (!residues.is_empty()).then_some(Stripe { size, residues })
    }

    /// How many of its entries are below `entry`.
    fn rank(&self, entry: i64) -> i64 {
        let within = self.residues.partition_point(|residue| *residue < entry.rem_euclid(self.size));
        entry.div_euclid(self.size) * self.residues.len() as i64 + within as i64
    }

    /// The entry of which [`Stripe::rank`] are below.
    fn nth(&self, rank: i64) -> i64 {
        let count = self.residues.len() as i64;
        let residue = self.residues.get(rank.rem_euclid(count) as usize).copied().unwrap_or_default();
        rank.div_euclid(count) * self.size + residue
    }

    /// Its first entry from `entry` on.
    pub fn at_or_after(&self, entry: EntryId) -> EntryId {
        EntryId(self.nth(self.rank(entry.0)))
    }

    /// Its last entry up to `entry`; below 0 there may be none.
    pub fn at_or_before(&self, entry: EntryId) -> EntryId {
        EntryId(self.nth(self.rank(entry.0 + 1) - 1))
    }
}

impl Share {
    /// Every `step`th of its entries.
    pub fn sample(&self, step: i64) -> impl Iterator<Item = EntryId> + '_ {
        let from = self.stripe.rank(self.first.0).saturating_add(step - 1);
        let ranks = std::iter::successors(Some(from), move |rank| rank.checked_add(step));
        let all = self.stripe.rank(self.last.0 + 1);
        ranks.take_while(move |rank| *rank < all).map(|rank| EntryId(self.stripe.nth(rank)))
    }

    /// Its first and its last entry, if it has any.
    pub fn ends(&self) -> Option<(EntryId, EntryId)> {
        let ends = (self.stripe.at_or_after(self.first), self.stripe.at_or_before(self.last));
        (ends.0 <= ends.1).then_some(ends)
    }

    /// The entries that are not among `held`.
    pub fn lacking(&self, held: &Runs) -> Lacks {
        let mut lacks = Lacks::new(self.stripe.clone());
        let mut next = self.first.0;
        for group in held.groups() {
            if group.first > self.last.0 || lacks.is_full() {
                break;
            }
            if group.last() < next {
                continue;
            }
            if self.fills(group) {
                self.gap(next, group.first - 1, &mut lacks);
                next = group.last() + 1;
                continue;
            }
            for (first, last) in group.runs_from(next) {
                if first.0 > self.last.0 || lacks.is_full() {
                    break;
                }
                self.gap(next, first.0 - 1, &mut lacks);
                next = last.0 + 1;
            }
        }
        self.gap(next, self.last.0, &mut lacks);
        lacks
    }

    /// Whether all that is missing in a pattern belongs elsewhere.
    fn fills(&self, group: &Group) -> bool {
        group.period == 0
            || group.period % self.stripe.size == 0 && {
                let between = EntryId(group.first + group.size);
                self.stripe.at_or_after(between).0 >= group.first + group.period
            }
    }

    /// Entries `from` to `to` are not held.
    fn gap(&self, from: i64, to: i64, lacks: &mut Lacks) {
        let (first, last) = (self.stripe.at_or_after(EntryId(from)), self.stripe.at_or_before(EntryId(to)));
        if from <= to && first <= last {
            lacks.add(first, last);
        }
    }
}

/// Ranges of entries that a bookie should have and has not: neighbours on the bookie, if not in the ledger, share one.
/// Not more than so many are named; the next look finds the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lacks {
    stripe: Stripe,
    ranges: Vec<(i64, i64)>,
}

/// A task of repair with them stays far below what a key of metadata may hold.
const MOST_RANGES: usize = 1000;

impl Lacks {
    pub fn new(stripe: Stripe) -> Lacks {
        Lacks { stripe, ranges: Vec::new() }
    }

    /// Adds entries of the stripe; `first` MUST be no less than that of the range before.
    pub fn add(&mut self, first: EntryId, last: EntryId) {
        let full = self.is_full();
        match self.ranges.last_mut() {
            Some((_, to)) if first <= self.stripe.at_or_after(EntryId(*to + 1)) => *to = last.0.max(*to),
            _ if full => {}
            _ => self.ranges.push((first.0, last.0)),
        }
    }

    pub fn is_full(&self) -> bool {
        self.ranges.len() >= MOST_RANGES
    }

    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    pub fn contains(&self, entry: EntryId) -> bool {
        self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&entry.0))
    }

    /// Ascending, of both.
    pub fn and(self, other: Lacks) -> Lacks {
        let mut ranges = [self.ranges, other.ranges].concat();
        ranges.sort_unstable();
        let mut all = Lacks::new(self.stripe);
        ranges.into_iter().for_each(|(first, last)| all.add(EntryId(first), EntryId(last)));
        all
    }

    pub fn into_ranges(self) -> Vec<(i64, i64)> {
        self.ranges
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn share(e: u32, w: u32, place: usize, first: i64, last: i64) -> Share {
        let stripe = Stripe::of(e, w, [place]).expect("a place");
        Share { stripe, first: EntryId(first), last: EntryId(last) }
    }

    /// Whether entry `entry` goes to `place`, by the definition.
    fn goes_to(e: u32, w: u32, place: usize, entry: i64) -> bool {
        (0..i64::from(w)).any(|i| (entry + i) % i64::from(e) == place as i64)
    }

    #[test]
    fn a_striped_ledger_is_one_pattern_on_each_bookie() {
        let share = share(3, 2, 1, 0, 1 << 40);
        let held: Runs = [(EntryId(0), EntryId(1))].into_iter().collect();
        let lacks = share.lacking(&held);
        assert_eq!(lacks.into_ranges(), [(3, 1 << 40)]);
        let all = Group { first: 0, last_start: 3 << 40, size: 2, period: 3 };
        assert!(share.fills(&all));
    }

    #[test]
    fn a_bookies_shares_follow_its_places() {
        let id = |name: &str| -> BookieId { name.parse().expect("an id") };
        let [a, b, c, d] = ["a:1", "b:1", "c:1", "d:1"].map(id);
        let segment = |first, ensemble: [&BookieId; 3]| crate::Segment {
            first: EntryId(first),
            ensemble: ensemble.into_iter().cloned().collect(),
        };
        let metadata = LedgerMetadata {
            ensemble_size: 3,
            write_quorum: 2,
            ack_quorum: 1,
            state: crate::State::Closed { last: EntryId(8), length: 9 },
            segments: vec![segment(0, [&a, &b, &c]), segment(6, [&a, &d, &c])],
            digest: protocol::entry::DigestType::Crc32c,
            password: Default::default(),
            created_ms: None,
            custom: Default::default(),
            token: 0,
        };
        let of = |bookie| -> Vec<i64> {
            let shares = metadata.shares(bookie);
            shares.iter().flat_map(|share| share.sample(1).collect::<Vec<_>>()).map(|entry| entry.0).collect()
        };
        assert_eq!(of(&a), [0, 2, 3, 5, 6, 8]);
        assert_eq!(of(&b), [0, 1, 3, 4]);
        assert_eq!(of(&d), [6, 7]);
    }

    #[test]
    fn no_more_ranges_are_named_than_a_task_can_hold() {
        let every_other: Runs = (0..100_000).map(|i| (EntryId(i * 64), EntryId(i * 64 + 31))).collect();
        let lacks = share(2, 2, 0, 0, 10_000_000).lacking(&every_other);
        assert_eq!(lacks.into_ranges().len(), MOST_RANGES);
    }

    proptest! {
        #[test]
        fn the_arithmetic_agrees_with_looking_at_every_entry(
            e in 1u32..8, w in 1u32..8, place in 0usize..8, first in 0i64..30, count in 1i64..120,
            held in prop::collection::btree_set(0i64..150, 0..150), periodic in any::<bool>(), step in 1i64..9,
        ) {
            let (w, place, last) = (w.min(e), place % e as usize, first + count - 1);
            let share = share(e, w, place, first, last);
            let mine: Vec<i64> = (first..=last).filter(|entry| goes_to(e, w, place, *entry)).collect();
            // What striping leaves, with some of it gone; or anything.
            let held: Vec<i64> = match periodic {
                true => (0..150).filter(|id| goes_to(e, w, place, *id) && (*id % 40 != 7 || held.contains(id))).collect(),
                false => held.into_iter().collect(),
            };
            let runs: Runs = held.iter().map(|id| (EntryId(*id), EntryId(*id))).collect();
            let lacks = share.lacking(&runs);
            for entry in &mine {
                prop_assert_eq!(lacks.contains(EntryId(*entry)), !held.contains(entry), "entry {}", entry);
            }
            for (from, to) in lacks.clone().into_ranges() {
                prop_assert!(mine.contains(&from) && mine.contains(&to));
            }
            let sampled: Vec<i64> = share.sample(step).map(|entry| entry.0).collect();
            let wanted: Vec<i64> = mine.iter().copied().skip(step as usize - 1).step_by(step as usize).collect();
            prop_assert_eq!(sampled, wanted);
            let ends = mine.first().zip(mine.last()).map(|(a, b)| (EntryId(*a), EntryId(*b)));
            prop_assert_eq!(share.ends(), ends);
        }
    }
}
