//! What a virtual broker derived from its log, kept in a second log, so that a new owner need not read the first one
//! again from its beginning, and so that the index need not stay in memory.
//!
//! * [`store`] — the checkpoint log: blocks and manifests.
//! * [`block`] — rows, keys and pointers, as bytes.
//! * [`run`] — a sorted run of blocks: writing one, finding one's way in it.
//! * [`table`] — where each queue begins and ends.
//! * [`manifest`] — what belongs to a checkpoint.
//! * [`merge`] — fewer, larger runs.
//! * [`pace`] — how fast all that goes.
//! * [`cold`] — looking things up.
//! * [`write`] — taking a checkpoint.

pub mod block;
pub mod cold;
pub mod manifest;
pub mod merge;
pub mod pace;
pub mod run;
pub mod store;
pub mod table;
pub mod write;

pub use cold::Cold;
pub use manifest::Manifest;
pub use store::{Address, Store};
pub use write::Cut;
