//! A bookie for tests: keeps everything in memory and answers at once, or when told to.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::bookie::{Answer, Outcome, Refusal, Request};
use protocol::entry::{Header, MasterKey};
use protocol::{EntryId, LedgerId};

use crate::{Failure, Pressure, ReplyTo, Service};

#[derive(Default)]
pub(crate) struct Toy {
    ledgers: Mutex<BTreeMap<LedgerId, Ledger>>,
    /// While set, requests are kept unanswered.
    pub held: Mutex<Option<Vec<(Request, ReplyTo)>>>,
    /// All adds, in the order in which they came.
    pub adds: Mutex<Vec<EntryId>>,
}

struct Ledger {
    key: MasterKey,
    fenced: bool,
    entries: BTreeMap<EntryId, Bytes>,
    lac: Option<Bytes>,
}

impl Toy {
    pub fn hold(&self) {
        self.held.lock().get_or_insert_default();
    }

    pub fn release(&self) {
        let held = self.held.lock().take().unwrap_or_default();
        held.into_iter().for_each(|(request, duty)| self.answer(request, duty));
    }

    fn answer(&self, request: Request, duty: ReplyTo) {
        duty.answer(self.outcome(request).map_err(Failure::Refused));
    }

    fn outcome(&self, request: Request) -> Outcome {
        let mut ledgers = self.ledgers.lock();
        if matches!(request, Request::Info) {
            return Ok(Answer::Info { free: 100, total: 200 });
        }
        let id = request.ledger().unwrap_or(LedgerId(-1));
        if let Request::Add { key, .. } | Request::WriteLac { key, .. } = &request {
            let fresh = Ledger { key: *key, fenced: false, entries: BTreeMap::new(), lac: None };
            if ledgers.entry(id).or_insert(fresh).key != *key {
                return Err(Refusal::Unauthorized);
            }
        }
        let ledger = ledgers.get_mut(&id).ok_or(Refusal::NoLedger)?;
        match request {
            Request::Add { entry, body, options, .. } => {
                self.adds.lock().push(entry);
                if ledger.fenced && !options.recovery {
                    return Err(Refusal::Fenced);
                }
                ledger.entries.insert(entry, body.joined());
                Ok(Answer::Added)
            }
            Request::Read { entry, options, .. } => {
                ledger.fenced |= options.fence.is_some();
                let found = match entry {
                    EntryId::NONE => ledger.entries.last_key_value().map(|(_, body)| body),
                    entry => ledger.entries.get(&entry),
                };
                let body = found.cloned().ok_or(Refusal::NoEntry)?;
                let max_lac = options.piggyback_lac.then(|| ledger.max_lac());
                Ok(Answer::Entry { body, max_lac })
            }
            Request::BatchRead { first, max_count, max_bytes, .. } => {
                ledger.batch(first, max_count, max_bytes)
            }
            Request::ReadRange { entry, from, len, .. } => {
                let body = ledger.entries.get(&entry).ok_or(Refusal::NoEntry)?;
                Ok(Answer::Range(crate::client::cut(body, from, len)))
            }
            Request::Lengths { first, max_count, .. } => {
                let held = ledger.entries.range(first..).zip(first.0..);
                let consecutive = held.take_while(|((entry, _), expected)| entry.0 == *expected);
                let lengths = consecutive.map(|((_, body), _)| body.len() as u32).take(max_count as usize);
                Ok(Answer::Lengths(lengths.collect()))
            }
            Request::WriteLac { packet, .. } => {
                ledger.lac = Some(packet);
                Ok(Answer::LacWritten)
            }
            Request::ReadLac { .. } => {
                let last_entry = ledger.entries.last_key_value().map(|(_, body)| body.clone());
                Ok(Answer::Lac { packet: ledger.lac.clone(), last_entry })
            }
            Request::Force { .. } => Ok(Answer::Forced),
            Request::ListEntries { .. } => {
                Ok(Answer::List(ledger.entries.keys().map(|id| (*id, *id)).collect()))
            }
            Request::Info => Err(Refusal::BadRequest),
        }
    }
}

impl Ledger {
    fn max_lac(&self) -> EntryId {
        let lacs = self.entries.values().filter_map(|body| Header::of(body)).map(|header| header.lac);
        lacs.max().unwrap_or(EntryId::NONE)
    }

    fn batch(&self, first: EntryId, max_count: u32, max_bytes: u64) -> Outcome {
        let mut entries: Vec<Bytes> = Vec::new();
        let mut room = max_bytes;
        let mut next = first;
        while let Some(body) = self.entries.get(&next) {
            let size = body.len() as u64 + 4;
            let full = max_count > 0 && entries.len() as u32 == max_count || room < size;
            if full && !entries.is_empty() {
                break;
            }
            room = room.saturating_sub(size);
            entries.push(body.clone());
            next = next.next();
        }
        if entries.is_empty() { Err(Refusal::NoEntry) } else { Ok(Answer::Entries(entries)) }
    }
}

impl Service for Toy {
    fn submit(&self, batch: Vec<(Request, ReplyTo)>) -> Pressure {
        if let Some(held) = &mut *self.held.lock() {
            held.extend(batch);
            return Pressure::Room;
        }
        batch.into_iter().for_each(|(request, duty)| self.answer(request, duty));
        Pressure::Room
    }

    fn room(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::ready(()))
    }
}

/// An add of a `size`-byte payload.
pub(crate) fn add(ledger: i64, entry: i64, size: usize) -> Request {
    let header =
        Header { ledger: LedgerId(ledger), entry: EntryId(entry), lac: EntryId(entry - 1), length: 1 };
    let body = protocol::bookie::Body {
        head: Bytes::copy_from_slice(&header.encode()),
        payload: Bytes::from(vec![entry as u8; size]),
    };
    Request::Add { ledger: header.ledger, entry: header.entry, key: key(), body, options: Default::default() }
}

/// The bytes of the entry that [`add`] adds.
pub(crate) fn bytes(ledger: i64, entry: i64, size: usize) -> Bytes {
    match add(ledger, entry, size) {
        Request::Add { body, .. } => body.joined(),
        _ => Bytes::new(),
    }
}

pub(crate) fn read(ledger: i64, entry: i64) -> Request {
    Request::Read { ledger: LedgerId(ledger), entry: EntryId(entry), options: Default::default() }
}

pub(crate) fn key() -> MasterKey {
    MasterKey::of(b"")
}
