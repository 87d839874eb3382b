//! What RocketMQ's frames carry besides headers: JSON, mostly, as its Java side writes it.
//!
//! * [`heartbeat`], [`lock`] — what clients say of themselves and ask of queues.
//! * [`group`], [`connection`], [`offset`], [`stats`] — what operators ask of a broker.
//! * [`json`] — fastjson's dialect.
//! * [`advertise`] — addresses that depend on who asks.
//! * [`log`] — what a virtual broker's log is made of, which only ours tell.
//! * [`route`], [`cluster`], [`topic`], [`register`] — what a name server is told, and what it answers.

pub mod advertise;
pub mod cluster;
pub mod connection;
pub mod group;
pub mod heartbeat;
pub mod json;
pub mod lock;
pub mod log;
pub mod offset;
pub mod register;
pub mod route;
pub mod stats;
pub mod topic;

/// A body that cannot be read; the text says why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body cannot be read: {0}")]
pub struct Malformed(pub String);
