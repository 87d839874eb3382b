//! Requests of our extension.
//!
//! ```text
//! adds        01 | first id u64 | options u8 | key 20 | count u32 | count × length u32 | entries
//! read        02 | id u64 | ledger i64 | entry i64 | read options
//! batch read  03 | id u64 | ledger i64 | first i64 | count u32 | bytes u64 | read options
//! read range  04 | id u64 | ledger i64 | entry i64 | from u32 | length u32
//! write LAC   05 | id u64 | ledger i64 | lac i64 | key 20 | packet
//! read LAC    06 | id u64 | ledger i64
//! force       07 | id u64 | ledger i64
//! info        08 | id u64
//! list        09 | id u64 | ledger i64
//! lengths     0a | id u64 | ledger i64 | first i64 | count u32
//!
//! add options   1 recovery, 2 high priority, 4 deferred sync
//! read options  bits u8: 1 fence (then key 20), 2 high priority, 4 with LAC, 8 long poll (then previous i64, wait ms u32)
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{MAX_ENTRY, MAX_FRAME, kind};
use crate::bookie::wire::take_key;
use crate::bookie::{AddOptions, Body, Garbage, Outgoing, ReadOptions, Refusal, Request, Unsendable, frame};
use crate::entry::{HEADER_LEN, MasterKey};
use crate::{EntryId, LedgerId};

const RECOVERY: u8 = 1;
const HIGH_PRIORITY: u8 = 2;
const DEFERRED_SYNC: u8 = 4;

const FENCE: u8 = 1;
const WITH_LAC: u8 = 4;
const LONG_POLL: u8 = 8;

/// Kind, first id, options, key, count.
const ADDS_HEAD: usize = 34;
/// A frame of adds is closed beyond this: the bookie begins with one while the next is on its way, and copies little
/// when one is torn at the end of its receive buffer.
const ADDS_BYTES: usize = 64 * 1024;

const SHORT: Garbage = Garbage("an extension frame ends before its fields do");

fn bits(options: &AddOptions) -> u8 {
    let bit = |set: bool, bit: u8| if set { bit } else { 0 };
    bit(options.recovery, RECOVERY)
        | bit(options.high_priority, HIGH_PRIORITY)
        | bit(options.deferred_sync, DEFERRED_SYNC)
}

/// Encodes requests one after another; neighbouring adds share a frame.
#[derive(Debug, Default)]
pub struct Batch {
    adds: Vec<Body>,
    first: u64,
    bytes: usize,
    key: Option<MasterKey>,
    options: AddOptions,
}

impl Batch {
    /// Takes one request; `id` MUST be one above that of the call before. [`Batch::finish`] must follow the last.
    pub fn push(&mut self, id: u64, request: Request, out: &mut Outgoing) -> Result<(), Unsendable> {
        let Request::Add { key, body, options, .. } = request else {
            self.finish(out);
            return encode(id, &request, out);
        };
        if body.len() > MAX_ENTRY {
            return Err(Unsendable::TooLarge(body.len()));
        }
        let same = self.key == Some(key) && self.options == options;
        let next = self.first.wrapping_add(self.adds.len() as u64);
        if !same || id != next || self.bytes + body.len() > ADDS_BYTES {
            self.finish(out);
            (self.first, self.key, self.options) = (id, Some(key), options);
        }
        self.bytes += 4 + body.len();
        self.adds.push(body);
        Ok(())
    }

    /// Closes the frame of adds that is being filled.
    pub fn finish(&mut self, out: &mut Outgoing) {
        let (Some(key), false) = (self.key, self.adds.is_empty()) else { return };
        let fields = out.fields();
        fields.reserve(frame::LENGTH + ADDS_HEAD + 4 * self.adds.len());
        fields.put_u32((ADDS_HEAD + std::mem::take(&mut self.bytes)) as u32);
        fields.put_u8(kind::ADDS);
        fields.put_u64(self.first);
        fields.put_u8(bits(&self.options));
        fields.put_slice(&key.0);
        fields.put_u32(self.adds.len() as u32);
        self.adds.iter().for_each(|body| fields.put_u32(body.len() as u32));
        for body in self.adds.drain(..) {
            out.bytes(body.head);
            out.bytes(body.payload);
        }
    }
}

