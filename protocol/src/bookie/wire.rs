//! What all wires have in common: what a reply repeats of its request, and what a frame from a client can be.

use bytes::{Buf, Bytes};

use super::{Refusal, Request};
use crate::entry::MasterKey;
use crate::{EntryId, LedgerId};

/// What is asked, without its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    Add,
    Read,
    /// v3's long poll for whatever entry comes next: it is answered under that entry's id.
    Poll,
    BatchRead,
    ReadRange,
    Lengths,
    WriteLac,
    ReadLac,
    Force,
    Info,
    ListEntries,
    /// One that this wire has and we refuse, by its number.
    Other(u32),
}

/// What a reply repeats of its request: all that must be remembered to encode it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Echo {
    pub op: Op,
    pub ledger: LedgerId,
    pub entry: EntryId,
    /// v3's transaction, a v2 batch read's request id, otherwise 0.
    pub id: u64,
}

/// A greeting: the name of a plug-in and its data. BookKeeper's AuthMessage.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Auth {
    #[prost(string, required, tag = "1")]
    pub plugin: String,
    #[prost(bytes = "bytes", required, tag = "2")]
    pub payload: Bytes,
}

impl Auth {
    /// What BookKeeper answers when no plug-in is configured.
    pub fn disabled() -> Auth {
        Auth { plugin: "AuthDisabledPlugin".into(), payload: Bytes::new() }
    }
}

/// What a frame from a client holds.
#[derive(Clone, Debug, PartialEq)]
pub enum FromClient {
    Ask(Echo, Request),
    /// Understood well enough to be refused by name.
    Refuse(Echo, Refusal),
    Auth {
        id: u64,
        auth: Auth,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsendable {
    #[error("this wire cannot say that")]
    NotOnThisWire,
    #[error("a request of {0} bytes does not fit into a frame")]
    TooLarge(usize),
}

impl Request {
    pub fn op(&self) -> Op {
        match self {
            Request::Add { .. } => Op::Add,
            Request::Read { .. } => Op::Read,
            Request::BatchRead { .. } => Op::BatchRead,
            Request::ReadRange { .. } => Op::ReadRange,
            Request::Lengths { .. } => Op::Lengths,
            Request::WriteLac { .. } => Op::WriteLac,
            Request::ReadLac { .. } => Op::ReadLac,
            Request::Force { .. } => Op::Force,
            Request::Info => Op::Info,
            Request::ListEntries { .. } => Op::ListEntries,
        }
    }

    /// What a reply to this request, sent under `id`, repeats.
    pub fn echo(&self, id: u64) -> Echo {
        let entry = match self {
            Request::Add { entry, .. } | Request::Read { entry, .. } | Request::ReadRange { entry, .. } => {
                *entry
            }
            Request::BatchRead { first, .. } | Request::Lengths { first, .. } => *first,
            Request::WriteLac { lac, .. } => *lac,
            _ => EntryId::NONE,
        };
        Echo { op: self.op(), ledger: self.ledger().unwrap_or(LedgerId(-1)), entry, id }
    }
}

/// Takes a master key off the front.
pub(super) fn take_key(frame: &mut Bytes) -> Option<MasterKey> {
    let key = *frame.first_chunk::<20>()?;
    frame.advance(key.len());
    Some(MasterKey(key))
}

/// How many of `entries` fit into `room` bytes, each with `per_entry` bytes of its own.
pub(super) fn that_fit(entries: &[Bytes], per_entry: usize, mut room: usize) -> usize {
    entries
        .iter()
        .take_while(|entry| match room.checked_sub(entry.len() + per_entry) {
            Some(rest) => {
                room = rest;
                true
            }
            None => false,
        })
        .count()
}
