//! RocketMQ's meaning, on a log: virtual brokers, what they keep, and what they answer.
//!
//! * [`entry`] — the bytes of a virtual broker's log.
//! * [`index`] — where the messages of each queue are.
//! * [`state`] — what a virtual broker keeps besides messages: topics, groups, offsets, settings, delays, halves.
//!   A pure function of the changes in its log.
//! * [`vb`] — a virtual broker: a state machine over one log.

pub mod entry;
pub mod error;
pub mod index;
pub mod state;
pub mod vb;

pub use error::Error;
