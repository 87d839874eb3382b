//! Replicated ledgers, and the endless log made of them.
//!
//! * [`log`] — the log: what a broker sees, and all that it sees. [`log::memory`] keeps one in memory;
//!   [`log::suite`] runs on every implementation.
//! * [`quorum`] — which bookies hold an entry, and how many answers prove what.
//! * [`layout`] — what one must know of a ledger to ask bookies about it.
//! * [`placement`] — which bookies a new ledger is written to.
//! * [`reader`] — reading a ledger.
//! * [`recovery`] — closing the ledger of a writer that is gone.
//! * [`repair`] — auditor, workers, and what operators ask of them.
//! * [`writer`] — one open ledger's writer.
//! * [`cluster`] — bookies and metadata store, as all of these need them.
//! * [`error`] — what can go wrong, by what the caller does about it.

pub mod cluster;
mod drive;
pub mod error;
pub mod layout;
pub mod log;
pub mod placement;
pub mod quorum;
pub mod reader;
pub mod recovery;
pub mod repair;
pub mod writer;

#[cfg(test)]
mod model;

pub use cluster::Cluster;
pub use error::{Ended, Error};
pub use reader::{LedgerReader, ReadAhead};
pub use recovery::recover;
pub use writer::{LedgerWriter, Plan};
