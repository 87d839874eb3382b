//! A ledger's metadata: `{scope}/ledgers/<uuid>`, as BookKeeper writes it. Formats 1 to 3 are read, 3 is written.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use prost::Message;
use protocol::entry::DigestType;
use protocol::{BookieId, EntryId, LedgerId};

use super::ledger_text;
use crate::Error;

const HEADER: &[u8] = b"BookieMetadataFormatVersion\t";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Open,
    InRecovery,
    /// `length`: payload bytes of all entries up to and including `last`.
    Closed {
        last: EntryId,
        length: i64,
    },
}

/// Which bookies hold the entries from `first` up to the next segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    pub first: EntryId,
    /// Exactly `ensemble_size` of them; entry e is on `write_quorum` bookies from index e mod E on.
    pub ensemble: Vec<BookieId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerMetadata {
    pub ensemble_size: u32,
    pub write_quorum: u32,
    pub ack_quorum: u32,
    pub state: State,
    /// At least one; ascending by `first`.
    pub segments: Vec<Segment>,
    pub digest: DigestType,
    pub password: Bytes,
    /// Milliseconds since 1970; Apache's etcd driver does not store it.
    pub created_ms: Option<i64>,
    pub custom: BTreeMap<String, Bytes>,
    /// Chosen by the creator: tells its own ambiguous creation from another's.
    pub token: i64,
}

/// Whose ledger it is: custom metadata of every ledger that we make. Sweeps touch no ledger without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The log (virtual broker) that it belongs to; empty for a ledger that belongs to none.
    pub vb: String,
    /// What it is to it: `log`, `checkpoint`, `bench`, …
    pub kind: String,
    /// The owner's epoch when it was made.
    pub epoch: u64,
}

/// The value of custom metadata `app` in ledgers of ours.
pub const APP: &str = "stratamq";
/// [`Origin::kind`] of a link of a log.
pub const KIND_LOG: &str = "log";

impl Origin {
    pub fn to_custom(&self) -> BTreeMap<String, Bytes> {
        let text = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        BTreeMap::from([
            ("app".into(), text(APP)),
            ("vb".into(), text(&self.vb)),
            ("kind".into(), text(&self.kind)),
            ("epoch".into(), text(&self.epoch.to_string())),
        ])
    }
}

impl LedgerMetadata {
    /// Where the segment of `entry` is in `segments`.
    pub fn segment_of(&self, entry: EntryId) -> Option<usize> {
        self.segments.partition_point(|segment| segment.first <= entry).checked_sub(1)
    }

    pub fn last_segment(&self) -> Option<&Segment> {
        self.segments.last()
    }

    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    /// Whether any segment names `bookie`.
    pub fn names(&self, bookie: &BookieId) -> bool {
        self.segments.iter().any(|segment| segment.ensemble.contains(bookie))
    }

    /// The last entry that a segment may hold; none while the last segment is still growing.
    pub fn segment_end(&self, index: usize) -> Option<EntryId> {
        match (self.segments.get(index + 1), self.state) {
            (Some(next), _) => Some(EntryId(next.first.0 - 1)),
            (None, State::Closed { last, .. }) => Some(last),
            (None, _) => None,
        }
    }

    /// Who made it; none for ledgers of other applications.
    pub fn origin(&self) -> Option<Origin> {
        let text = |name: &str| Some(String::from_utf8_lossy(self.custom.get(name)?).into_owned());
        if text("app")? != APP {
            return None;
        }
        let epoch = text("epoch").and_then(|epoch| epoch.parse().ok()).unwrap_or(0);
        Some(Origin { vb: text("vb").unwrap_or_default(), kind: text("kind").unwrap_or_default(), epoch })
    }

    /// Whether this ledger is a link of a log: only the log's owner may open it with recovery.
    pub fn is_log_link(&self) -> bool {
        self.origin().is_some_and(|origin| origin.kind == KIND_LOG)
    }

    /// Format 3.
    pub fn encode(&self) -> Bytes {
        let stored = Stored::of(self);
        let mut out = BytesMut::with_capacity(HEADER.len() + 16 + stored.encoded_len());
        out.extend_from_slice(HEADER);
        out.extend_from_slice(b"3\n");
        prost::encoding::encode_varint(stored.encoded_len() as u64, &mut out);
        stored.encode_raw(&mut out);
        out.freeze()
    }

    /// Formats 1 to 3. Checks all that readers rely on: quorums, sizes of ensembles, order of segments.
    pub fn decode(ledger: LedgerId, value: &[u8]) -> Result<LedgerMetadata, Error> {
        decode(value)
            .map_err(|why| Error::Corrupt(format!("the metadata of ledger {ledger} cannot be read: {why}")))
    }

    pub(super) fn checked(self) -> Result<LedgerMetadata, String> {
        let (e, w, a) = (self.ensemble_size, self.write_quorum, self.ack_quorum);
        if !(e >= w && w >= a && a >= 1) {
            return Err(format!("quorums must fall from ensemble to ack quorum, they are {e}, {w}, {a}"));
        }
        if self.segments.is_empty() {
            return Err("it has no segment".into());
        }
        if let Some(odd) = self.segments.iter().find(|segment| segment.ensemble.len() != e as usize) {
            return Err(format!("segment {} names {} bookies instead of {e}", odd.first, odd.ensemble.len()));
        }
        let rising = self.segments.windows(2).all(|pair| match pair {
            [a, b] => a.first < b.first,
            _ => true,
        });
        if !rising || self.segments.first().is_some_and(|segment| segment.first.0 < 0) {
            return Err("its segments are not in ascending order".into());
        }
        match self.state {
            State::Closed { last, length } if last.0 < -1 || length < 0 => {
                Err(format!("it is closed at entry {last} with {length} bytes"))
            }
            _ => Ok(self),
        }
    }
}

