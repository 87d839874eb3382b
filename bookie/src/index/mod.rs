//! (ledger, entry) → where it is.
//!
//! What is recent is in memory; the rest is in an [`IndexStore`], in *runs*: one value for up to 1,024 neighbouring
//! ids of a ledger. Everything in it can be made again from the segments.

pub mod catalog;
#[cfg(test)]
mod conformance;
pub mod memory;
pub mod rocks;
pub mod rows;
pub mod store;

pub use memory::{MemoryIndex, MemoryIndexDisk};
pub use rocks::RocksIndex;
pub use store::{Batch, Change, IndexStore};
