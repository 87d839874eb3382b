//! The bookie's side of v3.

use bytes::{BufMut, Bytes};
use prost::Message;

use super::messages::{self, EntryStatus, LedgerStatus, operation};
use crate::bookie::{
    AddOptions, Answer, Auth, Echo, FromClient, Garbage, Op, Outcome, Outgoing, ReadOptions, Refusal,
    Request, codes, frame,
};
use crate::entry::{self, MAX_FRAME, MasterKey};
use crate::{EntryId, LedgerId};

/// Decodes a frame from a client.
pub fn decode_request(frame: Bytes) -> Result<FromClient, Garbage> {
    let message =
        messages::Request::decode(frame).map_err(|_| Garbage("a frame that is not a v3 request"))?;
    let header = message.header.ok_or(Garbage("a v3 request without a header"))?;
    let id = header.txn;
    if let (operation::AUTH, Some(auth)) = (header.operation, &message.auth) {
        return Ok(FromClient::Auth { id, auth: auth.clone() });
    }
    let high_priority = header.priority.is_some_and(|priority| priority > 0);
    let asked = match header.operation {
        operation::READ => message.read.map(|read| decode_read(read, id, high_priority)),
        operation::ADD => message.add.map(|add| decode_add(add, id, high_priority)),
        operation::WRITE_LAC => message.write_lac.map(|lac| decode_write_lac(lac, id)),
        operation::READ_LAC => {
            message.read_lac.map(|of| ask(Request::ReadLac { ledger: LedgerId(of.ledger) }, id))
        }
        operation::INFO => message.info.map(|_| ask(Request::Info, id)),
        operation::FORCE => message.force.map(|of| ask(Request::Force { ledger: LedgerId(of.ledger) }, id)),
        operation::LIST_ENTRIES => {
            message.list.map(|of| ask(Request::ListEntries { ledger: LedgerId(of.ledger) }, id))
        }
        _ => None,
    };
    let asked = asked.unwrap_or_else(|| {
        let op = Op::Other(header.operation.unsigned_abs());
        FromClient::Refuse(Echo { op, ledger: LedgerId(-1), entry: EntryId::NONE, id }, Refusal::BadRequest)
    });
    Ok(match asked {
        FromClient::Ask(echo, _) if header.version != messages::VERSION_THREE => {
            FromClient::Refuse(echo, Refusal::BadVersion)
        }
        asked => asked,
    })
}

fn ask(request: Request, id: u64) -> FromClient {
    FromClient::Ask(request.echo(id), request)
}

fn key_of(bytes: &[u8]) -> Option<MasterKey> {
    Some(MasterKey(bytes.try_into().ok()?))
}

fn decode_read(read: messages::Read, id: u64, high_priority: bool) -> FromClient {
    let (ledger, entry) = (LedgerId(read.ledger), EntryId(read.entry));
    let entry_with_lac = read.flag == Some(messages::READ_ENTRY_WITH_LAC);
    let op = if entry_with_lac { Op::Poll } else { Op::Read };
    let echo = Echo { op, ledger, entry, id };
    let fences = read.flag == Some(messages::READ_FENCES);
    let fence = match read.key.as_deref().and_then(key_of) {
        None if fences => return FromClient::Refuse(echo, Refusal::Unauthorized),
        key => key.filter(|_| fences),
    };
    if entry_with_lac && !(read.previous_lac.is_some() && entry.is_none()) {
        return FromClient::Refuse(echo, Refusal::BadRequest);
    }
    // A long poll for "the last entry" without the flag has nothing to wait for that it would return.
    let polls = !fences && (entry_with_lac || !entry.is_none());
    let options = ReadOptions {
        fence,
        high_priority,
        piggyback_lac: !fences,
        previous_lac: read.previous_lac.map(EntryId).filter(|_| polls),
        wait_ms: read.time_out.map_or(0, |ms| u32::try_from(ms.max(0)).unwrap_or(u32::MAX)),
    };
    FromClient::Ask(echo, Request::Read { ledger, entry, options })
}

fn decode_add(add: messages::Add, id: u64, high_priority: bool) -> FromClient {
    let (ledger, entry) = (LedgerId(add.ledger), EntryId(add.entry));
    let echo = Echo { op: Op::Add, ledger, entry, id };
    let Some(key) = key_of(&add.key) else { return FromClient::Refuse(echo, Refusal::Unauthorized) };
    let named = entry::Header::of(&add.body).map(|header| (header.ledger, header.entry));
    if named != Some((ledger, entry)) || add.body.len() > super::super::extension::MAX_ENTRY {
        return FromClient::Refuse(echo, Refusal::BadRequest);
    }
    let options = AddOptions {
        recovery: add.flag == Some(messages::ADD_RECOVERS),
        high_priority,
        deferred_sync: add.write_flags.is_some_and(|flags| flags & messages::DEFERRED_SYNC != 0),
    };
    FromClient::Ask(echo, Request::Add { ledger, entry, key, body: add.body.into(), options })
}

