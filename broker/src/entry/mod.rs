//! One entry of a virtual broker's log: records in the layout in which they are served, and a table of them.
//!
//! * [`format`] — the bytes, version 1.
//! * [`batch`] — an entry while it is being filled.

pub mod batch;
pub mod format;
pub mod varint;

pub use batch::Batch;
pub use format::{Contents, Corrupt, MAX_ENTRY, Preamble, Row, What};

#[cfg(test)]
mod tests;