fn encode(id: u64, request: &Request, out: &mut Outgoing) -> Result<(), Unsendable> {
    let mut fields = BytesMut::with_capacity(80);
    let mut tail = None;
    fields.put_u8(match request {
        Request::Add { .. } => return Err(Unsendable::NotOnThisWire),
        Request::Read { .. } => kind::READ,
        Request::BatchRead { .. } => kind::BATCH_READ,
        Request::ReadRange { .. } => kind::READ_RANGE,
        Request::WriteLac { .. } => kind::WRITE_LAC,
        Request::ReadLac { .. } => kind::READ_LAC,
        Request::Force { .. } => kind::FORCE,
        Request::Info => kind::INFO,
        Request::ListEntries { .. } => kind::LIST_ENTRIES,
        Request::Lengths { .. } => kind::LENGTHS_OF,
    });
    fields.put_u64(id);
    request.ledger().iter().for_each(|ledger| fields.put_i64(ledger.0));
    match request {
        Request::Read { entry, options, .. } => {
            fields.put_i64(entry.0);
            encode_options(options, &mut fields);
        }
        Request::BatchRead { first, max_count, max_bytes, options, .. } => {
            fields.put_i64(first.0);
            fields.put_u32(*max_count);
            fields.put_u64(*max_bytes);
            encode_options(options, &mut fields);
        }
        Request::ReadRange { entry, from, len, .. } => {
            fields.put_i64(entry.0);
            fields.put_u32(*from);
            fields.put_u32(*len);
        }
        Request::Lengths { first, max_count, .. } => {
            fields.put_i64(first.0);
            fields.put_u32(*max_count);
        }
        Request::WriteLac { lac, key, packet, .. } => {
            if packet.len() > MAX_ENTRY {
                return Err(Unsendable::TooLarge(packet.len()));
            }
            fields.put_i64(lac.0);
            fields.put_slice(&key.0);
            tail = Some(packet.clone());
        }
        _ => {}
    }
    let length = fields.len() + tail.as_ref().map_or(0, Bytes::len);
    out.fields().put_u32(length as u32);
    out.fields().put_slice(&fields);
    tail.into_iter().for_each(|tail| out.bytes(tail));
    Ok(())
}

fn encode_options(options: &ReadOptions, out: &mut BytesMut) {
    let bit = |set: bool, bit: u8| if set { bit } else { 0 };
    out.put_u8(
        bit(options.fence.is_some(), FENCE)
            | bit(options.high_priority, HIGH_PRIORITY)
            | bit(options.piggyback_lac, WITH_LAC)
            | bit(options.previous_lac.is_some(), LONG_POLL),
    );
    options.fence.iter().for_each(|key| out.put_slice(&key.0));
    if let Some(previous) = options.previous_lac {
        out.put_i64(previous.0);
        out.put_u32(options.wait_ms);
    }
}

fn decode_options(frame: &mut Bytes) -> Result<ReadOptions, Garbage> {
    let bits = frame.try_get_u8().map_err(|_| SHORT)?;
    let mut options = ReadOptions {
        high_priority: bits & HIGH_PRIORITY != 0,
        piggyback_lac: bits & WITH_LAC != 0,
        ..ReadOptions::default()
    };
    if bits & FENCE != 0 {
        options.fence = Some(take_key(frame).ok_or(SHORT)?);
    }
    if bits & LONG_POLL != 0 {
        options.previous_lac = Some(EntryId(frame.try_get_i64().map_err(|_| SHORT)?));
        options.wait_ms = frame.try_get_u32().map_err(|_| SHORT)?;
    }
    Ok(options)
}

