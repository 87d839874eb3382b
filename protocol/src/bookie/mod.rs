//! What one asks of a bookie and what it answers, free of any encoding.
//!
//! v2, v3 and our extension all decode into [`Request`] and encode from [`Outcome`], so a bookie, an in-process
//! transport and the simulation know one language.

pub mod availability;
pub mod codes;
pub mod extension;
pub mod v2;
pub mod v3;
mod wire;

#[cfg(test)]
pub(crate) mod golden;

use bytes::{Buf, Bytes};

use crate::entry::MasterKey;
use crate::{EntryId, LedgerId};

pub use crate::{Garbage, Outgoing, frame};
pub use availability::Runs;
pub use wire::{Auth, Echo, FromClient, Op, Unsendable};

/// An encoded entry in two pieces, so that a writer need not copy a payload behind its header: the entry is `head`
/// followed by `payload`. Where an entry is in one piece, `payload` is empty.
#[derive(Clone, Debug, Default)]
pub struct Body {
    pub head: Bytes,
    pub payload: Bytes,
}

impl Body {
    pub fn len(&self) -> usize {
        self.head.len() + self.payload.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Both pieces, in order: what a vectored write takes.
    pub fn pieces(&self) -> [&Bytes; 2] {
        [&self.head, &self.payload]
    }

    /// In one piece; copies only if there are two.
    pub fn joined(&self) -> Bytes {
        if self.payload.is_empty() {
            return self.head.clone();
        }
        [self.head.as_ref(), self.payload.as_ref()].concat().into()
    }
}

impl From<Bytes> for Body {
    fn from(head: Bytes) -> Body {
        Body { head, payload: Bytes::new() }
    }
}

/// The same bytes, wherever they are cut.
impl PartialEq for Body {
    fn eq(&self, other: &Body) -> bool {
        let bytes = |body: &Body| body.head.clone().chain(body.payload.clone()).into_iter();
        self.len() == other.len() && bytes(self).eq(bytes(other))
    }
}

impl Eq for Body {}

/// One request. Everything a bookie can be asked, by whichever wire it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Store an entry. `body` is the whole encoded entry, its ids included ([`crate::entry`]).
    Add { ledger: LedgerId, entry: EntryId, key: MasterKey, body: Body, options: AddOptions },
    /// Read one entry; [`EntryId::NONE`] asks for the stored entry with the highest id.
    Read { ledger: LedgerId, entry: EntryId, options: ReadOptions },
    /// Read consecutive entries from `first`: all that exist, up to `max_count` (0: any) and `max_bytes` (the sum of
    /// their lengths, and 4 more for each). The first is sent whatever its size.
    BatchRead { ledger: LedgerId, first: EntryId, max_count: u32, max_bytes: u64, options: ReadOptions },
    /// Read a range of bytes of one entry's encoded form (extension).
    ReadRange { ledger: LedgerId, entry: EntryId, from: u32, len: u32 },
    /// How long the encoded forms of consecutive entries from `first` are, at most `max_count` of them (extension).
    Lengths { ledger: LedgerId, first: EntryId, max_count: u32 },
    /// Store an explicit LAC packet.
    WriteLac { ledger: LedgerId, lac: EntryId, key: MasterKey, packet: Bytes },
    /// The explicit LAC packet and the last stored entry.
    ReadLac { ledger: LedgerId },
    /// Make deferred adds durable.
    Force { ledger: LedgerId },
    /// Free and total disk space.
    Info,
    /// Which entries of a ledger are stored here.
    ListEntries { ledger: LedgerId },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddOptions {
    /// Taken by fenced ledgers too.
    pub recovery: bool,
    /// Taken by a read-only bookie while its reserve lasts.
    pub high_priority: bool,
    /// Acknowledged when written; durable with the next [`Request::Force`].
    pub deferred_sync: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// Fence the ledger first, with this key; no answer of any kind before the fence is durable.
    pub fence: Option<MasterKey>,
    pub high_priority: bool,
    /// Answer also with the highest LAC known here.
    pub piggyback_lac: bool,
    /// Long poll: answer once the LAC known here is above this one, or after `wait_ms`. If the entry asked for is
    /// [`EntryId::NONE`], the answer is the entry after `previous_lac` when the LAC known here covers it and it is
    /// stored here, and otherwise an empty body; in both cases with the LAC.
    pub previous_lac: Option<EntryId>,
    pub wait_ms: u32,
}

/// What a bookie says to a request.
pub type Outcome = Result<Answer, Refusal>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Added,
    /// One encoded entry; `max_lac` where it was asked for.
    Entry {
        body: Bytes,
        max_lac: Option<EntryId>,
    },
    /// Encoded entries, the first at the requested id, without holes.
    Entries(Vec<Bytes>),
    Range(Bytes),
    /// Lengths of encoded entries, the first at the requested id, without holes.
    Lengths(Vec<u32>),
    LacWritten,
    Lac {
        packet: Option<Bytes>,
        last_entry: Option<Bytes>,
    },
    Forced,
    Info {
        free: u64,
        total: u64,
    },
    /// Ids of stored entries.
    List(Runs),
}

/// Why a bookie did not do what it was asked. Only [`Refusal::NoLedger`] and [`Refusal::NoEntry`] speak of the data:
/// they are durable truths. All others count for nothing in recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    #[error("the bookie has never had this ledger")]
    NoLedger,
    #[error("the bookie has the ledger but not this entry")]
    NoEntry,
    #[error("the request makes no sense to the bookie")]
    BadRequest,
    #[error("the bookie cannot read or write its disk, or cannot reach metadata")]
    Io,
    #[error("the ledger has another password")]
    Unauthorized,
    #[error("the bookie does not speak this protocol version or operation")]
    BadVersion,
    #[error("the ledger is fenced: another writer or a recovery has taken it over")]
    Fenced,
    #[error("the bookie is read-only")]
    ReadOnly,
    #[error("the bookie has too much to do")]
    TooManyRequests,
    /// Limbo: the bookie may have lost data of this ledger. v2 peers are told [`Refusal::Io`].
    #[error("the bookie cannot tell whether it had this entry")]
    Unknown,
}

impl Refusal {
    /// Whether this is an explicit, durable "it is not here" (recovery rule R7).
    pub fn is_negative(self) -> bool {
        matches!(self, Refusal::NoLedger | Refusal::NoEntry)
    }
}

impl Request {
    pub fn ledger(&self) -> Option<LedgerId> {
        match self {
            Request::Add { ledger, .. }
            | Request::Read { ledger, .. }
            | Request::BatchRead { ledger, .. }
            | Request::ReadRange { ledger, .. }
            | Request::Lengths { ledger, .. }
            | Request::WriteLac { ledger, .. }
            | Request::ReadLac { ledger }
            | Request::Force { ledger }
            | Request::ListEntries { ledger } => Some(*ledger),
            Request::Info => None,
        }
    }
}
