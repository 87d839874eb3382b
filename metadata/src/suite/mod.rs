//! What every store must do, whatever it is made of. Run on each implementation; panics where one does not.

mod leases;
mod unsure;
mod uses;
mod watches;

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::store::MAX_OPS;
use crate::{Compare, Error, KeyValue, Store, Txn, TxnOutcome};

pub use unsure::{Mood, Unsure};

/// A store, and what the suite needs to know of it.
pub struct Subject {
    pub store: Arc<dyn Store>,
    /// The shortest lease it is asked for, and how long after its end its keys may still be there.
    pub ttl: Duration,
    pub late: Duration,
    /// Makes it forget its history.
    pub compact: Box<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>,
}

/// Everything. The store must have no keys that begin with `/suite`.
pub async fn run(subject: &Subject) -> Result<(), Error> {
    a_key_has_revisions(&subject.store).await?;
    a_transaction_is_all_or_nothing(&subject.store).await?;
    a_race_has_one_winner(&subject.store).await?;
    a_long_range_comes_in_pages(&subject.store).await?;
    an_impossible_transaction_is_refused(&subject.store).await?;
    leases::run(subject).await?;
    watches::run(subject).await?;
    unsure::run(&subject.store).await?;
    uses::run(subject).await
}

/// Runs a transaction that must succeed.
async fn done(store: &Arc<dyn Store>, txn: Txn) -> Result<crate::Revision, Error> {
    match store.txn(txn).await? {
        TxnOutcome::Done(at) => Ok(at),
        TxnOutcome::Conflict(now) => panic!("conflicts with {now:?}"),
    }
}

async fn there(store: &Arc<dyn Store>, key: &str) -> Result<KeyValue, Error> {
    Ok(store.get(key).await?.unwrap_or_else(|| panic!("{key} is not there")))
}

async fn a_key_has_revisions(store: &Arc<dyn Store>) -> Result<(), Error> {
    let key = "/suite/key";
    assert_eq!(store.get(key).await?, None);
    let first = done(store, Txn::default().compare(Compare::Absent(key.into())).put(key, "1")).await?;
    let second =
        done(store, Txn::default().compare(Compare::Unchanged(key.into(), first)).put(key, "2")).await?;
    assert!(second > first);
    let now = there(store, key).await?;
    assert_eq!((now.created, now.modified, now.version, &now.value[..]), (first, second, 2, &b"2"[..]));
    let third = done(store, Txn::default().delete(key)).await?;
    assert!(third > second);
    assert_eq!(store.get(key).await?, None);
    let again = done(store, Txn::default().put(key, "")).await?;
    let now = there(store, key).await?;
    assert_eq!((now.created, now.modified, now.version, now.value.len()), (again, again, 1, 0));
    done(store, Txn::default().delete(key)).await?;
    done(store, Txn::default().delete(key)).await?;
    Ok(())
}

async fn a_transaction_is_all_or_nothing(store: &Arc<dyn Store>) -> Result<(), Error> {
    let [a, b, c] = ["/suite/txn/a", "/suite/txn/b", "/suite/txn/c"];
    let at = done(store, Txn::default().put(a, "a").put(b, "b")).await?;
    assert_eq!((there(store, a).await?.modified, there(store, b).await?.modified), (at, at));
    let (absent, old) = (Compare::Absent(c.into()), Compare::Unchanged(b.into(), crate::Revision(at.0 - 1)));
    let txn = Txn::default().compare(absent).compare(old).put(a, "x").put(c, "x").delete(b);
    match store.txn(txn).await? {
        TxnOutcome::Done(_) => panic!("a compare that does not hold was ignored"),
        TxnOutcome::Conflict(now) => assert_eq!(now, [None, store.get(b).await?]),
    }
    assert_eq!(&there(store, a).await?.value[..], b"a");
    assert_eq!(store.get(c).await?, None);
    let txn = Txn::default().compare(Compare::Unchanged(a.into(), at)).delete(a).put(c, "c");
    let at = done(store, txn).await?;
    assert_eq!((store.get(a).await?, there(store, c).await?.created), (None, at));
    // A compare of what is absent with a revision never holds.
    let gone = Txn::default().compare(Compare::Unchanged(a.into(), at)).put(a, "x");
    assert_eq!(store.txn(gone).await?, TxnOutcome::Conflict(vec![None]));
    Ok(())
}

