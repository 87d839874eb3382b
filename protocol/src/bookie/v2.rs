//! BookKeeper's wire, version 2: `header u32 | …`, the header being `version u8 | opcode u8 | flags u16`.
//!
//! Replies carry no request id (batch reads excepted): a client matches them by opcode, ledger and entry, which is
//! why a reply repeats the ids of its request exactly, the −1 of "the last entry" included.

use bytes::{Buf, BufMut, Bytes};
use prost::Message;

use super::wire::{take_key, that_fit};
use super::{
    AddOptions, Answer, Auth, Echo, FromClient, Garbage, Op, Outcome, Outgoing, ReadOptions, Refusal,
    Request, Unsendable, codes, frame,
};
use crate::entry::{self, MAX_FRAME};
use crate::{EntryId, LedgerId};

/// The first byte of every v2 body.
pub const FIRST_BYTE: u8 = 2;

const ADD: u8 = 1;
const READ: u8 = 2;
const AUTH: u8 = 3;
const BATCH_READ: u8 = 7;

const FENCE: u16 = 0x0001;
const RECOVERY: u16 = 0x0002;
const HIGH_PRIORITY: u16 = 0x0004;

/// Header, code, ledger, entry.
const REPLY: usize = 24;
/// What the budget of a batch read counts besides its entries and 4 bytes for each.
const BATCH_HEADS: u64 = 36;

const SHORT: Garbage = Garbage("a v2 frame ends before its fields do");

fn header(op: u8, flags: u16) -> u32 {
    u32::from(FIRST_BYTE) << 24 | u32::from(op) << 16 | u32::from(flags)
}

/// Decodes a frame from a client.
pub fn decode_request(mut frame: Bytes) -> Result<FromClient, Garbage> {
    let head = frame.try_get_u32().map_err(|_| SHORT)?;
    let [version, op, ..] = head.to_be_bytes();
    let flags = (head & 0xffff) as u16;
    let incoming = match op {
        ADD => decode_add(frame, flags),
        READ => decode_read(frame, flags),
        BATCH_READ => decode_batch_read(frame, flags),
        AUTH => {
            let auth =
                Auth::decode(frame).map_err(|_| Garbage("an AUTH frame that is not an AuthMessage"))?;
            Ok(FromClient::Auth { id: 0, auth })
        }
        other => Ok(FromClient::Refuse(nameless(other), Refusal::BadRequest)),
    }?;
    Ok(match incoming {
        FromClient::Ask(echo, _) if version != FIRST_BYTE => FromClient::Refuse(echo, Refusal::BadVersion),
        incoming => incoming,
    })
}

fn nameless(op: u8) -> Echo {
    Echo { op: Op::Other(op.into()), ledger: LedgerId(-1), entry: EntryId::NONE, id: 0 }
}

/// Whether what `received` begins with is an add, and which: to refuse one by name that is larger than a frame may be.
pub fn oversized_add(received: &[u8]) -> Option<Echo> {
    let body = received.get(frame::LENGTH..)?;
    if body.get(..2)? != [FIRST_BYTE, ADD] {
        return None;
    }
    let head = body.get(24..40)?;
    let word = |at: usize| head[at..].first_chunk().map(|word| i64::from_be_bytes(*word));
    Some(Echo { op: Op::Add, ledger: LedgerId(word(0)?), entry: EntryId(word(8)?), id: 0 })
}

fn decode_add(mut frame: Bytes, flags: u16) -> Result<FromClient, Garbage> {
    let key = take_key(&mut frame).ok_or(SHORT)?;
    let mut ids = frame.get(..16).ok_or(SHORT)?;
    let (ledger, entry) = (LedgerId(ids.get_i64()), EntryId(ids.get_i64()));
    let options = AddOptions {
        recovery: flags & RECOVERY != 0,
        high_priority: flags & HIGH_PRIORITY != 0,
        deferred_sync: false,
    };
    let whole = frame.len() >= entry::HEADER_LEN;
    let request = Request::Add { ledger, entry, key, body: frame.into(), options };
    let echo = request.echo(0);
    Ok(if whole { FromClient::Ask(echo, request) } else { FromClient::Refuse(echo, Refusal::BadRequest) })
}

