//! Messages as RocketMQ stores them and hands them out.
//!
//! * [`stored`] — the layout of a message in a log and in a pull's answer.

pub mod stored;

pub use stored::{Host, Stored};