fn decode_write_lac(lac: messages::WriteLac, id: u64) -> FromClient {
    let (ledger, entry) = (LedgerId(lac.ledger), EntryId(lac.lac));
    let echo = Echo { op: Op::WriteLac, ledger, entry, id };
    match key_of(&lac.key) {
        Some(key) => FromClient::Ask(echo, Request::WriteLac { ledger, lac: entry, key, packet: lac.body }),
        None => FromClient::Refuse(echo, Refusal::Unauthorized),
    }
}

fn operation(op: Op) -> i32 {
    match op {
        Op::Add => operation::ADD,
        Op::Read | Op::Poll => operation::READ,
        Op::WriteLac => operation::WRITE_LAC,
        Op::ReadLac => operation::READ_LAC,
        Op::Force => operation::FORCE,
        Op::Info => operation::INFO,
        Op::ListEntries => operation::LIST_ENTRIES,
        Op::Other(operation) => operation as i32,
        Op::BatchRead | Op::ReadRange | Op::Lengths => 0,
    }
}

fn response(op: Op, id: u64, status: i32) -> messages::Response {
    let header = messages::Header {
        version: messages::VERSION_THREE,
        operation: operation(op),
        txn: id,
        priority: None,
    };
    messages::Response { header: Some(header), status, ..messages::Response::default() }
}

/// Encodes the reply to the request that `echo` is of.
pub fn encode_reply(echo: &Echo, outcome: Outcome, out: &mut Outgoing) {
    let mut message = reply(echo, outcome);
    if message.encoded_len() + frame::LENGTH > MAX_FRAME {
        message = reply(echo, Err(Refusal::TooManyRequests));
    }
    put(&message, out);
}

fn put(message: &messages::Response, out: &mut Outgoing) {
    let length = message.encoded_len();
    let fields = out.fields();
    fields.reserve(frame::LENGTH + length);
    fields.put_u32(length as u32);
    // Room was made just now, which is all that encoding can lack.
    let _ = message.encode(fields);
}

fn reply(echo: &Echo, outcome: Outcome) -> messages::Response {
    let status = outcome.as_ref().err().map_or(0, |refusal| codes::v3(*refusal));
    let (ledger, entry) = (echo.ledger.0, echo.entry.0);
    let mut message = response(echo.op, echo.id, status);
    match echo.op {
        Op::Add => message.add = Some(EntryStatus { status, ledger, entry }),
        Op::WriteLac => message.write_lac = Some(LedgerStatus { status, ledger }),
        Op::Force => message.force = Some(LedgerStatus { status, ledger }),
        Op::Read | Op::Poll => message.read = Some(read_reply(echo, status, outcome.ok())),
        Op::ReadLac => {
            let (packet, last_entry) = match outcome {
                Ok(Answer::Lac { packet, last_entry }) => (packet, last_entry),
                _ => (None, None),
            };
            message.read_lac = Some(messages::ReadLacResponse { status, ledger, packet, last_entry });
        }
        Op::Info => {
            let (total, free) = match outcome {
                Ok(Answer::Info { free, total }) => (Some(bounded(total)), Some(bounded(free))),
                _ => (None, None),
            };
            message.info = Some(messages::InfoResponse { status, total, free });
        }
        Op::ListEntries => {
            let entries = match outcome {
                Ok(Answer::List(runs)) => Some(runs.encode()),
                _ => None,
            };
            message.list = Some(messages::ListResponse { status, ledger, entries });
        }
        Op::BatchRead | Op::ReadRange | Op::Lengths | Op::Other(_) => {}
    }
    message
}

fn bounded(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// A long poll is answered with the entry after the reader's, whose id is in it, or with none.
fn read_reply(echo: &Echo, status: i32, answer: Option<Answer>) -> messages::ReadResponse {
    let (body, lac) = match answer {
        Some(Answer::Entry { body, max_lac }) => (Some(body).filter(|body| !body.is_empty()), max_lac),
        _ => (None, None),
    };
    let entry = match body.as_deref().and_then(entry::Header::of) {
        Some(header) if echo.op == Op::Poll => header.entry,
        _ => echo.entry,
    };
    messages::ReadResponse {
        status,
        ledger: echo.ledger.0,
        entry: entry.0,
        body,
        max_lac: lac.map(|lac| lac.0),
    }
}

/// Encodes the answer to a greeting.
pub fn encode_auth(id: u64, auth: Auth, out: &mut Outgoing) {
    let mut message = response(Op::Other(operation::AUTH.unsigned_abs()), id, 0);
    message.auth = Some(auth);
    put(&message, out);
}
