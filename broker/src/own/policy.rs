//! Which virtual brokers a broker claims: every one that nobody has. A second broker is a hot standby, until brokers
//! are assigned their shares. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use metadata::Revision;
use metadata::schema::Claim;

/// A claim as it stands in metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub claim: Claim,
    pub at: Revision,
}

/// When metadata was away, the leases in it have ended, of brokers that live and serve too. Until they had the time to
/// put their claims back, what nobody claims is not free.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outage {
    over: Option<Duration>,
}

impl Outage {
    /// One look at metadata took so long, or failed.
    pub fn looked(&mut self, now: Duration, took: Duration, failed: bool, lease: Duration) {
        if failed || took > lease / 2 {
            self.over = Some(now);
        }
    }

    pub fn is_past(&self, now: Duration, lease: Duration) -> bool {
        self.over.is_none_or(|over| now.saturating_sub(over) >= lease)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Next {
    /// To be claimed: with the claim that is to be replaced, if there is one.
    pub claim: Vec<(u32, Option<Revision>)>,
    /// Claimed by others, though we serve them: they are about to fence us.
    pub lost: Vec<u32>,
    /// Somebody who says that he is reached where we are: while he has claims nothing more is claimed.
    pub namesake: Option<Claim>,
}

/// `mine`: what this process has claimed and serves, or is about to. `settled`: no outage of metadata was too short a time ago.
pub fn next(
    all: &BTreeSet<u32>,
    now: &BTreeMap<u32, Standing>,
    mine: &BTreeSet<u32>,
    me: &Claim,
    settled: bool,
) -> Next {
    let namesake = now.values().find(|standing| me.collides_with(&standing.claim));
    let mut next = Next { namesake: namesake.map(|standing| standing.claim.clone()), ..Next::default() };
    let settled = settled && next.namesake.is_none();
    for vb in all {
        match now.get(vb) {
            // Ours no more because our lease has ended: claimed again if nobody had it meanwhile. Or free.
            None if settled || mine.contains(vb) => next.claim.push((*vb, None)),
            None => {}
            Some(standing) if standing.claim == *me && mine.contains(vb) => {}
            // An earlier process of our name is dead: we have its ports. Or we could not give our claim up, or were not told
            // of it.
            Some(standing) if me.succeeds(&standing.claim) && !mine.contains(vb) => {
                next.claim.push((*vb, Some(standing.at)));
            }
            Some(_) if mine.contains(vb) => next.lost.push(*vb),
            Some(_) => {}
        }
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(broker: &str, token: u64) -> Claim {
        Claim { broker: broker.into(), token, machine: "m".into() }
    }

    fn standing(claim: Claim, at: i64) -> Standing {
        Standing { claim, at: Revision(at) }
    }

    #[test]
    fn what_nobody_has_is_claimed_and_what_others_have_is_left_to_them() {
        let all = BTreeSet::from([0, 1, 2, 3]);
        let me = claim("a:1", 1);
        let now = BTreeMap::from([
            (0, standing(claim("b:1", 2), 5)),
            (1, standing(me.clone(), 6)),
            (3, standing(claim("a:1", 9), 7)),
        ]);
        let mine = BTreeSet::from([1]);
        let told = next(&all, &now, &mine, &me, true);
        assert_eq!(told, Next { claim: vec![(2, None), (3, Some(Revision(7)))], ..Next::default() });
        // A claim that we failed to give up is nobody else's to take.
        let told = next(&all, &now, &BTreeSet::new(), &me, true);
        assert_eq!(told.claim, [(1, Some(Revision(6))), (2, None), (3, Some(Revision(7)))]);
    }

    #[test]
    fn what_another_has_claimed_is_given_up_and_what_only_lost_its_lease_is_claimed_again() {
        let (all, me) = (BTreeSet::from([0, 1]), claim("a:1", 1));
        let mine = BTreeSet::from([0, 1]);
        let now = BTreeMap::from([(0, standing(claim("b:1", 2), 5))]);
        for settled in [true, false] {
            let wanted = Next { claim: vec![(1, None)], lost: vec![0], namesake: None };
            assert_eq!(next(&all, &now, &mine, &me, settled), wanted);
        }
    }

    #[test]
    fn a_claim_that_its_sender_was_not_told_of_is_taken_again() {
        let (all, me) = (BTreeSet::from([0]), claim("a:1", 1));
        let now = BTreeMap::from([(0, standing(me.clone(), 5))]);
        let wanted = Next { claim: vec![(0, Some(Revision(5)))], ..Next::default() };
        assert_eq!(next(&all, &now, &BTreeSet::new(), &me, true), wanted);
        assert_eq!(next(&all, &now, &all, &me, true), Next::default());
    }

    #[test]
    fn of_two_brokers_with_one_address_neither_takes_from_the_other() {
        let (all, me) = (BTreeSet::from([0, 1, 2]), claim("a:1", 1));
        let other = Claim { machine: "elsewhere".into(), token: 2, ..me.clone() };
        let now = BTreeMap::from([(0, standing(other.clone(), 5))]);
        let mine = BTreeSet::from([1]);
        let wanted = Next { claim: vec![(1, None)], namesake: Some(other), ..Next::default() };
        assert_eq!(
            next(&all, &now, &mine, &me, true),
            wanted,
            "what is ours is put back, nothing more is claimed"
        );
    }

    #[test]
    fn after_an_outage_owners_put_their_claims_back_before_others_take_them() {
        let at = Duration::from_secs;
        let (all, me) = (BTreeSet::from([0]), claim("a:1", 1));
        assert_eq!(next(&all, &BTreeMap::new(), &BTreeSet::new(), &me, false), Next::default());
        let mut outage = Outage::default();
        outage.looked(at(1), at(1), false, at(3));
        assert!(outage.is_past(at(1), at(3)));
        outage.looked(at(2), at(0), true, at(3));
        outage.looked(at(4), at(2), false, at(3));
        outage.looked(at(5), at(0), false, at(3));
        assert!(!outage.is_past(at(6), at(3)) && outage.is_past(at(7), at(3)));
    }
}
