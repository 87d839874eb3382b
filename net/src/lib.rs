//! Sockets, and the one form in which a request to a bookie gets its reply.

pub mod client;
mod gather;
mod pipe;
mod receive;
pub mod reply;
mod resolve;
mod service;

pub use gather::{Wake, gather, wake_later};
pub use reply::{Bookies, Failure, Inbox, Replies, Reply, ReplyTo, ask};
pub use resolve::{Dns, Resolve, Resolving};
pub use service::Service;
