//! RocketMQ's meaning, on a log: virtual brokers, what they keep, and what they answer.
//!
//! * [`admin`] — the codes behind RocketMQ's tools.
//! * [`checkpoint`] — what was derived from the log, in a log of its own.
//! * [`entry`] — the bytes of a virtual broker's log.
//! * [`index`] — where the messages of each queue are.
//! * [`members`] — who is connected, by group, and who may read a queue in order.
//! * [`own`] — which virtual brokers this process serves.
//! * [`serve`] — RocketMQ's requests, one verb a file.
//! * [`state`] — what a virtual broker keeps besides messages: topics, groups, offsets, settings, delays, halves.
//!   A pure function of the changes in its log.
//! * [`vb`] — a virtual broker: a state machine over one log.

pub mod admin;
pub mod checkpoint;
pub mod entry;
pub mod error;
pub mod index;
pub mod members;
pub mod own;
pub mod serve;
pub mod state;
pub mod vb;

pub use error::Error;
