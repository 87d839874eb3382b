//! Sockets, and the one form in which a request to a bookie gets its reply.

pub mod client;
mod gather;
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
