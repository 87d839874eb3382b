//! BookKeeper's wire, version 3: a protobuf message per frame. What an untuned Java client speaks, and what our
//! client uses beside v2 for operations that v2 lacks. Batch reads do not exist here.

mod client;
mod messages;
mod server;

pub use client::{decode_reply, encode_request};
pub use server::{decode_request, encode_auth, encode_reply};

/// The first byte of every v3 body: field 1, length-delimited.
pub const FIRST_BYTE: u8 = 0x0a;

#[cfg(test)]
mod tests;
