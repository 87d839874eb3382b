//! Where the index is kept: ordered pairs of bytes, written in batches.

use std::io;

/// Implementations: [`super::rocks`] and [`super::memory`]; the module `conformance` is run on both.
pub trait IndexStore: Send + Sync + 'static {
    /// Reads see all earlier writes, flushed or not.
    fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>>;

    /// The first `limit` pairs with `from <= key < to`, in the order of keys.
    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>>;

    /// The last pair with `from <= key < to`.
    fn last(&self, from: &[u8], to: &[u8]) -> io::Result<Option<(Vec<u8>, Vec<u8>)>>;

    /// Applies the changes in order. A crash MUST keep a batch whole or not at all, and no batch without those
    /// before it. A batch is durable only once a later [`IndexStore::flush`] has returned.
    fn write(&self, batch: Batch) -> io::Result<()>;

    /// Makes all earlier writes durable. After an error nothing may be assumed of them.
    fn flush(&self) -> io::Result<()>;
}

pub type Batch = Vec<Change>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Put(Vec<u8>, Vec<u8>),
    /// Puts the bytes behind those that are there.
    Append(Vec<u8>, Vec<u8>),
    Remove(Vec<u8>),
    /// All keys from the first up to, not with, the second.
    RemoveRange(Vec<u8>, Vec<u8>),
}
