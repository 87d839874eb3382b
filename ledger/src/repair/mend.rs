//! One ledger's repair.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use metadata::ledgers::Swapped;
use metadata::registry::{BookieInfo, Standing};
use metadata::schema::{Damage, Segment, TaskReason};
use metadata::{Compare, LedgerMetadata, State, Stored};
use planted::Bug;
use protocol::{BookieId, EntryId, LedgerId};

use super::copying::Copying;
use super::{Lost, Pace, check_ledger};
use crate::layout::Layout;
use crate::quorum::Quorums;
use crate::{Cluster, Error};

/// How far a repair has come. Grows while it runs.
#[derive(Debug, Default)]
pub struct Mended {
    copied: AtomicU64,
    replaced: AtomicU64,
}

impl Mended {
    /// Entries that were copied.
    pub fn copied(&self) -> u64 {
        self.copied.load(Ordering::Relaxed)
    }

    /// Places in segments that have another bookie now.
    pub fn replaced(&self) -> u64 {
        self.replaced.load(Ordering::Relaxed)
    }
}

/// Why a ledger is not repaired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It is not closed: nobody repairs it before it is.
    Open,
    /// Nothing is wrong with it; something else is missing. Not counted as a failure.
    Waits(String),
    /// It was tried, and failed.
    Failed(String),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        match error {
            Error::TooFewBookies(text) => Trouble::Waits(text),
            other => Trouble::Failed(other.to_string()),
        }
    }
}

/// Repairs all of `damage` that is still there. `guard` is compared with every change of metadata.
pub async fn mend(
    cluster: &Cluster,
    pace: &Pace,
    ledger: LedgerId,
    damage: &[Damage],
    lost: &Lost,
    guard: &Compare,
    mended: &Mended,
) -> Result<(), Trouble> {
    let bookies = cluster.registered().await?;
    let away = bookies.iter().filter(|info| info.standing == Standing::Absent).map(|info| info.id.clone());
    let mending = Mending { cluster, pace, lost, away: away.collect(), bookies, guard, mended };
    let mut trouble = None;
    // Who is lost goes first: it need not be given anything then.
    let mut damage: Vec<&Damage> = damage.iter().collect();
    damage.sort_by_key(|damage| damage.reason);
    for damage in damage {
        let Ok(bookie) = damage.bookie.parse::<BookieId>() else { continue };
        // A ledger that was deleted needs no repair.
        let Some(stored) = cluster.ledgers.read(ledger).await.map_err(Error::from)? else {
            return Ok(());
        };
        if !stored.metadata.is_closed() {
            return Err(Trouble::Open);
        }
        let done = match damage.reason {
            TaskReason::Missing => mending.give(&stored, &bookie, &damage.lacks).await,
            reason if mending.still_holds(&bookie, reason) => mending.relieve(stored, &bookie).await,
            _ => Ok(()),
        };
        // One damage that cannot be repaired keeps no other from it.
        trouble = trouble.or(done.err());
    }
    match trouble {
        Some(trouble) => Err(trouble),
        None => Ok(()),
    }
}

struct Mending<'a> {
    cluster: &'a Cluster,
    pace: &'a Pace,
    lost: &'a Lost,
    bookies: Vec<BookieInfo>,
    away: BTreeSet<BookieId>,
    guard: &'a Compare,
    mended: &'a Mended,
}

