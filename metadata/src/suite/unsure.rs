//! Outcomes that are not told: a store in front of the real one that is unsure at will, and what must hold then.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::{done, there};
use crate::store::{Doing, Page, Watch};
use crate::{Compare, Error, KeyValue, LeaseId, Revision, Store, Txn, TxnOutcome, commit};

/// What happens to one transaction.
#[derive(Clone, Debug)]
pub enum Mood {
    /// It happens; its outcome is not told.
    Silent,
    /// It does not happen; that is not told either.
    Dropped,
    /// It happens, is not told, and then another one happens.
    Overtaken(Txn),
    /// It does not happen, and another one does.
    Beaten(Txn),
}

/// A store whose transactions have moods; after the last mood it is as good as the one behind it.
pub struct Unsure {
    store: Arc<dyn Store>,
    moods: Mutex<VecDeque<Mood>>,
    deaf: AtomicBool,
}

impl Unsure {
    pub fn new(store: Arc<dyn Store>, moods: impl IntoIterator<Item = Mood>) -> Arc<Unsure> {
        let moods = Mutex::new(moods.into_iter().collect());
        Arc::new(Unsure { store, moods, deaf: AtomicBool::new(false) })
    }

    /// Whether renewals go unheard.
    pub fn deafen(&self, deaf: bool) {
        self.deaf.store(deaf, Ordering::Relaxed);
    }

    async fn moody(&self, txn: Txn) -> Result<TxnOutcome, Error> {
        let mood = self.moods.lock().pop_front();
        match mood {
            None => return self.store.txn(txn).await,
            Some(Mood::Silent) => drop(self.store.txn(txn).await?),
            Some(Mood::Dropped) => {}
            Some(Mood::Overtaken(other)) => {
                self.store.txn(txn).await?;
                self.store.txn(other).await?;
            }
            Some(Mood::Beaten(other)) => drop(self.store.txn(other).await?),
        }
        Err(Error::Ambiguous("it is unsure".into()))
    }
}

impl Store for Unsure {
    fn get<'a>(&'a self, key: &'a str) -> Doing<'a, Option<KeyValue>> {
        self.store.get(key)
    }

    fn range<'a>(&'a self, prefix: &'a str, after: Option<&'a str>, limit: usize) -> Doing<'a, Page> {
        self.store.range(prefix, after, limit)
    }

    fn txn(&self, txn: Txn) -> Doing<'_, TxnOutcome> {
        Box::pin(self.moody(txn))
    }

    fn grant(&self, ttl: Duration) -> Doing<'_, LeaseId> {
        self.store.grant(ttl)
    }

    fn renew(&self, lease: LeaseId) -> Doing<'_, ()> {
        match self.deaf.load(Ordering::Relaxed) {
            true => Box::pin(async { Err(Error::Unavailable("it is deaf".into())) }),
            false => self.store.renew(lease),
        }
    }

    fn revoke(&self, lease: LeaseId) -> Doing<'_, ()> {
        self.store.revoke(lease)
    }

    fn watch<'a>(&'a self, prefix: &'a str, from: Revision) -> Doing<'a, Box<dyn Watch>> {
        self.store.watch(prefix, from)
    }
}

/// An ambiguous outcome is settled to what really happened, and nothing happens twice.
pub async fn run(store: &Arc<dyn Store>) -> Result<(), Error> {
    let key = "/suite/unsure";
    let other = || Txn::default().put(key, "other");
    let cases: [(Vec<Mood>, bool, &str); 6] = [
        (vec![Mood::Silent], true, "mine"),
        (vec![Mood::Dropped], true, "mine"),
        (vec![Mood::Dropped, Mood::Silent], true, "mine"),
        (vec![Mood::Silent, Mood::Dropped, Mood::Dropped], true, "mine"),
        (vec![Mood::Beaten(other())], false, "other"),
        // It happened, but what it wrote is no longer there: a conflict, for the caller to look at.
        (vec![Mood::Overtaken(other())], false, "other"),
    ];
    for (moods, mine, value) in cases {
        let named = format!("{moods:?}");
        let at = done(store, Txn::default().put(key, "before")).await?;
        let version = there(store, key).await?.version;
        let txn = Txn::default().compare(Compare::Unchanged(key.into(), at)).put(key, "mine");
        let overtaken = matches!(moods.first(), Some(Mood::Overtaken(_)));
        let outcome = commit(&*Unsure::new(store.clone(), moods), txn).await?;
        let now = there(store, key).await?;
        match outcome {
            TxnOutcome::Done(at) => assert_eq!((mine, now.modified), (true, at), "{named}"),
            TxnOutcome::Conflict(found) => {
                assert_eq!((mine, found), (false, vec![Some(now.clone())]), "{named}")
            }
        }
        assert_eq!(&now.value[..], value.as_bytes(), "{named}");
        assert_eq!(now.version, version + 1 + i64::from(overtaken), "{named}");
    }
    a_deletion_is_settled(store, key).await
}

async fn a_deletion_is_settled(store: &Arc<dyn Store>, key: &str) -> Result<(), Error> {
    for mood in [Mood::Silent, Mood::Dropped] {
        let at = done(store, Txn::default().put(key, "")).await?;
        let txn = Txn::default().compare(Compare::Unchanged(key.into(), at)).delete(key);
        let outcome = commit(&*Unsure::new(store.clone(), [mood]), txn).await?;
        assert!(matches!(outcome, TxnOutcome::Done(_)));
        assert_eq!(store.get(key).await?, None);
    }
    Ok(())
}
