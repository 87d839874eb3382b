//! Our own wire between our client and our bookie, negotiated and never required.
//!
//! A client opens with AUTH (v2, plug-in [`PLUGIN`], payload [`Hello`]). Our bookie answers with the same plug-in and
//! [`Welcome`], and from then on both sides send extension frames only; any other answer means plain v2.
//!
//! A frame is `length u32 | kind u8 | …`. Requests carry ids that the client counts up, so many adds travel in one
//! frame and are answered by runs of ids with one code each.

mod replies;
mod requests;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{Auth, Garbage};

pub use replies::{FromBookie, Statuses, decode_reply, encode_answer};
pub use requests::{Batch, decode_requests};

pub const PLUGIN: &str = "stratamq/1";
const VERSION: u16 = 1;

/// The largest frame, its length field included. Larger than v2's: many entries travel in one.
pub const MAX_FRAME: usize = 8 * 1024 * 1024;
/// The largest encoded entry: what still fits into a v2 frame, so that any client can read it.
pub const MAX_ENTRY: usize = crate::entry::MAX_FRAME - 28;

/// What the bookie can do, as bits of [`Welcome::capabilities`]. All that there are.
pub const CAPABILITIES: u32 = 0b1111;
pub const MANY_ADDS: u32 = 0b001;
pub const RANGES: u32 = 0b010;
pub const ALL_OPERATIONS: u32 = 0b100;
pub const LENGTHS: u32 = 0b1000;
/// The most lengths that are asked for, and answered, at once.
pub const MOST_LENGTHS: u32 = 16 * 1024;

/// What a client says first: `version u16 | id length u16 | id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Whom the client means to talk to; empty if anyone will do.
    pub bookie: String,
}

/// What a bookie says to that: `version u16 | capabilities u32 | incarnation u64 | id length u16 | id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    pub capabilities: u32,
    pub incarnation: u64,
    /// Who it is. A client that meant another one hangs up.
    pub bookie: String,
}

const WRONG: Garbage = Garbage("a greeting that is not of our extension, version 1");

fn put_name(name: &str, out: &mut BytesMut) {
    out.put_u16(name.len() as u16);
    out.put_slice(name.as_bytes());
}

fn take_name(payload: &mut Bytes) -> Result<String, Garbage> {
    let len = usize::from(payload.try_get_u16().map_err(|_| WRONG)?);
    if len > payload.len() {
        return Err(WRONG);
    }
    String::from_utf8(payload.split_to(len).into()).map_err(|_| WRONG)
}

impl Hello {
    pub fn encode(&self) -> Auth {
        let mut payload = BytesMut::new();
        payload.put_u16(VERSION);
        put_name(&self.bookie, &mut payload);
        Auth { plugin: PLUGIN.into(), payload: payload.freeze() }
    }

    /// Later versions may say more: what follows is ignored.
    pub fn decode(mut payload: Bytes) -> Result<Hello, Garbage> {
        match payload.try_get_u16() {
            Ok(version) if version >= VERSION => Ok(Hello { bookie: take_name(&mut payload)? }),
            _ => Err(WRONG),
        }
    }
}

impl Welcome {
    pub fn encode(&self) -> Auth {
        let mut payload = BytesMut::new();
        payload.put_u16(VERSION);
        payload.put_u32(self.capabilities);
        payload.put_u64(self.incarnation);
        put_name(&self.bookie, &mut payload);
        Auth { plugin: PLUGIN.into(), payload: payload.freeze() }
    }

    pub fn decode(mut payload: Bytes) -> Result<Welcome, Garbage> {
        if payload.try_get_u16() != Ok(VERSION) {
            return Err(WRONG);
        }
        Ok(Welcome {
            capabilities: payload.try_get_u32().map_err(|_| WRONG)?,
            incarnation: payload.try_get_u64().map_err(|_| WRONG)?,
            bookie: take_name(&mut payload)?,
        })
    }
}

/// The first byte of a frame.
mod kind {
    pub const ADDS: u8 = 0x01;
    pub const READ: u8 = 0x02;
    pub const BATCH_READ: u8 = 0x03;
    pub const READ_RANGE: u8 = 0x04;
    pub const WRITE_LAC: u8 = 0x05;
    pub const READ_LAC: u8 = 0x06;
    pub const FORCE: u8 = 0x07;
    pub const INFO: u8 = 0x08;
    pub const LIST_ENTRIES: u8 = 0x09;
    pub const LENGTHS_OF: u8 = 0x0a;

    pub const STATUSES: u8 = 0x80;
    pub const ENTRY: u8 = 0x82;
    pub const ENTRIES: u8 = 0x83;
    pub const RANGE: u8 = 0x84;
    pub const LAC: u8 = 0x86;
    pub const SPACE: u8 = 0x88;
    pub const LIST: u8 = 0x89;
    pub const LENGTHS: u8 = 0x8a;
}

#[cfg(test)]
mod tests;
