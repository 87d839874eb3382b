//! Which bookies a new ledger is written to. Pure: the list of bookies and a source of random numbers are handed in.
//!
//! Bookies that take new ledgers are drawn at random, weighted by their free space and by how much others write to
//! them. No two members of one write set
//! are in the same zone, as long as the zones allow it. A bookie without a zone is a zone of its own.

use std::collections::BTreeSet;

use metadata::registry::{BookieInfo, Standing};
use protocol::BookieId;
use rand::Rng;

use crate::Error;
use crate::quorum::{Members, Quorums};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    pub ensemble: Vec<BookieId>,
    /// Members that are named although they are away, because there are no others.
    pub absent: Members,
}

/// How many steps the search for an ensemble without two replicas in a zone may take.
const SEARCH: usize = 2_000;

/// Chooses an ensemble. Bookies in `avoid` are taken for away, whatever their registration says. With fewer bookies
/// than the ensemble has members, known ones that are away are named too, as long as every write set keeps an ack
/// quorum of those that are there.
pub fn choose(
    bookies: &[BookieInfo],
    quorums: Quorums,
    avoid: &BTreeSet<BookieId>,
    rng: &mut impl Rng,
) -> Result<Placement, Error> {
    let (here, away): (Vec<_>, Vec<_>) =
        bookies.iter().partition(|b| b.takes_ledgers() && !avoid.contains(&b.id));
    let here = shuffled(here, rng);
    let lacking = quorums.ensemble().saturating_sub(here.len());
    let too_few = |why: &str| {
        Error::TooFewBookies(format!(
            "a ledger needs {} bookies, {} of them writable in each write set: {} can be written{why}",
            quorums.ensemble(),
            quorums.ack(),
            if here.is_empty() { "none".into() } else { names(&here) },
        ))
    };
    let absent = places_for_absent(quorums, lacking).ok_or_else(|| too_few(""))?;
    let mut away = shuffled(away, rng);
    away.sort_by_key(|b| (b.draining, b.standing));
    if away.len() < lacking {
        return Err(too_few(" and too few others are known"));
    }
    let present: Vec<_> = (0..quorums.ensemble()).filter(|&i| !absent.contains(i)).collect();
    let mut members: Vec<Option<&BookieInfo>> = vec![None; quorums.ensemble()];
    for (index, bookie) in absent.iter().zip(away) {
        members[index] = Some(bookie);
    }
    let mut search = Search { quorums, here: &here, members, steps: SEARCH };
    if !search.fill(&present) {
        search.fill_with_least_conflicts(&present);
    }
    let ensemble = search.members.into_iter().flatten().map(|b| b.id.clone()).collect();
    Ok(Placement { ensemble, absent })
}

/// Another bookie for one member; in a zone of its own if there is one.
pub fn replacement(
    bookies: &[BookieInfo],
    quorums: Quorums,
    ensemble: &[BookieId],
    index: usize,
    avoid: &BTreeSet<BookieId>,
    rng: &mut impl Rng,
) -> Option<BookieId> {
    let fits = |b: &&BookieInfo| b.takes_ledgers() && !avoid.contains(&b.id) && !ensemble.contains(&b.id);
    let here = shuffled(bookies.iter().filter(fits).collect(), rng);
    let info = |id: &BookieId| bookies.iter().find(|b| b.id == *id);
    let mut members: Vec<_> = ensemble.iter().map(info).collect();
    *members.get_mut(index)? = None;
    let search = Search { quorums, here: &here, members, steps: 0 };
    let best = here.iter().min_by_key(|b| search.conflicts(index, b))?;
    Some(best.id.clone())
}

fn names(bookies: &[&BookieInfo]) -> String {
    let shown: Vec<_> = bookies.iter().take(8).map(|b| b.id.as_str()).collect();
    format!("{} ({})", bookies.len(), shown.join(", "))
}

/// A random order in which bookies with more free space and less to do tend to come first.
fn shuffled<'a>(bookies: Vec<&'a BookieInfo>, rng: &mut impl Rng) -> Vec<&'a BookieInfo> {
    let usual = usual_load(&bookies);
    let weight = |bookie: &BookieInfo| room(bookie) * ease(bookie, usual);
    let mut keyed: Vec<_> = bookies
        .into_iter()
        .map(|bookie| (rng.random_range(f64::EPSILON..1.0).powf(1.0 / weight(bookie)), bookie))
        .collect();
    keyed.sort_by(|a, b| b.0.total_cmp(&a.0));
    keyed.into_iter().map(|(_, bookie)| bookie).collect()
}

