//! RocketMQ's meaning, on a log: virtual brokers, what they keep, and what they answer.
//!
//! * [`state`] — what a virtual broker keeps besides messages: topics, groups, offsets, settings, delays, halves.
//!   A pure function of the changes in its log.

pub mod state;
