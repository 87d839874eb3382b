//! The store in one folder: for a cluster that is one process, and for simulations.
//!
//! One driver decides transactions in groups: stage all that wait, append, sync, publish, answer, in that order. After
//! a failed write or sync nothing more is answered but [`Error::Unavailable`]: the process must start again.
//!
//! Leases live in memory. Whoever held one lived in the process that served it, so a restart ends them all, and their
//! keys are gone when the store opens. Watches see changes since the start, as far back as a bounded history reaches.

mod driver;
mod folder;
pub mod format;
mod journal;
mod leases;
#[cfg(test)]
mod tests;
mod tree;
mod watching;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use disk::Disk;
use parking_lot::RwLock;
use tokio::sync::oneshot;
use tokio::time::timeout;

use self::driver::{Driver, Queue, Waiting};
use self::leases::Leases;
use self::tree::Tree;
use self::watching::History;
use crate::store::{Doing, Page, Watch};
use crate::{Error, KeyValue, LeaseId, Revision, Store, Txn, TxnOutcome};

pub use folder::open_folder;

/// A disk that does not come back for so long is broken.
const DEADLINE: Duration = Duration::from_secs(30);

/// How much of everything. The default serves a cluster of one process; simulations want less.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Bytes of log before a new file is begun; more if the snapshot is larger.
    pub log: u64,
    /// Changes that watches may lag behind.
    pub history: usize,
}

impl Default for Sizes {
    fn default() -> Sizes {
        Sizes { log: 8 << 20, history: 16 << 10 }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the metadata folder cannot be read or written: {0}")]
    Io(#[from] io::Error),
    #[error("there is no room for the metadata store: {0}")]
    NoRoom(io::Error),
    #[error("another process has the metadata folder {0} open: stop it first, or use a folder of your own")]
    InUse(String),
    #[error(
        "metadata file {file} is damaged at byte {at}, in what had been acknowledged. Nothing was changed. Restore the \
         folder from a copy, or begin with an empty one: the data folders of bookies then need new cookies"
    )]
    Damaged { file: String, at: u64 },
    #[error("metadata file {file} cannot be read: {why}")]
    Unknown { file: String, why: String },
}

/// A durable store in one process. Dropping it stops its driver, as the end of the process would.
pub struct Embedded {
    shared: Arc<Shared>,
    driver: parking_lot::Mutex<Option<tokio::task::AbortHandle>>,
}

/// What callers and the driver share.
struct Shared {
    tree: RwLock<Tree>,
    queue: Queue,
    leases: Leases,
    history: History,
}

impl Embedded {
    /// Opens the store on `disk`. It works once [`Driver::run`] is polled, which ends when the store is dropped.
    pub fn new(disk: Arc<dyn Disk>, sizes: Sizes) -> Result<(Arc<Embedded>, Driver), OpenError> {
        let (journal, tree) = journal::Journal::open(disk, sizes)?;
        let history = History::new(tree.revision(), sizes.history);
        let leases = Leases::new(journal.generation());
        let shared = Arc::new(Shared { tree: RwLock::new(tree), queue: Queue::default(), leases, history });
        let driver = Driver::new(shared.clone(), journal);
        Ok((Arc::new(Embedded { shared, driver: parking_lot::Mutex::default() }), driver))
    }

    /// Opens the store on `disk` and runs it on the current runtime.
    pub fn open(disk: Arc<dyn Disk>, sizes: Sizes) -> Result<Arc<Embedded>, OpenError> {
        let (store, driver) = Embedded::new(disk, sizes)?;
        *store.driver.lock() = Some(tokio::spawn(driver.run()).abort_handle());
        Ok(store)
    }

    /// Forgets the changes up to now, as etcd's compaction does: watches that lag behind are told that they lost some.
    pub fn forget_history(&self) {
        self.shared.history.forget();
    }

    fn read<T>(&self, read: impl FnOnce(&Tree) -> T) -> Result<T, Error> {
        self.shared.queue.alive()?;
        Ok(read(&self.shared.tree.read()))
    }

    async fn ask<T>(
        &self,
        ask: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Waiting,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.shared.queue.push(ask(reply))?;
        match timeout(DEADLINE, answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(Error::Ambiguous("the metadata store stopped".into())),
            Err(_) => Err(Error::Ambiguous("the metadata store's disk does not answer".into())),
        }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        if let Some(driver) = self.driver.lock().take() {
            driver.abort();
        }
        self.shared.queue.close("the metadata store is closed");
        self.shared.history.close();
    }
}

impl Store for Embedded {
    fn get<'a>(&'a self, key: &'a str) -> Doing<'a, Option<KeyValue>> {
        Box::pin(async move { self.read(|tree| tree.get(key).map(|record| record.named(key))) })
    }

    fn range<'a>(&'a self, prefix: &'a str, after: Option<&'a str>, limit: usize) -> Doing<'a, Page> {
        Box::pin(async move { self.read(|tree| tree.range(prefix, after, limit)) })
    }

    fn txn(&self, txn: Txn) -> Doing<'_, TxnOutcome> {
        Box::pin(async move {
            txn.check()?;
            self.ask(|reply| Waiting::Txn { txn, reply }).await
        })
    }

    fn grant(&self, ttl: Duration) -> Doing<'_, LeaseId> {
        Box::pin(async move {
            self.shared.queue.alive()?;
            let lease = self.shared.leases.grant(ttl);
            self.shared.queue.wake();
            Ok(lease)
        })
    }

    fn renew(&self, lease: LeaseId) -> Doing<'_, ()> {
        Box::pin(async move {
            self.shared.queue.alive()?;
            self.shared.leases.renew(lease)
        })
    }

    fn revoke(&self, lease: LeaseId) -> Doing<'_, ()> {
        Box::pin(self.ask(move |reply| Waiting::Revoke { lease, reply }))
    }

    fn watch<'a>(&'a self, prefix: &'a str, from: Revision) -> Doing<'a, Box<dyn Watch>> {
        Box::pin(async move {
            self.shared.queue.alive()?;
            Ok(self.shared.history.watch(prefix, from))
        })
    }
}
