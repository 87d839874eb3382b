//! A request or a reply.
//!
//! Frame: `length u32 | mark u32 | header | body`. The length counts what follows it; the mark has the header's
//! encoding in its top 8 bits and its length in the others.

use std::fmt::Display;

use bytes::{Buf, BufMut, Bytes};

use super::{Fields, Language, binary, json};
use crate::{Garbage, Outgoing};

/// The largest frame, its length field included.
pub const MAX_FRAME: usize = 16 << 20;
/// No header comes near this: properties, the largest field, have at most 32,767 bytes, six times that when escaped.
pub(super) const MAX_HEADER: usize = 1 << 20;
/// No command has more than some thirty.
pub(super) const MAX_FIELDS: usize = 1024;
/// The version that we announce: RocketMQ 5.5.0.
pub const VERSION: i32 = 513;

const REPLY: i32 = 1;
const ONE_WAY: i32 = 2;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    #[default]
    Json,
    /// RocketMQ's own; its codes have 16 bits.
    Binary,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// What a request asks for, or what a reply says ([`super::code`]).
    pub code: i32,
    pub language: Language,
    pub version: i32,
    /// Ties a reply to its request. Each side of a connection counts its own requests.
    pub opaque: i32,
    pub flag: i32,
    pub remark: Option<String>,
    pub fields: Fields,
    pub body: Bytes,
    pub encoding: Encoding,
}

/// What a reply takes from its request, for handlers that answer later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    pub opaque: i32,
    pub encoding: Encoding,
    /// Nobody waits for the reply: it is made all the same, and dropped by the connection.
    pub one_way: bool,
}

impl Echo {
    pub fn reply(self, code: i32) -> Command {
        Command {
            code,
            // Every client knows this one.
            language: Language::JAVA,
            version: VERSION,
            opaque: self.opaque,
            flag: if self.one_way { REPLY | ONE_WAY } else { REPLY },
            remark: None,
            fields: Fields::default(),
            body: Bytes::new(),
            encoding: self.encoding,
        }
    }
}

impl Command {
    /// A request; whoever sends it gives it its opaque.
    pub fn request(code: i32) -> Command {
        Command {
            code,
            language: Language::RUST,
            version: VERSION,
            opaque: 0,
            flag: 0,
            remark: None,
            fields: Fields::default(),
            body: Bytes::new(),
            encoding: Encoding::Json,
        }
    }

    pub fn one_way(code: i32) -> Command {
        Command { flag: ONE_WAY, ..Command::request(code) }
    }

    pub fn echo(&self) -> Echo {
        Echo { opaque: self.opaque, encoding: self.encoding, one_way: self.is_one_way() }
    }

    /// The reply to this request.
    pub fn reply(&self, code: i32) -> Command {
        self.echo().reply(code)
    }

    /// Adds a field.
    pub fn with(mut self, name: &str, value: impl Display) -> Command {
        self.fields.push(name, value);
        self
    }

    pub fn remark(mut self, remark: impl Into<String>) -> Command {
        self.remark = Some(remark.into());
        self
    }

    pub fn body(mut self, body: impl Into<Bytes>) -> Command {
        self.body = body.into();
        self
    }

    pub fn is_reply(&self) -> bool {
        self.flag & REPLY != 0
    }

    pub fn is_one_way(&self) -> bool {
        self.flag & ONE_WAY != 0
    }

    /// Decodes a frame without its length field. The body stays where it is.
    pub fn decode(mut frame: Bytes) -> Result<Command, Garbage> {
        let mark = frame.try_get_u32().map_err(|_| Garbage("a frame that is too short for a header"))?;
        let length = (mark & 0xff_ffff) as usize;
        if length > frame.len() {
            return Err(Garbage("a header that is longer than its frame"));
        }
        if length == 0 || length > MAX_HEADER {
            return Err(Garbage("a header of an impossible length"));
        }
        let header = frame.split_to(length);
        let mut command = match mark >> 24 {
            0 => json::decode(&header)?,
            1 => binary::decode(&header)?,
            _ => return Err(Garbage("neither a JSON header nor RocketMQ's binary one")),
        };
        command.body = frame;
        Ok(command)
    }

    /// Encodes the frame.
    pub fn encode(&self, out: &mut Outgoing) {
        self.encode_with(&[], out);
    }

    /// Encodes the frame; its body is `self.body` and then all of `more`. Large pieces are not copied.
    pub fn encode_with(&self, more: &[Bytes], out: &mut Outgoing) {
        let body = self.body.len() + more.iter().map(Bytes::len).sum::<usize>();
        let fields = out.fields();
        let start = fields.len();
        fields.put_u64(0);
        match self.encoding {
            Encoding::Json => json::encode(self, fields),
            Encoding::Binary => binary::encode(self, fields),
        }
        let header = fields.len() - start - 8;
        let kind = match self.encoding {
            Encoding::Json => 0u32,
            Encoding::Binary => 1 << 24,
        };
        if let Some(mut head) = fields.get_mut(start..start + 8) {
            head.put_u32((header + body + 4) as u32);
            head.put_u32(kind | header as u32);
        }
        out.bytes(self.body.clone());
        more.iter().for_each(|piece| out.bytes(piece.clone()));
    }

    /// What it takes in memory, roughly.
    pub fn size(&self) -> usize {
        128 + self.fields.size() + self.body.len()
    }
}
