//! One leader among candidates, with an epoch that only grows.
//!
//! A lease cannot exclude: its holder may be paused past its end. So whatever a leader changes carries its
//! [`Leadership::guard`] as a compare of the transaction; an old leader's change then conflicts.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};

use crate::schema::{from_json, to_json};
use crate::store::Change;
use crate::{Compare, Error, Lock, Revision, Scope, Store, Txn};

/// `{scope}/strata/leader/<name>`, on a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    pub name: String,
    pub epoch: u64,
}

impl Leader {
    pub fn encode(&self) -> Bytes {
        to_json(self)
    }

    pub fn decode(office: &str, value: &[u8]) -> Result<Leader, Error> {
        from_json(value, &|| format!("the leader of '{office}'"))
    }
}

impl Scope {
    pub fn leader(&self, office: &str) -> String {
        self.key(&format!("strata/leader/{office}"))
    }

    /// The last epoch that was given, as decimal digits. Outlives its leader.
    pub fn leader_epoch(&self, office: &str) -> String {
        self.key(&format!("strata/leader-epoch/{office}"))
    }
}

/// Who leads now.
pub async fn leader(store: &dyn Store, scope: &Scope, office: &str) -> Result<Option<Leader>, Error> {
    let found = store.get(&scope.leader(office)).await?;
    found.map(|found| Leader::decode(office, &found.value)).transpose()
}

/// An office that was won. Dropped without [`Leadership::resign`], it ends with its lease.
pub struct Leadership {
    pub epoch: u64,
    lock: Lock,
}

/// Waits until `candidate` is the leader. Errors only where trying again makes no sense.
pub async fn stand(
    store: Arc<dyn Store>,
    scope: &Scope,
    office: &str,
    candidate: &str,
    ttl: Duration,
) -> Result<Leadership, Error> {
    loop {
        match try_once(&store, scope, office, candidate, ttl).await {
            Ok(Some(leadership)) => return Ok(leadership),
            Ok(None) => {}
            Err(error @ (Error::Invalid(_) | Error::Corrupt(_))) => return Err(error),
            Err(error) => {
                tracing::debug!(office, %error, "cannot stand for the office; trying again");
                sleep(ttl / 4).await;
            }
        }
    }
}

/// One attempt: the office if it is free, else nothing once it may have become so.
async fn try_once(
    store: &Arc<dyn Store>,
    scope: &Scope,
    office: &str,
    candidate: &str,
    ttl: Duration,
) -> Result<Option<Leadership>, Error> {
    let (key, counter) = (scope.leader(office), scope.leader_epoch(office));
    if let Some(held) = store.get(&key).await? {
        wait_until_free(&**store, &key, held.modified, ttl).await;
        return Ok(None);
    }
    let last = store.get(&counter).await?;
    let (epoch, compare) = match &last {
        None => (1, Compare::Absent(counter.clone())),
        Some(last) => (next_epoch(office, &last.value)?, Compare::Unchanged(counter.clone(), last.modified)),
    };
    let leader = Leader { name: candidate.to_owned(), epoch };
    let with = Txn::default().compare(compare).put(counter, epoch.to_string());
    let lock = Lock::take(store, key, leader.encode(), ttl, with).await?;
    Ok(lock.map(|lock| Leadership { epoch, lock }))
}

fn next_epoch(office: &str, value: &[u8]) -> Result<u64, Error> {
    let last = std::str::from_utf8(value).ok().and_then(|text| text.parse::<u64>().ok());
    last.and_then(|last| last.checked_add(1))
        .ok_or_else(|| Error::Corrupt(format!("the last epoch of '{office}' is no number")))
}

async fn wait_until_free(store: &dyn Store, key: &str, from: Revision, ttl: Duration) {
    let freed = async {
        let Ok(mut watch) = store.watch(key, from).await else { return sleep(ttl).await };
        loop {
            match watch.next().await {
                Change::Deleted { .. } => return,
                Change::Put(_) => {}
                Change::Lost => return sleep(ttl / 4).await,
            }
        }
    };
    // The watch is a hint: look again even if it says nothing.
    let _ = timeout(ttl, freed).await;
}

impl Leadership {
    /// Makes a transaction conflict once the office is another's.
    pub fn guard(&self) -> Compare {
        self.lock.guard()
    }

    /// Whether a renewal that was sent less than a lease ago has succeeded.
    pub fn holds(&self) -> bool {
        self.lock.holds()
    }

    /// Waits until the office is lost, or may be.
    pub async fn lost(&self) {
        self.lock.lost().await;
    }

    pub async fn resign(self) {
        self.lock.free().await;
    }
}
