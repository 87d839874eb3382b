//! The store's content: what a transaction means. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use bytes::Bytes;

use crate::store::Page;
use crate::{Compare, Error, KeyValue, LeaseId, Op, Revision, Txn, TxnOutcome};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub value: Bytes,
    pub created: Revision,
    pub modified: Revision,
    pub version: i64,
    pub lease: Option<LeaseId>,
}

impl Record {
    pub fn named(&self, key: &str) -> KeyValue {
        KeyValue {
            key: key.to_owned(),
            value: self.value.clone(),
            created: self.created,
            modified: self.modified,
            version: self.version,
            lease: self.lease,
        }
    }
}

/// One change of one key, with all that it results in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    Put { key: String, record: Record },
    Delete { key: String, at: Revision },
}

impl Item {
    pub fn key(&self) -> &str {
        match self {
            Item::Put { key, .. } | Item::Delete { key, .. } => key,
        }
    }

    pub fn at(&self) -> Revision {
        match self {
            Item::Put { record, .. } => record.modified,
            Item::Delete { at, .. } => *at,
        }
    }
}

#[derive(Debug, Default)]
pub struct Tree {
    entries: BTreeMap<String, Record>,
    leased: BTreeMap<LeaseId, BTreeSet<String>>,
    revision: Revision,
}

impl Tree {
    pub fn at(revision: Revision) -> Tree {
        Tree { revision, ..Tree::default() }
    }

    pub fn revision(&self) -> Revision {
        self.revision
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn get(&self, key: &str) -> Option<&Record> {
        self.entries.get(key)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&String, &Record)> {
        self.entries.iter()
    }

    /// Keys on any lease.
    pub fn leased(&self) -> impl Iterator<Item = &String> {
        self.leased.values().flatten()
    }

    pub fn range(&self, prefix: &str, after: Option<&str>, limit: usize) -> Page {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let mut rest = self
            .entries
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, record)| record.named(key));
        let entries: Vec<KeyValue> = rest.by_ref().take(limit.max(1)).collect();
        let more = rest.next().is_some();
        Page { entries, more, revision: self.revision }
    }

    pub fn apply(&mut self, item: Item) {
        self.revision = self.revision.max(item.at());
        let (key, record) = match item {
            Item::Put { key, record } => (key, Some(record)),
            Item::Delete { key, .. } => (key, None),
        };
        if let Some(lease) = self.entries.get(&key).and_then(|old| old.lease)
            && let Some(keys) = self.leased.get_mut(&lease)
        {
            keys.remove(&key);
            if keys.is_empty() {
                self.leased.remove(&lease);
            }
        }
        match record {
            Some(record) => {
                if let Some(lease) = record.lease {
                    self.leased.entry(lease).or_default().insert(key.clone());
                }
                self.entries.insert(key, record);
            }
            None => {
                self.entries.remove(&key);
            }
        }
    }
}

/// Transactions that are decided, each on top of those before it, and not yet part of the tree.
pub struct Stage<'a> {
    tree: &'a Tree,
    changed: BTreeMap<String, Option<Record>>,
    items: Vec<Item>,
    revision: Revision,
}

impl<'a> Stage<'a> {
    pub fn on(tree: &'a Tree) -> Stage<'a> {
        Stage { tree, changed: BTreeMap::new(), items: Vec::new(), revision: tree.revision }
    }

    pub fn items(self) -> Vec<Item> {
        self.items
    }

    fn get(&self, key: &str) -> Option<&Record> {
        match self.changed.get(key) {
            Some(changed) => changed.as_ref(),
            None => self.tree.get(key),
        }
    }

    /// Decides one transaction. `alive` says whether a lease may be used.
    pub fn run(&mut self, txn: Txn, alive: impl Fn(LeaseId) -> bool) -> Result<TxnOutcome, Error> {
        let now: Vec<Option<KeyValue>> = txn
            .compares
            .iter()
            .map(|compare| self.get(compare.key()).map(|r| r.named(compare.key())))
            .collect();
        if !txn.compares.iter().zip(&now).all(|(compare, now): (&Compare, _)| compare.holds(now.as_ref())) {
            return Ok(TxnOutcome::Conflict(now));
        }
        let leases = txn.ops.iter().filter_map(|op| match op {
            Op::Put { lease, .. } => *lease,
            Op::Delete { .. } => None,
        });
        if !leases.into_iter().all(alive) {
            return Err(Error::LeaseGone);
        }
        let at = Revision(self.revision.0 + 1);
        for op in txn.ops {
            self.step(op, at);
        }
        Ok(TxnOutcome::Done(self.revision))
    }

    /// Deletes what hangs on a lease, as one transaction.
    pub fn end_lease(&mut self, lease: LeaseId) {
        let held = |record: Option<&Record>| record.is_some_and(|record| record.lease == Some(lease));
        let mut keys: BTreeSet<String> = self.tree.leased.get(&lease).cloned().unwrap_or_default();
        keys.retain(|key| held(self.get(key)));
        keys.extend(
            self.changed.iter().filter(|(_, record)| held(record.as_ref())).map(|(key, _)| key.clone()),
        );
        let at = Revision(self.revision.0 + 1);
        for key in keys {
            self.step(Op::Delete { key }, at);
        }
    }

    fn step(&mut self, op: Op, at: Revision) {
        let item = match op {
            Op::Put { key, value, lease } => {
                let (created, version) = self.get(&key).map_or((at, 1), |old| (old.created, old.version + 1));
                Item::Put { key, record: Record { value, created, modified: at, version, lease } }
            }
            // What is not there is not deleted: no change, no revision.
            Op::Delete { key } if self.get(&key).is_none() => return,
            Op::Delete { key } => Item::Delete { key, at },
        };
        let record = match &item {
            Item::Put { record, .. } => Some(record.clone()),
            Item::Delete { .. } => None,
        };
        self.changed.insert(item.key().to_owned(), record);
        self.items.push(item);
        self.revision = at;
    }
}
