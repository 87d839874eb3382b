//! A storage process. It knows ledgers and entries, never topics.
//!
//! * [`shelf`] — one disk: decides, appends, syncs, answers; readers beside it.
//! * [`index`] — (ledger, entry) → where it is.
//! * [`identity`] — whose disks these are, and whether they are as new as they were.
//! * [`service`] — [`Bookie`]: requests to shelves and back, first adds, long polls, start and stop.
//! * [`upkeep`] — deleted ledgers, sparse segments, checksums, limbo.

pub mod duty;
pub mod error;
pub mod identity;
pub mod index;
pub mod inspect;
mod life;
pub mod metrics;
pub mod position;
pub mod segment;
pub mod service;
pub mod settings;
pub mod shelf;
pub mod state;
pub mod upkeep;

pub use duty::Duty;
pub use error::Error;
pub use position::{Location, Position, SegmentId};
pub use service::{Bookie, Reason, Run, Surroundings, Volume};
pub use settings::Settings;
pub use shelf::Shelf;
