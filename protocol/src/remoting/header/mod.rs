//! Headers that our broker reads and our client writes, and the other way round.
//!
//! Requests with a few plain fields have no type here: who reads them does so by name ([`super::Fields`]).

mod pull;
mod send;

pub use pull::{Pull, PullReply, Suspend};
pub use send::{Send, SendReply};
