//! Whether bookies hold what metadata says: their lists of entries, and the digests of some.

use std::collections::BTreeMap;

use metadata::Stored;
use metadata::schema::{Damage, TaskReason};
use net::{Failure, ask};
use protocol::bookie::{Answer, ReadOptions, Refusal, Request};
use protocol::{BookieId, EntryId};

use super::Pace;
use crate::layout::Layout;
use crate::{Cluster, Error};

/// No more ranges than this are named for one bookie; the rest is found by the next check.
const MOST_RANGES: usize = 1000;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    pub damage: Vec<Damage>,
    /// Bookies that did not say what they hold, and why.
    pub silent: BTreeMap<BookieId, String>,
    /// Entries whose digest was checked.
    pub digests: u64,
}

/// Compares a closed ledger with what its bookies hold, and reads `percent` of the entries of each.
pub async fn check_ledger(
    cluster: &Cluster,
    pace: &Pace,
    stored: &Stored,
    percent: u8,
) -> Result<Checked, Error> {
    let layout = Layout::of(stored)?;
    let mut checked = Checked::default();
    let mut lacking: BTreeMap<BookieId, Vec<(i64, i64)>> = BTreeMap::new();
    for (at, segment) in layout.segments.iter().enumerate() {
        let Some(end) = stored.metadata.segment_end(at).filter(|end| *end >= segment.first) else { continue };
        for (index, bookie) in segment.ensemble.iter().enumerate() {
            let place = Place { cluster, pace, layout: &layout, bookie, index, first: segment.first, end };
            match place.check(percent, &mut checked.digests).await {
                Ok(lacks) if lacks.is_empty() => {}
                Ok(lacks) => lacking.entry(bookie.clone()).or_default().extend(lacks),
                Err(failure) => drop(checked.silent.insert(bookie.clone(), failure.to_string())),
            }
        }
    }
    for (bookie, lacks) in lacking {
        let lacks: Vec<_> = lacks.into_iter().take(MOST_RANGES).collect();
        checked.damage.push(Damage { bookie: bookie.to_string(), reason: TaskReason::Missing, lacks });
    }
    Ok(checked)
}

/// One bookie's place in one segment.
struct Place<'a> {
    cluster: &'a Cluster,
    pace: &'a Pace,
    layout: &'a Layout,
    bookie: &'a BookieId,
    index: usize,
    first: EntryId,
    end: EntryId,
}

impl Place<'_> {
    /// The ranges of entries that are not there, or damaged.
    async fn check(&self, percent: u8, digests: &mut u64) -> Result<Vec<(i64, i64)>, Failure> {
        self.pace.take(1024).await;
        let request = Request::ListEntries { ledger: self.layout.ledger };
        let held = match ask(&*self.cluster.bookies, self.bookie, request).await {
            Ok(Answer::List(runs)) => Some(runs),
            Err(Failure::Refused(Refusal::NoLedger)) => Some(Vec::new()),
            // It keeps no such list: then the first and the last entry tell whether it is whole, as far as they can.
            Ok(_) | Err(Failure::Refused(Refusal::BadVersion | Refusal::BadRequest)) => None,
            Err(failure) => return Err(failure),
        };
        let mut lacks = Ranges::default();
        let step = match percent {
            0 => i64::MAX,
            percent => (100 / i64::from(percent.min(100))).max(1),
        };
        let mine: Vec<EntryId> = self.ends();
        let mut turn = 0;
        let mut runs = held.iter().flatten().peekable();
        for entry in (self.first.0..=self.end.0).map(EntryId) {
            if self.layout.quorums.offset_of(entry, self.index).is_none() {
                continue;
            }
            while runs.next_if(|(_, last)| *last < entry).is_some() {}
            // A long ledger must not keep a whole thread to itself.
            if turn % 4096 == 0 {
                tokio::task::yield_now().await;
            }
            let listed = runs.peek().is_some_and(|(first, _)| *first <= entry);
            turn += 1;
            let wanted = turn % step == 0 || (held.is_none() && mine.contains(&entry));
            let whole = match (held.is_some(), listed, wanted) {
                (true, false, _) => false,
                (_, _, false) => true,
                (_, _, true) => {
                    *digests += 1;
                    self.is_whole(entry).await?
                }
            };
            if !whole {
                lacks.add(entry);
            }
        }
        Ok(lacks.0)
    }

    /// The first and the last entry that belong here.
    fn ends(&self) -> Vec<EntryId> {
        let mine = |entry: &EntryId| self.layout.quorums.offset_of(*entry, self.index).is_some();
        let reach = self.layout.quorums.ensemble() as i64;
        let near = |from: i64, to: i64| (from.max(self.first.0)..=to.min(self.end.0)).map(EntryId);
        let first = near(self.first.0, self.first.0 + reach).find(mine);
        let last = near(self.end.0 - reach, self.end.0).rfind(mine);
        first.into_iter().chain(last).collect()
    }

    async fn is_whole(&self, entry: EntryId) -> Result<bool, Failure> {
        let request = Request::Read { ledger: self.layout.ledger, entry, options: ReadOptions::default() };
        match ask(&*self.cluster.bookies, self.bookie, request).await {
            Ok(Answer::Entry { body, .. }) => {
                self.pace.take(body.len()).await;
                Ok(self.layout.digest.open(self.layout.ledger, entry, &body).is_ok())
            }
            Ok(_) => Ok(false),
            // Damaged on its disk, it may say.
            Err(Failure::Refused(Refusal::NoLedger | Refusal::NoEntry | Refusal::Io)) => Ok(false),
            Err(failure) => Err(failure),
        }
    }
}

#[derive(Default)]
struct Ranges(Vec<(i64, i64)>);

impl Ranges {
    /// Entries come in ascending order; neighbours in the place, not in the ledger, share a range, for what belongs
    /// elsewhere is not copied anyway.
    fn add(&mut self, entry: EntryId) {
        match self.0.last_mut() {
            Some((_, last)) if entry.0 - *last <= crate::quorum::MAX_ENSEMBLE as i64 => *last = entry.0,
            _ => self.0.push((entry.0, entry.0)),
        }
    }
}
