//! Sockets, and the one form in which a request to a bookie gets its reply.

pub mod reply;

pub use reply::{Bookies, Failure, Inbox, Replies, Reply, ReplyTo, ask};
