//! Which bookies are lost: away for longer than the grace, or given up by an operator.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use metadata::registry::{BookieInfo, Standing, read_all};
use metadata::schema::{Gone, TaskReason};
use metadata::{Scope, Store};
use protocol::BookieId;
use tokio::time::Instant;

use crate::Error;

/// What is to become of bookies. Those that are not mentioned are well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    reasons: BTreeMap<BookieId, TaskReason>,
    replacements: BTreeMap<BookieId, BookieId>,
    /// Known, and neither lost nor draining.
    pub(super) well: BTreeSet<BookieId>,
}

impl Lost {
    /// Why ledgers should leave this bookie.
    pub fn reason(&self, bookie: &BookieId) -> Option<TaskReason> {
        self.reasons.get(bookie).copied()
    }

    pub fn replacement(&self, bookie: &BookieId) -> Option<&BookieId> {
        self.replacements.get(bookie)
    }

    pub fn is_empty(&self) -> bool {
        self.reasons.is_empty()
    }

    /// Who is lost or to be emptied.
    pub fn bookies(&self) -> impl Iterator<Item = (&BookieId, TaskReason)> {
        self.reasons.iter().map(|(id, reason)| (id, *reason))
    }
}

/// Since when who is away, as one observer has seen it.
#[derive(Default)]
pub(super) struct Watchman {
    away_since: BTreeMap<BookieId, Instant>,
    /// Ledgers name bookies that nothing else knows of: no registration, no cookie.
    pub(super) named_only: BTreeSet<BookieId>,
}

impl Watchman {
    /// Looks who is there. An observer that has just begun has seen nobody away for long.
    pub(super) async fn look(
        &mut self,
        store: &dyn Store,
        scope: &Scope,
        bookies: &[BookieInfo],
        grace: Duration,
    ) -> Result<Lost, Error> {
        let mut lost = given_up(store, scope).await?;
        let now = Instant::now();
        let known: BTreeSet<&BookieId> = bookies.iter().map(|info| &info.id).collect();
        self.named_only.retain(|id| !known.contains(id));
        let absent = bookies.iter().filter(|info| info.standing == Standing::Absent).map(|info| &info.id);
        let absent: BTreeSet<BookieId> = absent.chain(&self.named_only).cloned().collect();
        self.away_since.retain(|id, _| absent.contains(id));
        for id in absent {
            let since = *self.away_since.entry(id.clone()).or_insert(now);
            if now - since >= grace {
                lost.reasons.entry(id).or_insert(TaskReason::Lost);
            }
        }
        for info in bookies {
            if info.draining {
                lost.reasons.entry(info.id.clone()).or_insert(TaskReason::Drain);
            } else if info.standing != Standing::Absent && !lost.reasons.contains_key(&info.id) {
                lost.well.insert(info.id.clone());
            }
        }
        Ok(lost)
    }
}

/// Bookies that an operator has given up or wants emptied: what any worker can know without having watched.
pub(super) async fn given_up(store: &dyn Store, scope: &Scope) -> Result<Lost, Error> {
    let mut lost = Lost::default();
    let under = "strata/replication/gone/";
    for entry in read_all(store, &scope.key(under)).await? {
        let Some(id) = scope.bookie_of(&entry.key, under) else { continue };
        let gone = Gone::decode(&id, &entry.value)?;
        if let Some(other) = gone.replacement.and_then(|other| other.parse().ok()) {
            lost.replacements.insert(id.clone(), other);
        }
        lost.reasons.insert(id, TaskReason::Lost);
    }
    Ok(lost)
}
