//! Replicated ledgers, and the endless log made of them.
//!
//! * [`log`] — the log: what a broker sees, and all that it sees. [`log::memory`] keeps one in memory;
//!   [`log::suite`] runs on every implementation.
//! * [`quorum`] — which bookies hold an entry, and how many answers prove what.
//! * [`writer`] — one open ledger's writer.
//! * [`error`] — what can go wrong, by what the caller does about it.

pub mod error;
pub mod log;
pub mod quorum;
pub mod writer;

pub use error::{Ended, Error};
