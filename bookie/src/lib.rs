//! A storage process. It knows ledgers and entries, never topics.
//!
//! * [`shelf`] — one disk: decides, appends, syncs, answers; readers beside it.
//! * [`index`] — (ledger, entry) → where it is.

pub mod duty;
pub mod error;
pub mod index;
pub mod position;
pub mod shelf;

pub use duty::Duty;
pub use error::Error;
pub use position::{Location, Position, SegmentId};
pub use shelf::Shelf;