/// Free space decides by its share, so that a disk that is nearly full gets little, whatever its size; a bookie that
/// does not tell counts as half full.
fn room(bookie: &BookieInfo) -> f64 {
    match (bookie.free, bookie.total) {
        (Some(free), Some(total)) if total > 0 => (free as f64 / total as f64).clamp(0.02, 1.0),
        _ => 0.5,
    }
}

/// Loads below this are nothing to be told apart.
const IDLE: f64 = 4e6;

/// What the bookies that tell take on average, in bytes per second.
fn usual_load(bookies: &[&BookieInfo]) -> f64 {
    let loads: Vec<f64> =
        bookies.iter().filter_map(|b| b.written_per_second).map(|load| load as f64).collect();
    (loads.iter().sum::<f64>() / loads.len().max(1) as f64).max(IDLE)
}

/// Load decides by how it compares with the others': one that has the usual load gets half of what an idle one gets,
/// and none gets less than a tenth, since figures are old and disks are not alike. One that does not tell counts as usual.
fn ease(bookie: &BookieInfo, usual: f64) -> f64 {
    let load = bookie.written_per_second.map_or(1.0, |load| load as f64 / usual);
    (1.0 / (1.0 + load)).max(0.1)
}

/// Which members may be away, so that every write set keeps an ack quorum.
fn places_for_absent(quorums: Quorums, count: usize) -> Option<Members> {
    let members = quorums.ensemble();
    if count > members {
        return None;
    }
    // Evenly spread is best; where rounding makes it uneven, one of its rotations by single members may still do.
    let spread: Members = (0..count).map(|i| i * members / count.max(1)).collect();
    if quorums.writable_without(spread) {
        return Some(spread);
    }
    let all = if members <= 12 { 0..1u64 << members } else { 0..0 };
    all.map(Members).find(|absent| absent.count() == count && quorums.writable_without(*absent))
}

struct Search<'a> {
    quorums: Quorums,
    here: &'a [&'a BookieInfo],
    members: Vec<Option<&'a BookieInfo>>,
    steps: usize,
}

impl<'a> Search<'a> {
    /// Depth first, in the random order; gives up when the steps are used up.
    fn fill(&mut self, places: &[usize]) -> bool {
        let Some((&index, rest)) = places.split_first() else { return true };
        for &bookie in self.here {
            if self.steps == 0 {
                return false;
            }
            self.steps -= 1;
            if self.is_used(bookie) || self.conflicts(index, bookie) > 0 {
                continue;
            }
            self.members[index] = Some(bookie);
            if self.fill(rest) {
                return true;
            }
            self.members[index] = None;
        }
        false
    }

    fn fill_with_least_conflicts(&mut self, places: &[usize]) {
        for &index in places {
            let free = self.here.iter().filter(|b| !self.is_used(b));
            self.members[index] = free.min_by_key(|b| self.conflicts(index, b)).copied();
        }
    }

    fn is_used(&self, bookie: &BookieInfo) -> bool {
        self.members.iter().flatten().any(|used| used.id == bookie.id)
    }

    /// With how many members of its write sets a bookie would share a zone.
    fn conflicts(&self, index: usize, bookie: &BookieInfo) -> usize {
        let (members, reach) = (self.members.len(), self.quorums.write() - 1);
        let near = (1..=reach).flat_map(|d| [(index + d) % members, (index + members - d) % members]);
        let near: Members = near.filter(|&i| i != index).collect();
        let same = |b: &BookieInfo| !b.zone.is_empty() && b.zone == bookie.zone;
        near.iter().filter_map(|i| self.members[i]).filter(|b| same(b)).count()
    }
}

/// Whether a ledger that names absent bookies could be placed better now.
pub fn is_whole_again(bookies: &[BookieInfo], quorums: Quorums, avoid: &BTreeSet<BookieId>) -> bool {
    let here = bookies.iter().filter(|b| b.takes_ledgers() && !avoid.contains(&b.id));
    here.count() >= quorums.ensemble()
}

/// Why nothing should be written but what is small and must be stored, if so: too few bookies have room for more to
/// go on without the others.
pub fn is_short(bookies: &[BookieInfo], quorums: Quorums) -> Option<String> {
    let here = bookies.iter().filter(|b| b.standing != Standing::Absent);
    let (short, roomy): (Vec<_>, Vec<_>) = here.partition(|b| b.short);
    let lacking = quorums.ensemble().saturating_sub(roomy.len());
    let stops = !short.is_empty() && places_for_absent(quorums, lacking).is_none();
    stops.then(|| format!("disk full: there is no room on {} of {} bookies", names(&short), bookies.len()))
}

