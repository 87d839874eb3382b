//! Whether bookies hold what metadata says: their lists of entries, and the digests of some.

use std::collections::{BTreeMap, BTreeSet};

use metadata::Stored;
use metadata::schema::{Damage, TaskReason};
use metadata::stripe::{Lacks, Share};
use net::{Failure, ask};
use protocol::bookie::{Answer, ReadOptions, Refusal, Request, Runs};
use protocol::{BookieId, EntryId};

use super::Pace;
use crate::layout::Layout;
use crate::{Cluster, Error};

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
    let bookies: BTreeSet<&BookieId> =
        stored.metadata.segments.iter().flat_map(|segment| &segment.ensemble).collect();
    for bookie in bookies {
        let shares = stored.metadata.shares(bookie);
        let look = Look { cluster, pace, layout: &layout, bookie, percent };
        match look.at(&shares, &mut checked.digests).await {
            Ok(lacks) if lacks.is_empty() => {}
            Ok(lacks) => {
                let bookie = bookie.to_string();
                checked.damage.push(Damage { bookie, reason: TaskReason::Missing, lacks });
            }
            Err(failure) => drop(checked.silent.insert(bookie.clone(), failure.to_string())),
        }
    }
    Ok(checked)
}

/// One bookie of a ledger.
struct Look<'a> {
    cluster: &'a Cluster,
    pace: &'a Pace,
    layout: &'a Layout,
    bookie: &'a BookieId,
    percent: u8,
}

impl Look<'_> {
    /// The ranges of entries that are not there, or damaged.
    async fn at(&self, shares: &[Share], digests: &mut u64) -> Result<Vec<(i64, i64)>, Failure> {
        if shares.is_empty() {
            return Ok(Vec::new());
        }
        self.pace.take(1024).await;
        let request = Request::ListEntries { ledger: self.layout.ledger };
        let held = match ask(&*self.cluster.bookies, self.bookie, request).await {
            Ok(Answer::List(runs)) => Some(runs),
            Err(Failure::Refused(Refusal::NoLedger)) => Some(Runs::default()),
            // It keeps no such list: then the first and the last entry tell whether it is whole, as far as they can.
            Ok(_) | Err(Failure::Refused(Refusal::BadVersion | Refusal::BadRequest)) => None,
            Err(failure) => return Err(failure),
        };
        let mut all = Vec::new();
        for share in shares {
            let missing = match &held {
                Some(held) => share.lacking(held),
                None => Lacks::new(share.stripe.clone()),
            };
            let damaged = self.damaged(share, held.is_none(), &missing, digests).await?;
            all.extend(missing.and(damaged).into_ranges());
        }
        Ok(all)
    }

    /// Entries whose bytes are not what they should be, among some of those that are not `missing`.
    async fn damaged(
        &self,
        share: &Share,
        ends: bool,
        missing: &Lacks,
        digests: &mut u64,
    ) -> Result<Lacks, Failure> {
        let mut damaged = Lacks::new(share.stripe.clone());
        let Some((first, last)) = share.ends() else { return Ok(damaged) };
        let step = match self.percent {
            0 => None,
            percent => Some((100 / i64::from(percent.min(100))).max(1)),
        };
        let some = step.into_iter().flat_map(|step| share.sample(step));
        let inner = some.filter(|entry| !ends || (*entry != first && *entry != last));
        let (before, after) = (ends.then_some(first), (ends && first != last).then_some(last));
        for entry in before.into_iter().chain(inner).chain(after).filter(|entry| !missing.contains(*entry)) {
            *digests += 1;
            if !self.is_whole(entry).await? {
                damaged.add(entry, entry);
            }
        }
        Ok(damaged)
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
