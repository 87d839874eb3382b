//! The files of a disk's log.
//!
//! * [`format`] — headers of segments, groups and records.
//! * [`record`] — what a record says.
//! * [`files`] — allocating, opening, recycling.
//! * [`walk`] — from group to group, and from record to record.

pub mod files;
pub mod format;
pub mod record;
pub mod walk;

pub use files::{SegmentFile, Segments};
