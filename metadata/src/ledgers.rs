//! Ledger metadata: made, read, changed by compare-and-swap, deleted, listed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use protocol::LedgerId;

use crate::schema::BUCKETS;
use crate::settle::commit;
use crate::store::Page;
use crate::{Compare, Error, KeyValue, LedgerMetadata, Revision, Scope, Store, Txn, TxnOutcome};

/// A ledger's metadata as it is stored now. `version` is what the next change compares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub id: LedgerId,
    pub metadata: LedgerMetadata,
    pub version: Revision,
}

/// What became of one compare-and-swap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Swapped {
    Done(Stored),
    /// Another change came first; what is there now, `None` once it is deleted.
    Conflict(Option<Stored>),
}

/// What became of an [`Ledgers::update`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Updated {
    Done(Stored),
    /// `change` declined what it found.
    Declined(Stored),
    Deleted,
}

/// A piece of the list of all ledgers: continue after the last id while `more`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerPage {
    pub ledgers: Vec<Stored>,
    /// Ids whose metadata cannot be read, and why: they exist.
    pub unreadable: Vec<(LedgerId, Error)>,
    pub after: Option<LedgerId>,
    pub more: bool,
}

/// An id for a new ledger. The transaction that stores the ledger takes the id too: a copy of it that was delayed on
/// its way then finds the bucket changed, and cannot bring a ledger back that was deleted in between.
#[derive(Clone, Debug)]
pub struct Reserved {
    pub id: LedgerId,
    bucket: String,
    compare: Compare,
}

impl Reserved {
    pub fn take(&self, txn: Txn) -> Txn {
        txn.compare(self.compare.clone()).put(&self.bucket, "")
    }
}

/// Access to all ledgers of one cluster.
#[derive(Clone)]
pub struct Ledgers {
    store: Arc<dyn Store>,
    scope: Scope,
    /// Grows by one with each allocated id: the bucket to draw from next.
    next_bucket: Arc<AtomicU64>,
}

impl Ledgers {
    /// `seed` chooses the first bucket of ids; any random number.
    pub fn new(store: Arc<dyn Store>, scope: Scope, seed: u64) -> Ledgers {
        Ledgers { store, scope, next_bucket: Arc::new(AtomicU64::new(seed % u64::from(BUCKETS))) }
    }

    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// An id that nobody else has or will get: bucket and the version of the bucket's key. It is taken by a
    /// transaction with [`Reserved::take`], and by that alone.
    pub async fn reserve(&self) -> Result<Reserved, Error> {
        loop {
            let bucket = (self.next_bucket.fetch_add(1, Ordering::Relaxed) % u64::from(BUCKETS)) as u8;
            let key = self.scope.bucket(bucket);
            let now = self.store.get(&key).await?;
            let version = now.as_ref().map_or(0, |now| now.version) + 1;
            if version >> 56 != 0 {
                continue;
            }
            let compare = match now {
                Some(now) => Compare::Unchanged(key.clone(), now.modified),
                None => Compare::Absent(key.clone()),
            };
            return Ok(Reserved { id: LedgerId(i64::from(bucket) << 56 | version), bucket: key, compare });
        }
    }