impl Mending<'_> {
    /// A lost bookie that came back, and one that is no longer to be emptied, keep what they have.
    fn still_holds(&self, bookie: &BookieId, reason: TaskReason) -> bool {
        let info = self.bookies.iter().find(|info| info.id == *bookie);
        match reason {
            TaskReason::Drain => info.is_some_and(|info| info.draining),
            _ => {
                self.lost.reason(bookie) == Some(TaskReason::Lost)
                    || info.is_none_or(|info| info.standing == Standing::Absent)
            }
        }
    }

    /// Takes a bookie out of all segments that name it.
    async fn relieve(&self, mut stored: Stored, bookie: &BookieId) -> Result<(), Trouble> {
        let named =
            |metadata: &LedgerMetadata| metadata.segments.iter().position(|s| s.ensemble.contains(bookie));
        while let Some(at) = named(&stored.metadata) {
            let layout = Layout::of(&stored)?;
            let Some(segment) = layout.segments.get(at) else { break };
            let Some(index) = segment.ensemble.iter().position(|member| member == bookie) else { break };
            let target = self.target(&layout, segment, index, bookie)?;
            if let Some(last) = stored.metadata.segment_end(at).filter(|last| *last >= segment.first) {
                let last = if planted::on(Bug::RepairStopsShort) { EntryId(last.0 - 1) } else { last };
                let copying = self.copying(&stored, &layout, &target, index);
                copying.range(segment.first, last, &self.mended.copied).await?;
            }
            stored = self.swap(stored, at, index, target).await?;
            self.mended.replaced.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn target(
        &self,
        layout: &Layout,
        segment: &Segment,
        index: usize,
        bookie: &BookieId,
    ) -> Result<BookieId, Trouble> {
        if let Some(wanted) = self.lost.replacement(bookie)
            && self.bookies.iter().any(|info| info.id == *wanted && info.takes_ledgers())
            && !segment.ensemble.contains(wanted)
        {
            return Ok(wanted.clone());
        }
        let avoid: BTreeSet<BookieId> = self.lost.bookies().map(|(id, _)| id.clone()).collect();
        let target =
            self.cluster.replacement_among(&self.bookies, layout.quorums, &segment.ensemble, index, &avoid);
        target.ok_or_else(|| {
            Trouble::Waits(format!(
                "no writable bookie is left for segment {} of ledger {}, besides those that it has: start or add one",
                segment.first, layout.ledger
            ))
        })
    }

    fn copying<'a>(
        &'a self,
        stored: &Stored,
        layout: &'a Layout,
        target: &'a BookieId,
        index: usize,
    ) -> Copying<'a> {
        let entry_bytes = match stored.metadata.state {
            State::Closed { last, length } => {
                usize::try_from(length / (last.0 + 1).max(1)).unwrap_or(usize::MAX)
            }
            _ => usize::MAX,
        };
        Copying {
            cluster: self.cluster,
            layout,
            pace: self.pace,
            away: &self.away,
            target,
            index,
            entry_bytes,
        }
    }

    /// Names `target` in place of a segment's member. Copies are there before this is called.
    async fn swap(
        &self,
        stored: Stored,
        at: usize,
        index: usize,
        target: BookieId,
    ) -> Result<Stored, Trouble> {
        let mut metadata = stored.metadata.clone();
        if let Some(member) =
            metadata.segments.get_mut(at).and_then(|segment| segment.ensemble.get_mut(index))
        {
            tracing::info!(ledger = %stored.id, segment = at, from = %member, to = %target, "a bookie is replaced");
            *member = target;
        }
        let guards = vec![self.guard.clone()];
        let swapped = self.cluster.ledgers.replace_guarded(stored.id, stored.version, metadata, guards).await;
        match swapped.map_err(Error::from)? {
            Swapped::Done(stored) => Ok(stored),
            Swapped::Conflict(_) => {
                Err(Trouble::Waits(format!("ledger {} was changed while it was repaired", stored.id)))
            }
        }
    }

    /// Gives a bookie what it lacks; if nobody has said what that is, it is asked.
    async fn give(&self, stored: &Stored, bookie: &BookieId, lacks: &[(i64, i64)]) -> Result<(), Trouble> {
        let layout = Layout::of(stored)?;
        let asked;
        let lacks = if lacks.is_empty() {
            let checked = check_ledger(self.cluster, self.pace, stored, 0).await?;
            if let Some(why) = checked.silent.get(bookie) {
                return Err(Trouble::Failed(format!("{bookie} does not say what it has: {why}")));
            }
            asked = checked.damage.into_iter().find(|damage| damage.bookie == bookie.as_str());
            asked.as_ref().map_or(&[][..], |damage| &damage.lacks)
        } else {
            lacks
        };
        for (at, segment) in layout.segments.iter().enumerate() {
            let Some(index) = segment.ensemble.iter().position(|member| member == bookie) else { continue };
            let Some(end) = stored.metadata.segment_end(at) else { continue };
            let copying = self.copying(stored, &layout, bookie, index);
            for &(first, last) in lacks {
                let (first, last) = (EntryId(first).max(segment.first), EntryId(last).min(end));
                if first <= last {
                    copying.range(first, last, &self.mended.copied).await?;
                }
            }
        }
        Ok(())
    }
}

/// Which places of a ledger are to be filled by others.
pub(super) fn damage_of(metadata: &LedgerMetadata, lost: &Lost) -> Vec<Damage> {
    let mut found: BTreeMap<&BookieId, TaskReason> = BTreeMap::new();
    for member in metadata.segments.iter().flat_map(|segment| &segment.ensemble) {
        if let Some(reason) = lost.reason(member) {
            found.insert(member, reason);
        }
    }
    let damage = |(bookie, reason): (&BookieId, TaskReason)| Damage {
        bookie: bookie.to_string(),
        reason,
        lacks: Vec::new(),
    };
    found.into_iter().map(damage).collect()
}

impl Cluster {
    /// As [`Cluster::replacement`], with a list of bookies that the caller has.
    fn replacement_among(
        &self,
        bookies: &[BookieInfo],
        quorums: Quorums,
        ensemble: &[BookieId],
        index: usize,
        avoid: &BTreeSet<BookieId>,
    ) -> Option<BookieId> {
        self.with_rng(|rng| crate::placement::replacement(bookies, quorums, ensemble, index, avoid, rng))
    }
}
