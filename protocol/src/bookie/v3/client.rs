//! The client's side of v3.

use bytes::{BufMut, Bytes};
use prost::Message;

use super::messages::{self, OfLedger, operation};
use crate::EntryId;
use crate::bookie::{
    Answer, Garbage, Op, Outcome, Outgoing, ReadOptions, Refusal, Request, Runs, Unsendable, codes, frame,
};
use crate::entry::MAX_FRAME;

/// Encodes a request under the transaction `id`.
pub fn encode_request(request: &Request, id: u64, out: &mut Outgoing) -> Result<(), Unsendable> {
    let of = |ledger: &crate::LedgerId| Some(OfLedger { ledger: ledger.0 });
    let mut message = messages::Request::default();
    let mut high_priority = false;
    let operation = match request {
        Request::Add { ledger, entry, key, body, options } => {
            high_priority = options.high_priority;
            message.add = Some(messages::Add {
                ledger: ledger.0,
                entry: entry.0,
                key: Bytes::copy_from_slice(&key.0),
                body: body.joined(),
                write_flags: options.deferred_sync.then_some(messages::DEFERRED_SYNC),
                flag: options.recovery.then_some(messages::ADD_RECOVERS),
            });
            operation::ADD
        }
        Request::Read { ledger, entry, options } => {
            high_priority = options.high_priority;
            message.read = Some(read(ledger.0, *entry, options)?);
            operation::READ
        }
        Request::WriteLac { ledger, lac, key, packet } => {
            message.write_lac = Some(messages::WriteLac {
                ledger: ledger.0,
                lac: lac.0,
                key: Bytes::copy_from_slice(&key.0),
                body: packet.clone(),
            });
            operation::WRITE_LAC
        }
        Request::ReadLac { ledger } => {
            message.read_lac = of(ledger);
            operation::READ_LAC
        }
        Request::Force { ledger } => {
            message.force = of(ledger);
            operation::FORCE
        }
        Request::Info => {
            message.info =
                Some(messages::Info { requested: Some(messages::TOTAL_SPACE | messages::FREE_SPACE) });
            operation::INFO
        }
        Request::ListEntries { ledger } => {
            message.list = of(ledger);
            operation::LIST_ENTRIES
        }
        Request::BatchRead { .. } | Request::ReadRange { .. } | Request::Lengths { .. } => {
            return Err(Unsendable::NotOnThisWire);
        }
    };
    message.header = Some(messages::Header {
        version: messages::VERSION_THREE,
        operation,
        txn: id,
        priority: high_priority.then_some(100),
    });
    let length = message.encoded_len();
    if length + frame::LENGTH > MAX_FRAME {
        return Err(Unsendable::TooLarge(length));
    }
    let fields = out.fields();
    fields.reserve(frame::LENGTH + length);
    fields.put_u32(length as u32);
    // Room was made just now, which is all that encoding can lack.
    let _ = message.encode(fields);
    Ok(())
}

fn read(ledger: i64, entry: EntryId, options: &ReadOptions) -> Result<messages::Read, Unsendable> {
    let polls = options.previous_lac.is_some();
    let flag = match options.fence {
        Some(_) if polls => return Err(Unsendable::NotOnThisWire),
        Some(_) => Some(messages::READ_FENCES),
        None if polls && entry.is_none() => Some(messages::READ_ENTRY_WITH_LAC),
        None => None,
    };
    Ok(messages::Read {
        ledger,
        entry: entry.0,
        key: options.fence.map(|key| Bytes::copy_from_slice(&key.0)),
        previous_lac: options.previous_lac.map(|lac| lac.0),
        time_out: polls.then_some(options.wait_ms.into()),
        flag,
    })
}

/// Decodes a frame from a bookie: the transaction, the operation, and what came of it.
pub fn decode_reply(frame: Bytes) -> Result<(u64, Outcome), Garbage> {
    let message =
        messages::Response::decode(frame).map_err(|_| Garbage("a frame that is not a v3 response"))?;
    let header = message.header.as_ref().ok_or(Garbage("a v3 response without a header"))?;
    let id = header.txn;
    Ok((
        id,
        match codes::v3_meaning(message.status) {
            Ok(()) => answer(header.operation, message)?,
            Err(refusal) => Err(refusal),
        },
    ))
}

/// The answer in a response that says "done", which may still say otherwise inside.
fn answer(op: i32, message: messages::Response) -> Result<Outcome, Garbage> {
    const EMPTY: Garbage = Garbage("a v3 response without what it answers");
    let (status, answer) = match op {
        operation::ADD => (message.add.ok_or(EMPTY)?.status, done(Op::Add)),
        operation::WRITE_LAC => (message.write_lac.ok_or(EMPTY)?.status, done(Op::WriteLac)),
        operation::FORCE => (message.force.ok_or(EMPTY)?.status, done(Op::Force)),
        operation::READ => {
            let read = message.read.ok_or(EMPTY)?;
            let body = read.body.unwrap_or_default();
            (read.status, Ok(Answer::Entry { body, max_lac: read.max_lac.map(EntryId) }))
        }
        operation::READ_LAC => {
            let lac = message.read_lac.ok_or(EMPTY)?;
            (lac.status, Ok(Answer::Lac { packet: lac.packet, last_entry: lac.last_entry }))
        }
        operation::INFO => {
            let info = message.info.ok_or(EMPTY)?;
            let bytes = |space: Option<i64>| space.unwrap_or(0).max(0).unsigned_abs();
            (info.status, Ok(Answer::Info { free: bytes(info.free), total: bytes(info.total) }))
        }
        operation::LIST_ENTRIES => {
            let list = message.list.ok_or(EMPTY)?;
            let runs = list.entries.map_or(Ok(Runs::default()), Runs::decode)?;
            (list.status, Ok(Answer::List(runs)))
        }
        _ => return Err(Garbage("a v3 response to an operation that was never asked")),
    };
    Ok(codes::v3_meaning(status).and(answer))
}

fn done(op: Op) -> Outcome {
    op.done().ok_or(Refusal::Io)
}