fn decode(value: &[u8]) -> Result<LedgerMetadata, String> {
    let body = value.strip_prefix(HEADER).ok_or("it does not begin with BookieMetadataFormatVersion")?;
    let end = body.iter().take(10).position(|&byte| byte == b'\n').ok_or("its version has no end")?;
    let (version, body) = body.split_at(end);
    let mut body = body.get(1..).unwrap_or_default();
    match version {
        b"3" => {
            let length = prost::encoding::decode_varint(&mut body).map_err(|error| error.to_string())?;
            if length != body.len() as u64 {
                return Err(format!("it says it has {length} bytes, and has {}", body.len()));
            }
            Stored::decode(body).map_err(|error| error.to_string())?.into_metadata()
        }
        b"2" => ledger_text::decode_2(text(body)?)?.into_metadata(),
        b"1" => ledger_text::decode_1(text(body)?),
        other => Err(format!("its format version is '{}', this release knows 1 to 3", text(other)?)),
    }
}

fn text(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|error| error.to_string())
}

/// The message of formats 2 and 3, with BookKeeper's field numbers.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Stored {
    #[prost(int32, required, tag = "1")]
    pub write_quorum: i32,
    #[prost(int32, required, tag = "2")]
    pub ensemble_size: i32,
    #[prost(int64, required, tag = "3")]
    pub length: i64,
    #[prost(int64, optional, tag = "4")]
    pub last_entry: Option<i64>,
    #[prost(int32, required, tag = "5")]
    pub state: i32,
    #[prost(message, repeated, tag = "6")]
    pub segments: Vec<StoredSegment>,
    #[prost(int32, optional, tag = "7")]
    pub digest: Option<i32>,
    #[prost(bytes = "bytes", optional, tag = "8")]
    pub password: Option<Bytes>,
    #[prost(int32, optional, tag = "9")]
    pub ack_quorum: Option<i32>,
    #[prost(int64, optional, tag = "10")]
    pub created_ms: Option<i64>,
    #[prost(message, repeated, tag = "11")]
    pub custom: Vec<StoredCustom>,
    #[prost(int64, optional, tag = "12")]
    pub token: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StoredSegment {
    #[prost(string, repeated, tag = "1")]
    pub bookies: Vec<String>,
    #[prost(int64, required, tag = "2")]
    pub first: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StoredCustom {
    #[prost(string, optional, tag = "1")]
    pub key: Option<String>,
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub value: Option<Bytes>,
}

impl Stored {
    fn of(metadata: &LedgerMetadata) -> Stored {
        let (state, last, length) = match metadata.state {
            State::Open => (1, -1, 0),
            State::InRecovery => (2, -1, 0),
            State::Closed { last, length } => (3, last.0, length),
        };
        let segment = |segment: &Segment| StoredSegment {
            bookies: segment.ensemble.iter().map(BookieId::to_string).collect(),
            first: segment.first.0,
        };
        let custom = |(key, value): (&String, &Bytes)| StoredCustom {
            key: Some(key.clone()),
            value: Some(value.clone()),
        };
        Stored {
            write_quorum: metadata.write_quorum as i32,
            ensemble_size: metadata.ensemble_size as i32,
            length,
            last_entry: Some(last),
            state,
            segments: metadata.segments.iter().map(segment).collect(),
            digest: Some(metadata.digest as i32),
            password: Some(metadata.password.clone()),
            ack_quorum: Some(metadata.ack_quorum as i32),
            created_ms: metadata.created_ms,
            custom: metadata.custom.iter().map(custom).collect(),
            token: Some(metadata.token),
        }
    }

    fn into_metadata(self) -> Result<LedgerMetadata, String> {
        let count = |n: i32| u32::try_from(n).map_err(|_| format!("a quorum of {n} is impossible"));
        let state = match (self.state, self.last_entry) {
            (1, _) => State::Open,
            (2, _) => State::InRecovery,
            (3, Some(last)) => State::Closed { last: EntryId(last), length: self.length },
            (3, None) => return Err("it is closed and has no last entry".into()),
            (other, _) => return Err(format!("its state is {other}")),
        };
        let digest = match self.digest {
            None | Some(1) => DigestType::Crc32,
            Some(2) => DigestType::Hmac,
            Some(3) => DigestType::Crc32c,
            Some(4) => DigestType::Dummy,
            Some(other) => return Err(format!("its digest type is {other}")),
        };
        let mut segments = Vec::new();
        for segment in self.segments {
            let ensemble = segment.bookies.iter().map(|id| id.parse::<BookieId>().map_err(|e| e.to_string()));
            segments.push(Segment {
                first: EntryId(segment.first),
                ensemble: ensemble.collect::<Result<_, _>>()?,
            });
        }
        let custom = self.custom.into_iter();
        LedgerMetadata {
            ensemble_size: count(self.ensemble_size)?,
            write_quorum: count(self.write_quorum)?,
            ack_quorum: count(self.ack_quorum.unwrap_or(self.write_quorum))?,
            state,
            segments,
            digest,
            password: self.password.unwrap_or_default(),
            created_ms: self.created_ms,
            custom: custom.map(|c| (c.key.unwrap_or_default(), c.value.unwrap_or_default())).collect(),
            token: self.token.unwrap_or(0),
        }
        .checked()
    }
}
