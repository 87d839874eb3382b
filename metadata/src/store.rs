//! What the rest of StrataMQ asks of a metadata store: etcd's model, cut down to what is used.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

/// The store's clock: grows by at least one with every change of anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub i64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub i64);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    pub key: String,
    pub value: Bytes,
    pub created: Revision,
    /// What a compare-and-swap compares.
    pub modified: Revision,
    /// How often the key was put since it was created; 1 after the first put.
    pub version: i64,
    pub lease: Option<LeaseId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    Absent(String),
    /// The key exists and was last modified at this revision.
    Unchanged(String, Revision),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Put { key: String, value: Bytes, lease: Option<LeaseId> },
    Delete { key: String },
}

/// If all `compares` hold, all `ops` happen at one revision; otherwise nothing does. At most [`MAX_OPS`] of each,
/// [`MAX_BYTES`], and no key in two ops: [`Error::Invalid`] otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    pub compares: Vec<Compare>,
    pub ops: Vec<Op>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxnOutcome {
    Done(Revision),
    /// What the compared keys hold now, in the order of the compares.
    Conflict(Vec<Option<KeyValue>>),
}

/// etcd's own limit.
pub const MAX_OPS: usize = 128;
/// Keys and values of a transaction together; etcd takes a little more.
pub const MAX_BYTES: usize = 1 << 20;

impl Txn {
    pub fn compare(mut self, compare: Compare) -> Txn {
        self.compares.push(compare);
        self
    }

    pub fn put(mut self, key: impl Into<String>, value: impl Into<Bytes>) -> Txn {
        self.ops.push(Op::Put { key: key.into(), value: value.into(), lease: None });
        self
    }

    pub fn put_leased(mut self, key: impl Into<String>, value: impl Into<Bytes>, lease: LeaseId) -> Txn {
        self.ops.push(Op::Put { key: key.into(), value: value.into(), lease: Some(lease) });
        self
    }

    pub fn delete(mut self, key: impl Into<String>) -> Txn {
        self.ops.push(Op::Delete { key: key.into() });
        self
    }

    /// MUST be called by every store before anything else.
    pub fn check(&self) -> Result<(), Error> {
        if self.ops.len() > MAX_OPS || self.compares.len() > MAX_OPS {
            return Err(Error::Invalid(format!(
                "a transaction has at most {MAX_OPS} compares and operations, this one has {} and {}",
                self.compares.len(),
                self.ops.len()
            )));
        }
        let bytes: usize = self.ops.iter().map(Op::bytes).sum();
        if bytes > MAX_BYTES {
            return Err(Error::Invalid(format!("a transaction of {bytes} bytes; at most {MAX_BYTES} fit")));
        }
        let mut keys: Vec<&str> = self.ops.iter().map(Op::key).collect();
        keys.sort_unstable();
        match keys.windows(2).find(|pair| pair.first() == pair.last()) {
            Some(pair) => Err(Error::Invalid(format!("a transaction changes key {:?} twice", pair.first()))),
            None => Ok(()),
        }
    }
}

impl Op {
    pub fn key(&self) -> &str {
        match self {
            Op::Put { key, .. } | Op::Delete { key } => key,
        }
    }

    pub fn bytes(&self) -> usize {
        match self {
            Op::Put { key, value, .. } => key.len() + value.len(),
            Op::Delete { key } => key.len(),
        }
    }
}

impl Compare {
    pub fn key(&self) -> &str {
        match self {
            Compare::Absent(key) | Compare::Unchanged(key, _) => key,
        }
    }

    /// Whether it holds for what the key holds now.
    pub fn holds(&self, now: Option<&KeyValue>) -> bool {
        match (self, now) {
            (Compare::Absent(_), None) => true,
            (Compare::Unchanged(_, revision), Some(now)) => now.modified == *revision,
            _ => false,
        }
    }
}

/// A piece of a range: continue after the last key while `more`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub entries: Vec<KeyValue>,
    pub more: bool,
    /// The store's revision at the time of reading: where a watch goes on.
    pub revision: Revision,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Put(KeyValue),
    Deleted {
        key: String,
        at: Revision,
    },
    /// Changes may have been missed (compaction, a slow receiver, a broken connection): read the range again, and
    /// watch from there. The watch has ended.
    Lost,
}

#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// The change may or may not have happened: read again before doing anything.
    #[error("the metadata store did not say whether the change happened: {0}")]
    Ambiguous(String),
    /// Nothing happened.
    #[error("the metadata store cannot be reached: {0}")]
    Unavailable(String),
    #[error("the lease has expired")]
    LeaseGone,
    /// What is stored is not what should be there; the text names the key.
    #[error("{0}")]
    Corrupt(String),
    /// The request can never succeed; the text says why.
    #[error("{0}")]
    Invalid(String),
}

pub type Doing<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// A metadata store. Reads are linearizable. Watches are hints: a decision that must be safe reads again or compares.
pub trait Store: Send + Sync + 'static {
    fn get<'a>(&'a self, key: &'a str) -> Doing<'a, Option<KeyValue>>;

    /// Keys that start with `prefix`, in order, beginning after `after`; at most `limit` of them.
    fn range<'a>(&'a self, prefix: &'a str, after: Option<&'a str>, limit: usize) -> Doing<'a, Page>;

    /// MUST return [`Error::Ambiguous`] whenever the outcome is not certain.
    fn txn(&self, txn: Txn) -> Doing<'_, TxnOutcome>;

    /// A lease that ends `ttl` after its last renewal; its keys go with it.
    fn grant(&self, ttl: Duration) -> Doing<'_, LeaseId>;

    /// [`Error::LeaseGone`] once it has ended: it never comes back.
    fn renew(&self, lease: LeaseId) -> Doing<'_, ()>;

    fn revoke(&self, lease: LeaseId) -> Doing<'_, ()>;

    /// All changes below `prefix` after `from`, in order, each once, until [`Change::Lost`].
    fn watch<'a>(&'a self, prefix: &'a str, from: Revision) -> Doing<'a, Box<dyn Watch>>;
}

pub trait Watch: Send {
    /// The next change. MUST be safe to cancel. After [`Change::Lost`] it returns that for ever.
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Change> + Send + '_>>;
}
