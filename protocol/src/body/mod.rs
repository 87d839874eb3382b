//! What RocketMQ's frames carry besides headers: JSON, mostly, as its Java side writes it.
//!
//! * [`heartbeat`], [`lock`] — what clients say of themselves and ask of queues.
//! * [`json`] — fastjson's dialect.
//! * [`advertise`] — addresses that depend on who asks.
//! * [`route`], [`cluster`], [`topic`], [`register`] — what a name server is told, and what it answers.

pub mod advertise;
pub mod cluster;
pub mod heartbeat;
pub mod json;
pub mod lock;
pub mod register;
pub mod route;
pub mod topic;

/// A body that cannot be read; the text says why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body cannot be read: {0}")]
pub struct Malformed(pub String);