    /// Takes an id without storing a ledger under it.
    pub async fn allocate(&self) -> Result<LedgerId, Error> {
        loop {
            let reserved = self.reserve().await?;
            match self.store.txn(reserved.take(Txn::default())).await {
                Ok(TxnOutcome::Done(_)) => return Ok(reserved.id),
                // Whoever it was that changed the bucket, this number may be taken: draw from the next one.
                Ok(TxnOutcome::Conflict(_)) | Err(Error::Ambiguous(_)) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Stores a new ledger under an id of its own. `metadata.token` MUST be random: it tells, when the store does not
    /// say whether it was created, who created it.
    pub async fn create(&self, metadata: LedgerMetadata) -> Result<Stored, Error> {
        loop {
            let reserved = self.reserve().await?;
            let (id, key) = (reserved.id, self.scope.ledger(reserved.id));
            let txn = reserved.take(Txn::default()).compare(Compare::Absent(key.clone()));
            match commit(&*self.store, txn.put(key, metadata.encode())).await? {
                TxnOutcome::Done(version) => return Ok(Stored { id, metadata, version }),
                TxnOutcome::Conflict(_) => {}
            }
        }
    }

    /// Stores a new ledger under an id from [`Ledgers::allocate`], or one of the caller's own.
    pub async fn create_as(&self, id: LedgerId, metadata: LedgerMetadata) -> Result<Swapped, Error> {
        self.swap(Compare::Absent(self.scope.ledger(id)), id, metadata, Vec::new()).await
    }

    pub async fn read(&self, id: LedgerId) -> Result<Option<Stored>, Error> {
        self.stored(id, self.store.get(&self.scope.ledger(id)).await?)
    }

    /// One compare-and-swap: from `version` to `metadata`.
    pub async fn replace(
        &self,
        id: LedgerId,
        version: Revision,
        metadata: LedgerMetadata,
    ) -> Result<Swapped, Error> {
        self.swap(Compare::Unchanged(self.scope.ledger(id), version), id, metadata, Vec::new()).await
    }

    /// As [`Ledgers::replace`], if `guards` hold too. A conflict may come from a guard: then what is returned is what
    /// was expected.
    pub async fn replace_guarded(
        &self,
        id: LedgerId,
        version: Revision,
        metadata: LedgerMetadata,
        guards: Vec<Compare>,
    ) -> Result<Swapped, Error> {
        self.swap(Compare::Unchanged(self.scope.ledger(id), version), id, metadata, guards).await
    }

    /// Changes a ledger until it works: `change` sees what is stored, again after every conflict, and returns what it
    /// should become, or `None` to decline.
    pub async fn update(
        &self,
        id: LedgerId,
        mut change: impl FnMut(&LedgerMetadata) -> Option<LedgerMetadata>,
    ) -> Result<Updated, Error> {
        let mut now = self.read(id).await?;
        loop {
            let Some(found) = now else { return Ok(Updated::Deleted) };
            let Some(wanted) = change(&found.metadata) else { return Ok(Updated::Declined(found)) };
            if wanted == found.metadata {
                return Ok(Updated::Done(found));
            }
            match self.replace(id, found.version, wanted).await? {
                Swapped::Done(stored) => return Ok(Updated::Done(stored)),
                Swapped::Conflict(other) => now = other,
            }
        }
    }

    /// Deletes a ledger, if it is still at `version` where one is given. True if it is gone, whoever deleted it.
    pub async fn delete(&self, id: LedgerId, version: Option<Revision>) -> Result<bool, Error> {
        let key = self.scope.ledger(id);
        loop {
            let Some(now) = self.store.get(&key).await? else { return Ok(true) };
            if version.is_some_and(|version| version != now.modified) {
                return Ok(false);
            }
            let txn = Txn::default().compare(Compare::Unchanged(key.clone(), now.modified)).delete(&key);
            match commit(&*self.store, txn).await? {
                TxnOutcome::Done(_) => return Ok(true),
                TxnOutcome::Conflict(_) => {}
            }
        }
    }

    /// Ledgers in ascending order of ids, beginning after `after`; at most `limit`.
    pub async fn list(&self, after: Option<LedgerId>, limit: usize) -> Result<LedgerPage, Error> {
        let mut cursor = after.map(|id| self.scope.ledger(id));
        let prefix = self.scope.key("ledgers/");
        loop {
            let Page { entries, more, .. } = self.store.range(&prefix, cursor.as_deref(), limit).await?;
            let mut page = LedgerPage { more, after, ..LedgerPage::default() };
            for found in entries {
                if let Some(id) = self.scope.ledger_of(&found.key) {
                    page.after = Some(id);
                    match LedgerMetadata::decode(id, &found.value) {
                        Ok(metadata) => page.ledgers.push(Stored { id, metadata, version: found.modified }),
                        Err(error) => page.unreadable.push((id, error)),
                    }
                }
                cursor = Some(found.key);
            }
            // A page of nothing but foreign keys is no page: the caller could not tell where to go on.
            if page.after != after || !more {
                return Ok(page);
            }
        }
    }

    /// Reads what a key of a ledger holds.
    pub fn stored(&self, id: LedgerId, found: Option<KeyValue>) -> Result<Option<Stored>, Error> {
        let Some(found) = found else { return Ok(None) };
        let metadata = LedgerMetadata::decode(id, &found.value)?;
        Ok(Some(Stored { id, metadata, version: found.modified }))
    }

    async fn swap(
        &self,
        compare: Compare,
        id: LedgerId,
        metadata: LedgerMetadata,
        guards: Vec<Compare>,
    ) -> Result<Swapped, Error> {
        let txn = Txn { compares: guards, ..Txn::default() };
        let txn = txn.compare(compare).put(self.scope.ledger(id), metadata.encode());
        match commit(&*self.store, txn).await? {
            TxnOutcome::Done(version) => Ok(Swapped::Done(Stored { id, metadata, version })),
            // The ledger was compared last.
            TxnOutcome::Conflict(mut now) => Ok(Swapped::Conflict(self.stored(id, now.pop().flatten())?)),
        }
    }
}
