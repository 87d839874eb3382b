//! Every byte on a wire, and nothing else: this crate never awaits and does no I/O.
//!
//! * [`ids`] — ledgers, entries, bookies: the names that all layers share.
//! * [`entry`] — an entry as BookKeeper lays it out, and its digests.
//! * [`body`] — JSON that RocketMQ's frames carry.
//! * [`bookie`] — what one asks of a bookie and what it answers, and the three encodings of that
//!   (BookKeeper's v2 and v3, and our extension).
//! * [`message`] — a RocketMQ message as it is stored and handed out, its properties and names.
//! * [`remoting`] — RocketMQ's requests and replies.
//! * [`frame`] — where a request or reply ends, on all of these wires.

pub mod body;
pub mod bookie;
pub mod entry;
pub mod frame;
pub mod ids;
pub mod message;
mod outgoing;
pub mod remoting;

pub use ids::{BookieId, EntryId, LedgerId};
pub use outgoing::Outgoing;

/// The peer does not speak this wire: all one can do is close the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Garbage(pub &'static str);