/// Tasks that all increase one number: none is lost.
async fn a_race_has_one_winner(store: &Arc<dyn Store>) -> Result<(), Error> {
    const TASKS: usize = 8;
    const TIMES: usize = 15;
    let key = "/suite/counter";
    done(store, Txn::default().put(key, "0")).await?;
    let add = |store: Arc<dyn Store>| async move {
        for _ in 0..TIMES {
            loop {
                let now = there(&store, key).await?;
                let number: usize = String::from_utf8_lossy(&now.value).parse().unwrap_or(0);
                let compare = Compare::Unchanged(key.into(), now.modified);
                let txn = Txn::default().compare(compare).put(key, (number + 1).to_string());
                if let TxnOutcome::Done(_) = store.txn(txn).await? {
                    break;
                }
            }
        }
        Ok::<(), Error>(())
    };
    let tasks: Vec<_> = (0..TASKS).map(|_| tokio::spawn(add(store.clone()))).collect();
    for task in tasks {
        task.await.expect("a task of the suite ends")?;
    }
    let now = there(store, key).await?;
    assert_eq!(
        (&now.value[..], now.version),
        ((TASKS * TIMES).to_string().as_bytes(), (TASKS * TIMES) as i64 + 1)
    );
    Ok(())
}

async fn a_long_range_comes_in_pages(store: &Arc<dyn Store>) -> Result<(), Error> {
    const KEYS: usize = 5_000;
    let key = |n: usize| format!("/suite/range/{n:06}");
    for first in (0..KEYS).step_by(100) {
        let txn = (first..first + 100).fold(Txn::default(), |txn, n| txn.put(key(n), n.to_string()));
        done(store, txn).await?;
    }
    // Neighbours of the prefix on both sides.
    done(store, Txn::default().put("/suite/range.", "").put("/suite/range0", "")).await?;
    let mut seen = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = store.range("/suite/range/", after.as_deref(), 700).await?;
        assert!(page.entries.len() <= 700 && !(page.more && page.entries.is_empty()));
        after = page.entries.last().map(|last| last.key.clone()).or(after);
        seen.extend(page.entries.into_iter().map(|entry| entry.key));
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, (0..KEYS).map(key).collect::<Vec<_>>());
    let rest = store.range("/suite/range/", Some(&key(KEYS - 2)), 10).await?;
    assert_eq!((rest.entries.len(), rest.more), (1, false));
    let none = store.range("/suite/range/", Some(&key(KEYS - 1)), 10).await?;
    assert_eq!((none.entries.len(), none.more), (0, false));
    let exact = store.range("/suite/range/", Some(&key(KEYS - 11)), 10).await?;
    assert_eq!((exact.entries.len(), exact.more), (10, false));
    let keys: BTreeSet<usize> = (0..KEYS).step_by(2).collect();
    for few in keys.iter().collect::<Vec<_>>().chunks(MAX_OPS) {
        done(store, few.iter().fold(Txn::default(), |txn, n| txn.delete(key(**n)))).await?;
    }
    let left = store.range("/suite/range/", None, 3).await?;
    assert_eq!(left.entries.iter().map(|entry| &entry.key).collect::<Vec<_>>(), [&key(1), &key(3), &key(5)]);
    Ok(())
}

async fn an_impossible_transaction_is_refused(store: &Arc<dyn Store>) -> Result<(), Error> {
    let many = (0..=MAX_OPS).fold(Txn::default(), |txn, n| txn.put(format!("/suite/many/{n}"), ""));
    assert!(matches!(store.txn(many).await, Err(Error::Invalid(_))));
    let twice = Txn::default().put("/suite/twice", "1").delete("/suite/twice");
    assert!(matches!(store.txn(twice).await, Err(Error::Invalid(_))));
    let large = Txn::default().put("/suite/large", vec![0; 2 << 20]);
    assert!(matches!(store.txn(large).await, Err(Error::Invalid(_))));
    for key in ["/suite/many/0", "/suite/twice", "/suite/large"] {
        assert_eq!(store.get(key).await?, None);
    }
    Ok(())
}
