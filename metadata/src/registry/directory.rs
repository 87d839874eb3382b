//! The list of bookies, kept current: for placement, and for whoever dials them.

use std::sync::Arc;
use std::time::Duration;

use protocol::BookieId;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::{BookieInfo, Standing, bookies};
use crate::store::Change;
use crate::{Error, Revision, Scope, Store};

/// Watches are hints: the whole list is read again this often, whatever they said.
const RESYNC: Duration = Duration::from_secs(30);
/// Changes within this time are read together.
const GATHER: Duration = Duration::from_millis(20);
const RETRY: Duration = Duration::from_secs(1);

/// A list of bookies that follows the store. Clones share it.
#[derive(Clone)]
pub struct Directory {
    current: watch::Receiver<Arc<Vec<BookieInfo>>>,
    _task: Arc<Following>,
}

struct Following(tokio::task::JoinHandle<()>);

impl Drop for Following {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Reads the list, and follows it until the last clone of the directory is dropped.
pub async fn follow(store: Arc<dyn Store>, scope: Scope) -> Result<Directory, Error> {
    let (list, at) = read(&*store, &scope).await?;
    let (sender, current) = watch::channel(Arc::new(list));
    let task = tokio::spawn(keep_current(store, scope, sender, at));
    Ok(Directory { current, _task: Arc::new(Following(task)) })
}

impl Directory {
    /// All bookies that are known, by id; absent ones too.
    pub fn bookies(&self) -> Arc<Vec<BookieInfo>> {
        self.current.borrow().clone()
    }

    /// Those that a new ledger may name.
    pub fn writable(&self) -> Vec<BookieInfo> {
        self.bookies().iter().filter(|info| info.takes_ledgers()).cloned().collect()
    }

    pub fn find(&self, bookie: &BookieId) -> Option<BookieInfo> {
        self.bookies().iter().find(|info| info.id == *bookie).cloned()
    }

    /// Where to dial a bookie; one that published nothing is dialled by its id.
    pub fn address(&self, bookie: &BookieId) -> String {
        self.find(bookie).map_or_else(|| bookie.to_string(), |info| info.address)
    }

    pub fn is_here(&self, bookie: &BookieId) -> bool {
        self.find(bookie).is_some_and(|info| info.standing != Standing::Absent)
    }

    /// Waits until the list is another than at the last call (of this clone).
    pub async fn changed(&mut self) {
        if self.current.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

async fn read(store: &dyn Store, scope: &Scope) -> Result<(Vec<BookieInfo>, Revision), Error> {
    // The revision from before the reads: the watch then repeats rather than misses.
    let at = store.range(&scope.key("bookies/"), None, 1).await?.revision;
    Ok((bookies(store, scope).await?, at))
}

async fn keep_current(
    store: Arc<dyn Store>,
    scope: Scope,
    sender: watch::Sender<Arc<Vec<BookieInfo>>>,
    mut at: Revision,
) {
    loop {
        wait_for_change(&*store, &scope, at).await;
        match read(&*store, &scope).await {
            Ok((list, revision)) => {
                at = revision;
                sender.send_if_modified(|current| {
                    let other = **current != list;
                    if other {
                        *current = Arc::new(list);
                    }
                    other
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the list of bookies cannot be read; going on with the last one");
                sleep(RETRY).await;
            }
        }
    }
}

/// Returns when something may have changed after `at`: at the latest after [`RESYNC`].
async fn wait_for_change(store: &dyn Store, scope: &Scope, at: Revision) {
    let changed = async {
        let (registered, published) = (scope.key("bookies/"), scope.key("strata/bookies/"));
        let (Ok(mut registered), Ok(mut published)) =
            (store.watch(&registered, at).await, store.watch(&published, at).await)
        else {
            return sleep(RETRY).await;
        };
        let change = tokio::select! {
            biased;
            change = registered.next() => change,
            change = published.next() => change,
        };
        // A watch that is lost at once, again and again, must not become a loop of reads.
        sleep(if change == Change::Lost { RETRY } else { GATHER }).await;
    };
    let _ = timeout(RESYNC, changed).await;
}
