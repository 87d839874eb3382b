//! Sockets, and the one form in which a request to a bookie gets its reply.
//!
//! * [`reply`] — a request's reply and the duty to give it; [`Bookies`]: how one reaches bookies.
//! * [`client`] and [`local`] — two ways to reach them: over TCP, and in the same process.
//! * [`server`] — the bookie's listener, in front of a [`Service`].
//! * [`gather`] — waking, and writing, once for many replies.
//! * [`http`] — metrics, health and readiness.

pub mod client;
mod gather;
pub mod http;
mod local;
mod pipe;
mod receive;
pub mod reply;
mod resolve;
pub mod server;
mod service;

pub use gather::{Wake, gather, wake_later};
pub use local::Local;
pub use reply::{Bookies, Failure, Inbox, Replies, Reply, ReplyTo, ask};
pub use resolve::{Dns, Resolve, Resolving};
pub use service::{Pressure, Service};

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod toy;
