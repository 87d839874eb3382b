//! What watches are told: a bounded history of changes, and cursors into it.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::tree::Item;
use crate::Revision;
use crate::store::{Change, Watch};

/// Bytes of values that the history may keep alive.
const MOST_BYTES: usize = 32 << 20;

#[derive(Clone)]
pub struct History(Arc<Shared>);

struct Shared {
    past: Mutex<Past>,
    /// Wakes watches, in the order in which they began to wait.
    told: Notify,
    most: usize,
}

struct Past {
    changes: VecDeque<Item>,
    /// The number of the first one kept.
    first: u64,
    bytes: usize,
    /// All changes after this revision are kept.
    complete_after: Revision,
    closed: bool,
}

fn weight(item: &Item) -> usize {
    match item {
        Item::Put { key, record } => key.len() + record.value.len(),
        Item::Delete { key, .. } => key.len(),
    }
}

impl History {
    pub fn new(from: Revision, most: usize) -> History {
        let past = Past { changes: VecDeque::new(), first: 0, bytes: 0, complete_after: from, closed: false };
        History(Arc::new(Shared { past: Mutex::new(past), told: Notify::new(), most }))
    }

    pub fn add(&self, items: Vec<Item>) {
        let mut past = self.0.past.lock();
        for item in items {
            past.bytes += weight(&item);
            past.changes.push_back(item);
        }
        while past.changes.len() > self.0.most || past.bytes > MOST_BYTES {
            past.drop_first();
        }
        drop(past);
        self.0.told.notify_waiters();
    }

    pub fn forget(&self) {
        let mut past = self.0.past.lock();
        while !past.changes.is_empty() {
            past.drop_first();
        }
    }

    /// Ends all watches.
    pub fn close(&self) {
        self.0.past.lock().closed = true;
        self.0.told.notify_waiters();
    }

    pub fn watch(&self, prefix: &str, from: Revision) -> Box<dyn Watch> {
        let past = self.0.past.lock();
        let behind = past.changes.iter().take_while(|item| item.at() <= from).count();
        Box::new(Cursor {
            history: self.0.clone(),
            prefix: prefix.to_owned(),
            next: past.first + behind as u64,
            lost: from < past.complete_after,
        })
    }
}

impl Past {
    fn drop_first(&mut self) {
        if let Some(item) = self.changes.pop_front() {
            self.bytes -= weight(&item);
            self.first += 1;
            self.complete_after = item.at();
        }
    }
}

struct Cursor {
    history: Arc<Shared>,
    prefix: String,
    next: u64,
    lost: bool,
}

impl Cursor {
    async fn advance(&mut self) -> Change {
        let history = self.history.clone();
        loop {
            let mut told = pin!(history.told.notified());
            told.as_mut().enable();
            if let Some(change) = self.take() {
                return change;
            }
            told.await;
        }
    }

    fn take(&mut self) -> Option<Change> {
        let past = self.history.past.lock();
        self.lost |= past.closed || self.next < past.first;
        if self.lost {
            return Some(Change::Lost);
        }
        loop {
            let item = past.changes.get((self.next - past.first) as usize)?;
            self.next += 1;
            if item.key().starts_with(&self.prefix) {
                return Some(match item {
                    Item::Put { key, record } => Change::Put(record.named(key)),
                    Item::Delete { key, at } => Change::Deleted { key: key.clone(), at: *at },
                });
            }
        }
    }
}

impl Watch for Cursor {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Change> + Send + '_>> {
        Box::pin(self.advance())
    }
}
