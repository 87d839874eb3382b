//! Leases end early and late; nobody may rely on the moment, everybody on what it means.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::{Subject, Unsure, done, there};
use crate::{Compare, Error, LeaseId, Lock, Store, Txn};

/// All at once: each has keys of its own, and waits most of the time.
pub async fn run(subject: &Subject) -> Result<(), Error> {
    tokio::try_join!(
        a_lease_ends_when_it_is_not_renewed(subject),
        a_renewed_lease_stays(subject),
        a_lease_may_end_early(subject),
        a_key_leaves_its_lease(subject),
        a_lock_is_ones(subject),
        a_lock_is_unsure_while_the_store_does_not_hear(subject),
    )
    .map(|_| ())
}

async fn grant(subject: &Subject, key: &str) -> Result<LeaseId, Error> {
    let lease = subject.store.grant(subject.ttl).await?;
    done(&subject.store, Txn::default().compare(Compare::Absent(key.into())).put_leased(key, "", lease))
        .await?;
    assert_eq!(there(&subject.store, key).await?.lease, Some(lease));
    Ok(lease)
}

/// Waits for a key to go; the time it took.
pub async fn gone(store: &Arc<dyn Store>, key: &str, within: Duration) -> Result<Duration, Error> {
    let start = Instant::now();
    while store.get(key).await?.is_some() {
        assert!(start.elapsed() < within, "{key} is still there after {within:?}");
        sleep(Duration::from_millis(20)).await;
    }
    Ok(start.elapsed())
}

async fn a_lease_ends_when_it_is_not_renewed(subject: &Subject) -> Result<(), Error> {
    let store = &subject.store;
    let lease = grant(subject, "/suite/lease/a").await?;
    done(store, Txn::default().put_leased("/suite/lease/b", "", lease)).await?;
    gone(store, "/suite/lease/a", subject.ttl + subject.late).await?;
    assert_eq!(store.get("/suite/lease/b").await?, None, "keys of one lease go together");
    assert_eq!(store.renew(lease).await, Err(Error::LeaseGone));
    let late = store.txn(Txn::default().put_leased("/suite/lease/a", "", lease)).await;
    assert_eq!(late, Err(Error::LeaseGone));
    assert_eq!(store.get("/suite/lease/a").await?, None, "a key on a lease that is gone would stay for ever");
    Ok(())
}

async fn a_renewed_lease_stays(subject: &Subject) -> Result<(), Error> {
    let lease = grant(subject, "/suite/lease/c").await?;
    for _ in 0..6 {
        sleep(subject.ttl / 3).await;
        subject.store.renew(lease).await?;
    }
    assert_eq!(there(&subject.store, "/suite/lease/c").await?.lease, Some(lease));
    subject.store.revoke(lease).await
}

async fn a_lease_may_end_early(subject: &Subject) -> Result<(), Error> {
    let store = &subject.store;
    let lease = grant(subject, "/suite/lease/d").await?;
    store.revoke(lease).await?;
    assert_eq!(store.get("/suite/lease/d").await?, None);
    assert_eq!(store.renew(lease).await, Err(Error::LeaseGone));
    // Its end does nothing to a key that another lease holds now.
    let other = grant(subject, "/suite/lease/d").await?;
    sleep(subject.ttl / 2).await;
    store.renew(other).await?;
    store.revoke(lease).await?;
    assert_eq!(there(store, "/suite/lease/d").await?.lease, Some(other));
    store.revoke(other).await
}

async fn a_key_leaves_its_lease(subject: &Subject) -> Result<(), Error> {
    let store = &subject.store;
    let lease = grant(subject, "/suite/lease/e").await?;
    done(store, Txn::default().put("/suite/lease/e", "free")).await?;
    store.revoke(lease).await?;
    assert_eq!(there(store, "/suite/lease/e").await?.lease, None);
    done(store, Txn::default().delete("/suite/lease/e")).await?;
    Ok(())
}

async fn a_lock_is_ones(subject: &Subject) -> Result<(), Error> {
    let (store, key) = (&subject.store, "/suite/lease/lock");
    let take = |name: &'static str, with| Lock::take(store, key.into(), name, subject.ttl, with);
    let beside = Compare::Absent("/suite/lease/beside".into());
    let with = Txn::default().compare(beside.clone()).put("/suite/lease/beside", "one");
    let first = take("one", with.clone()).await?.expect("it is free");
    assert_eq!(&there(store, "/suite/lease/beside").await?.value[..], b"one");
    assert!(take("two", Txn::default()).await?.is_none());
    assert!(timeout(subject.ttl * 2, first.lost()).await.is_err(), "it is not renewed");
    assert!(first.holds());
    let stale = first.guard();
    first.free().await;
    assert!(take("two", with).await?.is_none(), "a compare beside it does not hold");
    assert_eq!(store.get(key).await?, None);
    let second = take("two", Txn::default().delete("/suite/lease/beside")).await?.expect("it is free again");
    let late = store.txn(Txn::default().compare(stale).put("/suite/lease/beside", "late")).await?;
    assert!(matches!(late, crate::TxnOutcome::Conflict(_)), "a lock that was given up is obeyed");
    second.free().await;
    Ok(())
}

/// Whoever holds it stops in time.
async fn a_lock_is_unsure_while_the_store_does_not_hear(subject: &Subject) -> Result<(), Error> {
    let (unsure, key) = (Unsure::new(subject.store.clone(), []), "/suite/lease/unheard");
    let store: Arc<dyn Store> = unsure.clone();
    let lock = Lock::take(&store, key.into(), "", subject.ttl, Txn::default()).await?.expect("it is free");
    unsure.deafen(true);
    timeout(subject.ttl * 2, lock.lost()).await.expect("it notices");
    assert!(!lock.holds());
    unsure.deafen(false);
    gone(&store, key, subject.ttl + subject.late).await?;
    timeout(subject.ttl, lock.lost()).await.expect("it is lost for good");
    assert!(!lock.holds());
    Ok(())
}
