//! Claims in metadata: keys on the process's lease.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use metadata::lease::Lease;
use metadata::schema::{Claim, Owner, VirtualBrokers};
use metadata::store::{Change, Watch};
use metadata::{Compare, Error, LeaseId, Revision, Scope, Store, Txn, TxnOutcome, commit};
use parking_lot::Mutex;
use planted::Bug;
use tokio::time::{Instant, sleep};

use super::policy::Standing;

/// More virtual brokers a cluster cannot have.
const PAGE: usize = 1024;
/// A watch that is lost at once, again and again, must not become a loop of reads.
const CALM: Duration = Duration::from_millis(250);

pub(super) struct Claims {
    store: Arc<dyn Store>,
    scope: Scope,
    me: Claim,
    ttl: Duration,
    lease: Mutex<Option<Arc<Lease>>>,
    watch: tokio::sync::Mutex<Option<Box<dyn Watch>>>,
}

/// What became of an attempt to claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Ours,
    /// Somebody was faster; the next look says who.
    Not,
    /// What we serve is ours no more, though nobody claims it: another has owned it since, and has gone.
    Robbed,
}

/// How many virtual brokers the cluster has: the first broker decides.
pub(super) async fn virtual_brokers(
    store: &dyn Store,
    scope: &Scope,
    wanted: u32,
) -> Result<BTreeSet<u32>, Error> {
    let key = scope.virtual_brokers();
    loop {
        if let Some(found) = store.get(&key).await? {
            let count = VirtualBrokers::decode(&found.value)?.count;
            if count != wanted {
                tracing::info!(
                    count,
                    wanted,
                    "the number of virtual brokers was decided when the cluster began"
                );
            }
            return Ok((0..count).collect());
        }
        let value = VirtualBrokers { count: wanted }.encode();
        commit(store, Txn::default().compare(Compare::Absent(key.clone())).put(&key, value)).await?;
    }
}

/// What is wrong, and what to do about it.
pub(super) fn namesake(me: &Claim, other: &Claim) -> String {
    format!(
        "two brokers advertise {}, one on machine '{}', and this one, on '{}': give each an address of its own with \
         --advertise or --listen",
        me.broker, other.machine, me.machine
    )
}

impl Claims {
    pub fn new(store: Arc<dyn Store>, scope: Scope, me: Claim, ttl: Duration) -> Claims {
        Claims { store, scope, me, ttl, lease: Mutex::default(), watch: tokio::sync::Mutex::default() }
    }

    pub fn me(&self) -> &Claim {
        &self.me
    }

    /// All claims; changes after this are what [`Claims::changed`] waits for.
    pub async fn look(&self) -> Result<BTreeMap<u32, Standing>, Error> {
        let page = self.store.range(&self.scope.claims(), None, PAGE).await?;
        *self.watch.lock().await = self.store.watch(&self.scope.claims(), page.revision).await.ok();
        let mut claims = BTreeMap::new();
        for entry in page.entries {
            if let Some(vb) = self.scope.claimed_vb(&entry.key) {
                let claim = Claim::decode(vb, &entry.value)?;
                claims.insert(vb, Standing { claim, at: entry.modified });
            }
        }
        Ok(claims)
    }

    /// Waits until no process has claims that says it is reached where we are, and runs elsewhere: those of a dead one
    /// end with its lease. Returns something that an earlier process of ours has claimed, if there is any.
    pub async fn must_be_alone(&self) -> Result<Option<u32>, crate::error::Error> {
        let until = Instant::now() + self.ttl * 2;
        loop {
            let now = self.look().await?;
            let Some(other) = now.values().find(|one| self.me.collides_with(&one.claim)) else {
                return Ok(now.into_iter().find(|(_, one)| self.me.succeeds(&one.claim)).map(|(vb, _)| vb));
            };
            if Instant::now() >= until {
                return Err(crate::error::Error::Namesake(namesake(&self.me, &other.claim)));
            }
            sleep(self.ttl / 4).await;
        }
    }

    /// Waits until a claim has changed since the last look, or may have.
    pub async fn changed(&self) {
        let mut watch = self.watch.lock().await;
        let change = match watch.as_mut() {
            Some(watch) => watch.next().await,
            None => std::future::pending().await,
        };
        if change == Change::Lost {
            *watch = None;
            sleep(CALM).await;
        }
    }

    /// Claims a virtual broker. `held` is the epoch under which we serve it already, our claim having ended with our
    /// lease: then it is claimed only if nobody has owned it since.
    pub async fn take(
        &self,
        vb: u32,
        instead_of: Option<Revision>,
        held: Option<u64>,
    ) -> Result<Taken, Error> {
        let key = self.scope.claim(vb);
        let compare = match instead_of {
            Some(at) => Compare::Unchanged(key.clone(), at),
            None => Compare::Absent(key.clone()),
        };
        let mut txn = Txn::default().compare(compare);
        if let Some(epoch) = held.filter(|_| !planted::on(Bug::ClaimIgnoresEpoch)) {
            let log = format!("vb-{vb}");
            let owner = self.store.get(&self.scope.vb_owner(&log)).await?;
            let Some(owner) = owner else { return Ok(Taken::Robbed) };
            if Owner::decode(&log, &owner.value)?.epoch != epoch {
                return Ok(Taken::Robbed);
            }
            txn = txn.compare(Compare::Unchanged(owner.key, owner.modified));
        }
        let lease = self.lease().await?;
        match commit(&*self.store, txn.put_leased(key, self.me.encode(), lease)).await {
            Ok(TxnOutcome::Done(_)) => Ok(Taken::Ours),
            Ok(TxnOutcome::Conflict(_)) => Ok(Taken::Not),
            Err(error) => {
                if error == Error::LeaseGone {
                    *self.lease.lock() = None;
                }
                Err(error)
            }
        }
    }

    /// Gives one claim up, if it is still ours.
    pub async fn release(&self, vb: u32) {
        let key = self.scope.claim(vb);
        let released = async {
            let Some(found) = self.store.get(&key).await? else { return Ok(()) };
            if Claim::decode(vb, &found.value)? != self.me {
                return Ok(());
            }
            let compare = Compare::Unchanged(key.clone(), found.modified);
            commit(&*self.store, Txn::default().compare(compare).delete(&key)).await.map(drop)
        };
        if let Err(error) = released.await {
            tracing::info!(vb, %error, "its claim could not be given up; it ends with the lease");
        }
    }

    /// Gives up the lease, and with it whatever is still claimed.
    pub async fn give_up(&self) {
        let lease = self.lease.lock().take();
        if let Some(lease) = lease.and_then(Arc::into_inner) {
            lease.end().await;
        }
    }

    /// How long ago the last renewal was sent that succeeded.
    pub fn renewed_ago(&self) -> Option<Duration> {
        let until = self.lease.lock().as_ref()?.until()?;
        Some((Instant::now() + self.ttl).saturating_duration_since(until))
    }

    /// The lease, made if there is none or the last one has ended.
    async fn lease(&self) -> Result<LeaseId, Error> {
        let held = self.lease.lock().clone();
        if let Some(lease) = held.filter(|lease| lease.until().is_some()) {
            return Ok(lease.id());
        }
        let lease = Arc::new(Lease::grant(&self.store, self.ttl).await?);
        let id = lease.id();
        *self.lease.lock() = Some(lease);
        Ok(id)
    }
}