/// Decodes a frame from a client: gives each request to `each` with its id, slices of the frame and no copies. What
/// makes no sense in itself is given as the refusal to answer with.
pub fn decode_requests(
    mut frame: Bytes,
    mut each: impl FnMut(u64, Result<Request, Refusal>),
) -> Result<(), Garbage> {
    let kind = frame.try_get_u8().map_err(|_| SHORT)?;
    let id = frame.try_get_u64().map_err(|_| SHORT)?;
    if kind == kind::ADDS {
        return decode_adds(frame, id, each);
    }
    if kind == kind::INFO {
        each(id, Ok(Request::Info));
        return Ok(());
    }
    let ledger = LedgerId(frame.try_get_i64().map_err(|_| SHORT)?);
    each(id, decode_one(kind, ledger, &mut frame)?);
    Ok(())
}

fn decode_one(kind: u8, ledger: LedgerId, frame: &mut Bytes) -> Result<Result<Request, Refusal>, Garbage> {
    let mut entry = || frame.try_get_i64().map(EntryId).map_err(|_| SHORT);
    Ok(Ok(match kind {
        kind::READ => Request::Read { ledger, entry: entry()?, options: decode_options(frame)? },
        kind::BATCH_READ => Request::BatchRead {
            ledger,
            first: entry()?,
            max_count: frame.try_get_u32().map_err(|_| SHORT)?,
            max_bytes: frame.try_get_u64().map_err(|_| SHORT)?.min(MAX_FRAME as u64),
            options: decode_options(frame)?,
        },
        kind::READ_RANGE => Request::ReadRange {
            ledger,
            entry: entry()?,
            from: frame.try_get_u32().map_err(|_| SHORT)?,
            len: frame.try_get_u32().map_err(|_| SHORT)?,
        },
        kind::LENGTHS_OF => {
            Request::Lengths { ledger, first: entry()?, max_count: frame.try_get_u32().map_err(|_| SHORT)? }
        }
        kind::WRITE_LAC => Request::WriteLac {
            ledger,
            lac: entry()?,
            key: take_key(frame).ok_or(SHORT)?,
            packet: std::mem::take(frame),
        },
        kind::READ_LAC => Request::ReadLac { ledger },
        kind::FORCE => Request::Force { ledger },
        kind::LIST_ENTRIES => Request::ListEntries { ledger },
        _ => return Ok(Err(Refusal::BadVersion)),
    }))
}

fn decode_adds(
    mut frame: Bytes,
    first: u64,
    mut each: impl FnMut(u64, Result<Request, Refusal>),
) -> Result<(), Garbage> {
    let bits = frame.try_get_u8().map_err(|_| SHORT)?;
    let key = take_key(&mut frame).ok_or(SHORT)?;
    let count = frame.try_get_u32().map_err(|_| SHORT)? as usize;
    let lengths = count.checked_mul(4).filter(|size| *size <= frame.len()).ok_or(SHORT)?;
    let lengths = frame.split_to(lengths);
    let options = AddOptions {
        recovery: bits & RECOVERY != 0,
        high_priority: bits & HIGH_PRIORITY != 0,
        deferred_sync: bits & DEFERRED_SYNC != 0,
    };
    let mut id = first;
    for length in lengths.as_chunks::<4>().0 {
        let length = u32::from_be_bytes(*length) as usize;
        if length > frame.len() {
            return Err(SHORT);
        }
        each(id, add(frame.split_to(length), key, options));
        id = id.wrapping_add(1);
    }
    if frame.is_empty() { Ok(()) } else { Err(Garbage("a frame of adds is longer than its entries")) }
}

fn add(entry: Bytes, key: MasterKey, options: AddOptions) -> Result<Request, Refusal> {
    if entry.len() < HEADER_LEN || entry.len() > MAX_ENTRY {
        return Err(Refusal::BadRequest);
    }
    let mut ids = &entry[..16];
    let (ledger, id) = (LedgerId(ids.get_i64()), EntryId(ids.get_i64()));
    Ok(Request::Add { ledger, entry: id, key, body: entry.into(), options })
}