/// The options of a read, its key taken off the end of the frame; refused if it fences without one.
fn read_options(mut frame: Bytes, flags: u16) -> Result<ReadOptions, Refusal> {
    let mut options = ReadOptions { high_priority: flags & HIGH_PRIORITY != 0, ..ReadOptions::default() };
    if flags & FENCE != 0 {
        options.fence = Some(take_key(&mut frame).ok_or(Refusal::Unauthorized)?);
    }
    Ok(options)
}

fn decode_read(mut frame: Bytes, flags: u16) -> Result<FromClient, Garbage> {
    let ledger = LedgerId(frame.try_get_i64().map_err(|_| SHORT)?);
    let entry = EntryId(frame.try_get_i64().map_err(|_| SHORT)?);
    Ok(match read_options(frame, flags) {
        Ok(options) => {
            let request = Request::Read { ledger, entry, options };
            FromClient::Ask(request.echo(0), request)
        }
        Err(refusal) => FromClient::Refuse(Echo { op: Op::Read, ledger, entry, id: 0 }, refusal),
    })
}

fn decode_batch_read(mut frame: Bytes, flags: u16) -> Result<FromClient, Garbage> {
    let ledger = LedgerId(frame.try_get_i64().map_err(|_| SHORT)?);
    let first = EntryId(frame.try_get_i64().map_err(|_| SHORT)?);
    let id = frame.try_get_u64().map_err(|_| SHORT)?;
    let max_count = frame.try_get_i32().map_err(|_| SHORT)?.max(0).unsigned_abs();
    let max_size = frame.try_get_i64().map_err(|_| SHORT)?.max(0).unsigned_abs();
    let max_bytes = max_size.min(MAX_FRAME as u64).saturating_sub(BATCH_HEADS);
    Ok(match read_options(frame, flags) {
        Ok(options) => {
            let request = Request::BatchRead { ledger, first, max_count, max_bytes, options };
            FromClient::Ask(request.echo(id), request)
        }
        Err(refusal) => FromClient::Refuse(Echo { op: Op::BatchRead, ledger, entry: first, id }, refusal),
    })
}

/// Encodes the reply to the request that `echo` is of.
pub fn encode_reply(echo: &Echo, outcome: Outcome, out: &mut Outgoing) {
    let op = match echo.op {
        Op::Add => ADD,
        Op::Read => READ,
        Op::BatchRead => BATCH_READ,
        Op::Other(op) => op as u8,
        _ => return encode_head(0, &Err(Refusal::BadRequest), echo, 0, out),
    };
    match outcome {
        Ok(Answer::Entry { body, .. }) => {
            encode_head(op, &Ok(()), echo, body.len(), out);
            out.bytes(body);
        }
        Ok(Answer::Entries(entries)) => encode_entries(op, echo, entries, out),
        Ok(_) => encode_head(op, &Ok(()), echo, 0, out),
        Err(refusal) => encode_head(op, &Err(refusal), echo, 0, out),
    }
}

fn encode_head(op: u8, result: &Result<(), Refusal>, echo: &Echo, rest: usize, out: &mut Outgoing) {
    let id = if echo.op == Op::BatchRead { 8 } else { 0 };
    let fields = out.fields();
    fields.reserve(frame::LENGTH + REPLY + id);
    fields.put_u32((REPLY + id + rest) as u32);
    fields.put_u32(header(op, 0));
    fields.put_u32(result.map_or_else(codes::v2, |()| codes::OK));
    fields.put_i64(echo.ledger.0);
    fields.put_i64(echo.entry.0);
    if id > 0 {
        fields.put_u64(echo.id);
    }
}

fn encode_entries(op: u8, echo: &Echo, mut entries: Vec<Bytes>, out: &mut Outgoing) {
    entries.truncate(that_fit(&entries, 4, MAX_FRAME - BATCH_HEADS as usize));
    let size = entries.iter().map(|entry| entry.len() + 4).sum();
    encode_head(op, &Ok(()), echo, size, out);
    for entry in entries {
        out.fields().put_u32(entry.len() as u32);
        out.bytes(entry);
    }
}

/// Encodes a greeting or the answer to one: AUTH has the same form in both directions.
pub fn encode_auth(auth: &Auth, out: &mut Outgoing) {
    let fields = out.fields();
    fields.put_u32(4 + auth.encoded_len() as u32);
    fields.put_u32(header(AUTH, 0));
    fields.put_slice(&auth.encode_to_vec());
}