/// Whether a bookie serves reads, as far as its registration tells.
pub fn is_here(bookies: &[BookieInfo], id: &BookieId) -> bool {
    bookies.iter().any(|b| b.id == *id && b.standing != Standing::Absent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;
    use std::collections::BTreeMap;

    fn bookie(n: usize, zone: &str, standing: Standing) -> BookieInfo {
        let id: BookieId = format!("b{n}:3181").parse().unwrap_or_else(|_| unreachable!("a good id"));
        BookieInfo {
            address: id.to_string(),
            id,
            standing,
            zone: zone.into(),
            incarnation: None,
            free: None,
            total: None,
            short: false,
            written_per_second: None,
            http: None,
            draining: false,
            has_cookie: true,
        }
    }

    fn writable(zones: &[&str]) -> Vec<BookieInfo> {
        zones.iter().enumerate().map(|(n, zone)| bookie(n, zone, Standing::Writable)).collect()
    }

    fn rng() -> SmallRng {
        SmallRng::seed_from_u64(1)
    }

    fn zones_of(bookies: &[BookieInfo], placement: &Placement) -> Vec<String> {
        let zone =
            |id: &BookieId| bookies.iter().find(|b| b.id == *id).map_or(String::new(), |b| b.zone.clone());
        placement.ensemble.iter().map(zone).collect()
    }

    #[test]
    fn three_zones_hold_one_replica_each() -> Result<(), Error> {
        let bookies = writable(&["a", "a", "a", "b", "c"]);
        for seed in 0..100 {
            let mut rng = SmallRng::seed_from_u64(seed);
            let placement = choose(&bookies, Quorums::new(3, 3, 2)?, &BTreeSet::new(), &mut rng)?;
            let zones: BTreeSet<_> = zones_of(&bookies, &placement).into_iter().collect();
            assert_eq!(zones.len(), 3);
        }
        Ok(())
    }

    /// How many of 1000 ledgers on one bookie each of them gets.
    fn shares(bookies: &[BookieInfo]) -> Result<Vec<usize>, Error> {
        let mut chosen = BTreeMap::new();
        let mut rng = rng();
        for _ in 0..1000 {
            let placement = choose(bookies, Quorums::new(1, 1, 1)?, &BTreeSet::new(), &mut rng)?;
            *chosen.entry(placement.ensemble[0].clone()).or_insert(0) += 1;
        }
        Ok(bookies.iter().map(|bookie| chosen.get(&bookie.id).copied().unwrap_or(0)).collect())
    }

    #[test]
    fn more_free_space_gets_more_ledgers() -> Result<(), Error> {
        let mut bookies = writable(&["", ""]);
        (bookies[0].free, bookies[0].total) = (Some(900), Some(1000));
        (bookies[1].free, bookies[1].total) = (Some(100), Some(1000));
        let fuller = shares(&bookies)?[1];
        assert!((50..200).contains(&fuller), "the fuller one got {fuller} of 1000");
        Ok(())
    }

    #[test]
    fn more_load_gets_fewer_ledgers_and_never_none() -> Result<(), Error> {
        let mut bookies = writable(&["", ""]);
        let mut busier = |loads: [u64; 2]| {
            bookies.iter_mut().zip(loads).for_each(|(bookie, load)| bookie.written_per_second = Some(load));
            shares(&bookies).map(|shares| shares[1])
        };
        let told = [[20_000_000, 20_000_000], [0, 20_000_000], [10_000_000, 30_000_000], [0, u64::MAX]];
        let [alike, idle_beside, three_times, endless] = told.map(&mut busier);
        assert!((450..550).contains(&alike?));
        assert!((200..300).contains(&idle_beside?));
        assert!((320..420).contains(&three_times?));
        assert!((60..300).contains(&endless?));
        Ok(())
    }

    #[test]
    fn a_little_load_is_none_and_one_that_does_not_tell_is_like_the_others() -> Result<(), Error> {
        let mut bookies = writable(&["", "", ""]);
        bookies[0].written_per_second = Some(100_000);
        bookies[1].written_per_second = Some(0);
        assert!((430..530).contains(&shares(&bookies[..2])?[0]));
        bookies[0].written_per_second = Some(50_000_000);
        bookies[1].written_per_second = Some(50_000_000);
        assert!(shares(&bookies)?.iter().all(|share| (280..390).contains(share)));
        Ok(())
    }

    #[test]
    fn load_does_not_overrule_zones() -> Result<(), Error> {
        let mut bookies = writable(&["a", "a", "b", "c"]);
        bookies[2].written_per_second = Some(1 << 40);
        bookies[3].written_per_second = Some(1 << 40);
        for seed in 0..100 {
            let mut rng = SmallRng::seed_from_u64(seed);
            let placement = choose(&bookies, Quorums::new(3, 3, 2)?, &BTreeSet::new(), &mut rng)?;
            assert_eq!(zones_of(&bookies, &placement).into_iter().collect::<BTreeSet<_>>().len(), 3);
        }
        Ok(())
    }

    #[test]
    fn with_too_few_a_known_absent_one_is_named() -> Result<(), Error> {
        let mut bookies = writable(&["", ""]);
        let quorums = Quorums::new(3, 3, 2)?;
        let alone = choose(&bookies, quorums, &BTreeSet::new(), &mut rng());
        assert!(matches!(&alone, Err(Error::TooFewBookies(why)) if why.contains("b0:3181")), "{alone:?}");
        bookies.push(bookie(2, "", Standing::Absent));
        let placement = choose(&bookies, quorums, &BTreeSet::new(), &mut rng())?;
        let absent: Vec<_> = placement.absent.iter().map(|i| placement.ensemble[i].clone()).collect();
        assert_eq!(absent, [bookies[2].id.clone()]);
        assert!(!is_whole_again(&bookies, quorums, &BTreeSet::new()));
        let strict = choose(&bookies, Quorums::new(3, 3, 3)?, &BTreeSet::new(), &mut rng());
        assert!(matches!(strict, Err(Error::TooFewBookies(_))));
        Ok(())
    }

    #[test]
    fn what_is_avoided_counts_as_away() -> Result<(), Error> {
        let bookies = writable(&["", "", ""]);
        let avoid = BTreeSet::from([bookies[1].id.clone()]);
        let placement = choose(&bookies, Quorums::new(3, 2, 1)?, &avoid, &mut rng())?;
        assert_eq!(placement.absent.count(), 1);
        assert!(placement.absent.iter().all(|i| placement.ensemble[i] == bookies[1].id));
        Ok(())
    }

    #[test]
    fn a_replacement_is_new_and_in_another_zone() -> Result<(), Error> {
        let bookies = writable(&["a", "b", "c", "a", "c"]);
        let ensemble: Vec<_> = bookies[..3].iter().map(|b| b.id.clone()).collect();
        let quorums = Quorums::new(3, 3, 2)?;
        for seed in 0..20 {
            let mut rng = SmallRng::seed_from_u64(seed);
            let other = replacement(&bookies, quorums, &ensemble, 2, &BTreeSet::new(), &mut rng);
            assert_eq!(other.as_ref(), Some(&bookies[4].id));
        }
        assert_eq!(replacement(&bookies[..3], quorums, &ensemble, 2, &BTreeSet::new(), &mut rng()), None);
        Ok(())
    }

    proptest! {
        #[test]
        fn an_ensemble_is_distinct_and_keeps_zones_apart_if_they_suffice(
            zones in prop::collection::vec(0usize..5, 1..12),
            away in 0usize..4,
            (e, w, a) in (1u32..6).prop_flat_map(|e| (1..=e).prop_flat_map(move |w| (1..=w).prop_map(move |a| (e, w, a)))),
            seed: u64,
        ) {
            let quorums = Quorums::new(e, w, a).map_err(|e| TestCaseError::fail(e.to_string()))?;
            let mut bookies: Vec<_> = zones.iter().enumerate()
                .map(|(n, z)| bookie(n, &format!("z{z}"), Standing::Writable)).collect();
            bookies.extend((0..away).map(|n| bookie(100 + n, "away", Standing::Absent)));
            let placed = choose(&bookies, quorums, &BTreeSet::new(), &mut SmallRng::seed_from_u64(seed));
            let lacking = (e as usize).saturating_sub(zones.len());
            let Ok(placement) = placed else {
                let possible = (0..1u64 << e).map(Members)
                    .any(|m| m.count() == lacking && quorums.writable_without(m));
                prop_assert!(!possible || away < lacking);
                return Ok(());
            };
            prop_assert_eq!(placement.ensemble.len(), e as usize);
            prop_assert_eq!(placement.ensemble.iter().collect::<BTreeSet<_>>().len(), e as usize);
            prop_assert_eq!(placement.absent.count(), lacking);
            prop_assert!(quorums.writable_without(placement.absent));
            let distinct: BTreeSet<_> = zones.iter().collect();
            if lacking == 0 && distinct.len() >= e as usize {
                let placed = zones_of(&bookies, &placement);
                for window in (0..e as usize).map(|f| (0..w as usize).map(move |i| (f + i) % e as usize)) {
                    let here: Vec<_> = window.map(|i| &placed[i]).collect();
                    prop_assert_eq!(here.iter().collect::<BTreeSet<_>>().len(), here.len());
                }
            }
        }
    }
}
