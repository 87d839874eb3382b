//! What lives as long as its holder: a [`Lease`] that renews itself, and a [`Lock`], one key on such a lease.
//!
//! A lease excludes nobody: its holder may be paused past its end. So whatever is changed under a lock carries
//! [`Lock::guard`] as a compare of the transaction.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use crate::{Compare, Error, LeaseId, Revision, Store, Txn, TxnOutcome, commit};

/// A lease that is renewed until it is dropped. Dropped without [`Lease::end`], it and its keys stay for its time.
pub struct Lease {
    store: Arc<dyn Store>,
    id: LeaseId,
    /// How long it holds without another renewal; nothing once the store has said that it is gone.
    until: watch::Receiver<Option<Instant>>,
    renewing: JoinHandle<()>,
}

impl Lease {
    pub async fn grant(store: &Arc<dyn Store>, ttl: Duration) -> Result<Lease, Error> {
        let sent = Instant::now();
        let id = store.grant(ttl).await?;
        let (tell, until) = watch::channel(Some(sent + ttl));
        let renewing = tokio::spawn(renew(store.clone(), id, ttl, tell));
        Ok(Lease { store: store.clone(), id, until, renewing })
    }

    pub fn id(&self) -> LeaseId {
        self.id
    }

    /// Until when it holds for certain: one lease from when a renewal that succeeded was sent.
    pub fn until(&self) -> Option<Instant> {
        *self.until.borrow()
    }

    pub fn holds(&self) -> bool {
        self.until().is_some_and(|until| Instant::now() < until)
    }

    /// Waits until it does not hold for certain any more. It may come to hold again, after a store that was away.
    pub async fn lost(&self) {
        let mut until = self.until.clone();
        loop {
            let Some(end) = *until.borrow_and_update() else { return };
            if Instant::now() >= end {
                return;
            }
            tokio::select! {
                biased;
                changed = until.changed() => if changed.is_err() { return },
                () = sleep_until(end) => {}
            }
        }
    }

    /// Waits until the store says that it is gone for good.
    pub async fn gone(&self) {
        // A sender that is gone renews no more, and never will.
        let _ = self.until.clone().wait_for(Option::is_none).await;
    }

    /// Gives it up, with its keys.
    pub async fn end(self) {
        self.renewing.abort();
        if let Err(error) = self.store.revoke(self.id).await {
            tracing::info!(%error, "a lease could not be given up; it ends by itself");
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

async fn renew(store: Arc<dyn Store>, id: LeaseId, ttl: Duration, tell: watch::Sender<Option<Instant>>) {
    loop {
        sleep(ttl / 4).await;
        let sent = Instant::now();
        match store.renew(id).await {
            Ok(()) => _ = tell.send_replace(Some(sent + ttl)),
            Err(Error::LeaseGone) => {
                tell.send_replace(None);
                return;
            }
            Err(error) => tracing::debug!(%error, "a lease could not be renewed; trying again"),
        }
    }
}

/// A key that is its holder's until he lets go of it, or loses it.
pub struct Lock {
    key: String,
    at: Revision,
    lease: Lease,
}

impl Lock {
    /// Takes the key if nobody has it, in one transaction with what `with` compares and changes. `None`: it is
    /// another's, or a compare does not hold. Dropped without [`Lock::free`], the lock ends with its lease.
    pub async fn take(
        store: &Arc<dyn Store>,
        key: String,
        value: impl Into<Bytes>,
        ttl: Duration,
        with: Txn,
    ) -> Result<Option<Lock>, Error> {
        if store.get(&key).await?.is_some() {
            return Ok(None);
        }
        let lease = Lease::grant(store, ttl).await?;
        let txn = with.compare(Compare::Absent(key.clone())).put_leased(key.clone(), value, lease.id());
        match commit(&**store, txn).await? {
            TxnOutcome::Done(at) => Ok(Some(Lock { key, at, lease })),
            TxnOutcome::Conflict(_) => {
                lease.end().await;
                Ok(None)
            }
        }
    }

    /// Makes a transaction conflict once the key is another's.
    pub fn guard(&self) -> Compare {
        Compare::Unchanged(self.key.clone(), self.at)
    }

    /// Until when nobody else can have it, as [`Lease::until`].
    pub fn until(&self) -> Option<Instant> {
        self.lease.until()
    }

    pub fn holds(&self) -> bool {
        self.lease.holds()
    }

    /// Waits until the key may be another's.
    pub async fn lost(&self) {
        self.lease.lost().await;
    }

    pub async fn free(self) {
        self.lease.end().await;
    }
}