/// Encodes a request; `id` is used by batch reads. What is returned is what the reply will repeat.
pub fn encode_request(request: &Request, id: u64, out: &mut Outgoing) -> Result<Echo, Unsendable> {
    let flag = |set: bool, flag: u16| if set { flag } else { 0 };
    let read_flags = |options: &ReadOptions| {
        flag(options.fence.is_some(), FENCE) | flag(options.high_priority, HIGH_PRIORITY)
    };
    match request {
        Request::Add { key, body, options, .. } if !options.deferred_sync => {
            let length = 24 + body.len();
            if frame::LENGTH + length > MAX_FRAME {
                return Err(Unsendable::TooLarge(length));
            }
            let flags = flag(options.recovery, RECOVERY) | flag(options.high_priority, HIGH_PRIORITY);
            let fields = out.fields();
            fields.put_u32(length as u32);
            fields.put_u32(header(ADD, flags));
            fields.put_slice(&key.0);
            out.body(body);
            Ok(request.echo(0))
        }
        Request::Read { ledger, entry, options } if options.previous_lac.is_none() => {
            let fields = out.fields();
            fields.put_u32(20 + options.fence.map_or(0, |key| key.0.len() as u32));
            fields.put_u32(header(READ, read_flags(options)));
            fields.put_i64(ledger.0);
            fields.put_i64(entry.0);
            options.fence.iter().for_each(|key| fields.put_slice(&key.0));
            Ok(request.echo(0))
        }
        Request::BatchRead { ledger, first, max_count, max_bytes, options } => {
            let fields = out.fields();
            fields.put_u32(40 + options.fence.map_or(0, |key| key.0.len() as u32));
            fields.put_u32(header(BATCH_READ, read_flags(options)));
            fields.put_i64(ledger.0);
            fields.put_i64(first.0);
            fields.put_u64(id);
            fields.put_i32(i32::try_from(*max_count).unwrap_or(i32::MAX));
            fields.put_i64(i64::try_from(max_bytes.saturating_add(BATCH_HEADS)).unwrap_or(i64::MAX));
            options.fence.iter().for_each(|key| fields.put_slice(&key.0));
            Ok(request.echo(id))
        }
        _ => Err(Unsendable::NotOnThisWire),
    }
}

/// What a bookie sent.
#[derive(Clone, Debug, PartialEq)]
pub enum FromBookie {
    Reply(Echo, Outcome),
    Auth(Auth),
}

/// Decodes a frame from a bookie.
pub fn decode_reply(mut frame: Bytes) -> Result<FromBookie, Garbage> {
    let [version, op, ..] = frame.try_get_u32().map_err(|_| SHORT)?.to_be_bytes();
    if version != FIRST_BYTE {
        return Err(Garbage("a reply of another protocol version than 2"));
    }
    if op == AUTH {
        let auth = Auth::decode(frame).map_err(|_| Garbage("an AUTH reply that is not an AuthMessage"))?;
        return Ok(FromBookie::Auth(auth));
    }
    let result = codes::meaning(frame.try_get_u32().map_err(|_| SHORT)?);
    let ledger = LedgerId(frame.try_get_i64().map_err(|_| SHORT)?);
    let entry = EntryId(frame.try_get_i64().map_err(|_| SHORT)?);
    let (op, id, answer) = match op {
        ADD => (Op::Add, 0, Answer::Added),
        READ => (Op::Read, 0, Answer::Entry { body: frame, max_lac: None }),
        BATCH_READ => {
            let id = frame.try_get_u64().map_err(|_| SHORT)?;
            (Op::BatchRead, id, Answer::Entries(decode_entries(frame)?))
        }
        _ => return Err(Garbage("a reply to an operation that v2 does not have")),
    };
    Ok(FromBookie::Reply(Echo { op, ledger, entry, id }, result.map(|()| answer)))
}

fn decode_entries(mut frame: Bytes) -> Result<Vec<Bytes>, Garbage> {
    let mut entries = Vec::new();
    while frame.has_remaining() {
        let size = frame.try_get_u32().map_err(|_| SHORT)? as usize;
        if size > frame.len() {
            return Err(SHORT);
        }
        entries.push(frame.split_to(size));
    }
    Ok(entries)
}

#[cfg(test)]
#[path = "v2_tests.rs"]
mod tests;
