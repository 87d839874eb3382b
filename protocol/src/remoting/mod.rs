//! RocketMQ's remoting protocol: what clients, brokers and name servers say to each other.
//!
//! * [`command`] — a request or a reply, and its frame.
//! * [`fields`] — the ext fields of its header, and typed reading of them.
//! * [`json`] and [`binary`] — the two encodings of a header.
//! * [`code`] — what requests ask for and what replies say.
//! * [`header`] — the fields of requests that both our broker and our client know.

mod binary;
pub mod code;
mod command;
mod fields;
pub mod header;
mod json;
mod language;

pub use command::{Command, Echo, Encoding, MAX_FRAME, VERSION};
pub use fields::{BadField, Fields};
pub use language::Language;

#[cfg(test)]
mod tests;
