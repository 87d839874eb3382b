//! Sockets, and the one form in which a request to a bookie gets its reply.

mod gather;
pub mod reply;
mod service;

pub use gather::{Wake, gather, wake_later};
pub use reply::{Bookies, Failure, Inbox, Replies, Reply, ReplyTo, ask};
pub use service::Service;
