//! Who is connected: consumers and producers by group, and who may read which queue in order. Pure: a handle of the
//! connection is whatever the caller gives, time comes as an argument.
//!
//! * [`groups`] — members by connection; what changed, and who is to be told.
//! * [`locks`] — the right to read a queue in order.

mod groups;
mod locks;

pub use groups::{Changed, Channel, Consumers, Facts, Member, Members};
pub use locks::{Granted, Locks};
