//! Which bookies hold which entry, and how many answers prove what. All arithmetic in 64 bits.

use planted::Bug;
use protocol::EntryId;

use crate::Error;

/// The largest ensemble: sets of its members are bits of a `u64`.
pub const MAX_ENSEMBLE: u32 = 64;

/// A set of ensemble members, by their index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Members(pub u64);

impl Members {
    pub const NONE: Members = Members(0);

    pub fn insert(&mut self, index: usize) {
        self.0 |= 1 << index;
    }

    pub fn remove(&mut self, index: usize) {
        self.0 &= !(1 << index);
    }

    pub fn contains(self, index: usize) -> bool {
        self.0 >> index & 1 == 1
    }

    pub fn count(self) -> usize {
        self.0.count_ones() as usize
    }

    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..MAX_ENSEMBLE as usize).filter(move |&index| self.contains(index))
    }
}

impl FromIterator<usize> for Members {
    fn from_iter<T: IntoIterator<Item = usize>>(indices: T) -> Members {
        let mut members = Members::NONE;
        indices.into_iter().for_each(|index| members.insert(index));
        members
    }
}

/// `64 >= ensemble >= write >= ack >= 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quorums {
    ensemble: u32,
    write: u32,
    ack: u32,
}

impl Quorums {
    pub fn new(ensemble: u32, write: u32, ack: u32) -> Result<Quorums, Error> {
        if !(MAX_ENSEMBLE >= ensemble && ensemble >= write && write >= ack && ack >= 1) {
            return Err(Error::Invalid(format!(
                "ensemble {ensemble}, write quorum {write}, ack quorum {ack} cannot be: \
                 it takes {MAX_ENSEMBLE} >= ensemble >= write quorum >= ack quorum >= 1"
            )));
        }
        Ok(Quorums { ensemble, write, ack })
    }

    pub fn ensemble(self) -> usize {
        self.ensemble as usize
    }

    pub fn write(self) -> usize {
        self.write as usize
    }

    pub fn ack(self) -> usize {
        self.ack as usize
    }

    /// The members that an entry is written to, in order.
    pub fn write_set(self, entry: EntryId) -> impl Iterator<Item = usize> + use<> {
        let first = entry.0 as u64 % u64::from(self.ensemble);
        (0..u64::from(self.write)).map(move |i| ((first + i) % u64::from(self.ensemble)) as usize)
    }

    /// A member's place in an entry's write set; `None` if it is not in it.
    pub fn offset_of(self, entry: EntryId, index: usize) -> Option<usize> {
        let entry = if planted::on(Bug::NarrowModulus) { u64::from(entry.0 as u32) } else { entry.0 as u64 };
        let ensemble = u64::from(self.ensemble);
        let offset = ((index as u64 + ensemble - entry % ensemble) % ensemble) as usize;
        (offset < self.write()).then_some(offset)
    }

    /// Whether so many explicit "it is not here" of one entry's write set prove that it was never acknowledged and
    /// never will be (R7): then fewer than an ack quorum are left.
    pub fn proves_absence(self, negatives: usize) -> bool {
        negatives > self.write() - self.ack()
    }

    /// Whether every ack quorum there can be has a member among `answered` (R3).
    pub fn covered_by(self, answered: Members) -> bool {
        self.windows().all(|window| window.filter(|&index| !answered.contains(index)).count() < self.ack())
    }

    /// Whether every write set keeps an ack quorum without the members in `absent`.
    pub fn writable_without(self, absent: Members) -> bool {
        self.windows().all(|window| window.filter(|&index| !absent.contains(index)).count() >= self.ack())
    }

    /// Every write set there can be.
    fn windows(self) -> impl Iterator<Item = impl Iterator<Item = usize>> {
        (0..i64::from(self.ensemble)).map(move |first| self.write_set(EntryId(first)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_quorums() -> impl Iterator<Item = Quorums> {
        (1..=7).flat_map(|e| {
            (1..=e).flat_map(move |w| (1..=w).map(move |a| Quorums { ensemble: e, write: w, ack: a }))
        })
    }

    /// Every set of `ack` members of one write set.
    fn ack_quorums(q: Quorums) -> Vec<Members> {
        let sets = (0..i64::from(q.ensemble)).map(|e| q.write_set(EntryId(e)).collect::<Members>());
        let within = |set: Members| (0..1 << q.ensemble).map(Members).filter(move |m| m.0 & !set.0 == 0);
        sets.flat_map(within).filter(|m| m.count() == q.ack()).collect()
    }

    #[test]
    fn coverage_agrees_with_quantifying_over_ack_quorums() {
        for q in all_quorums() {
            let quorums = ack_quorums(q);
            for answered in (0..1 << q.ensemble).map(Members) {
                let direct = quorums.iter().all(|quorum| quorum.0 & answered.0 != 0);
                assert_eq!(q.covered_by(answered), direct, "{q:?} {answered:?}");
            }
        }
    }

    #[test]
    fn writability_agrees_with_looking_for_an_ack_quorum_in_each_write_set() {
        for q in all_quorums() {
            let quorums = ack_quorums(q);
            for absent in (0..1 << q.ensemble).map(Members) {
                let direct = (0..i64::from(q.ensemble)).all(|entry| {
                    let set: Members = q.write_set(EntryId(entry)).collect();
                    quorums.iter().any(|quorum| quorum.0 & !set.0 == 0 && quorum.0 & absent.0 == 0)
                });
                assert_eq!(q.writable_without(absent), direct, "{q:?} {absent:?}");
            }
        }
    }

    #[test]
    fn absence_is_proven_when_no_ack_quorum_is_left() {
        for q in all_quorums() {
            for negatives in 0..=q.write() {
                assert_eq!(q.proves_absence(negatives), q.write() - negatives < q.ack(), "{q:?} {negatives}");
            }
        }
    }

    #[test]
    fn the_case_of_bookkeeper_799_is_not_covered() -> Result<(), Error> {
        let q = Quorums::new(4, 3, 2)?;
        assert!(!q.covered_by([0, 2].into_iter().collect()), "1 and 3 are an ack quorum of {{1, 2, 3}}");
        assert!(q.covered_by([0, 1, 2].into_iter().collect()));
        Ok(())
    }

    #[test]
    fn a_members_offset_is_its_place_in_the_write_set() {
        let wide = [0, 1, 6, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, i64::MAX - 1];
        for q in all_quorums() {
            for entry in wide.map(EntryId) {
                let set: Vec<_> = q.write_set(entry).collect();
                assert_eq!(set.len(), q.write());
                for index in 0..q.ensemble() {
                    assert_eq!(q.offset_of(entry, index), set.iter().position(|&i| i == index));
                }
            }
        }
    }

    #[test]
    fn impossible_quorums_are_refused() {
        for (e, w, a) in [(0, 0, 0), (3, 4, 2), (3, 2, 3), (3, 3, 0), (65, 3, 2)] {
            assert!(Quorums::new(e, w, a).is_err(), "{e} {w} {a}");
        }
    }
}
