//! The messages of BookKeeper's protocol, version 3, with its field numbers.

use bytes::Bytes;
use prost::Message;

pub(super) const VERSION_THREE: i32 = 3;

/// Operations.
pub(super) mod operation {
    pub const READ: i32 = 1;
    pub const ADD: i32 = 2;
    pub const AUTH: i32 = 5;
    pub const WRITE_LAC: i32 = 6;
    pub const READ_LAC: i32 = 7;
    pub const INFO: i32 = 8;
    pub const FORCE: i32 = 10;
    pub const LIST_ENTRIES: i32 = 11;
}

pub(super) const READ_FENCES: i32 = 1;
pub(super) const READ_ENTRY_WITH_LAC: i32 = 2;
pub(super) const ADD_RECOVERS: i32 = 1;
pub(super) const DEFERRED_SYNC: i32 = 1;
pub(super) const TOTAL_SPACE: i64 = 1;
pub(super) const FREE_SPACE: i64 = 2;

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Header {
    #[prost(int32, required, tag = "1")]
    pub version: i32,
    #[prost(int32, required, tag = "2")]
    pub operation: i32,
    #[prost(uint64, required, tag = "3")]
    pub txn: u64,
    #[prost(uint32, optional, tag = "4")]
    pub priority: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Request {
    #[prost(message, optional, tag = "1")]
    pub header: Option<Header>,
    #[prost(message, optional, tag = "100")]
    pub read: Option<Read>,
    #[prost(message, optional, tag = "101")]
    pub add: Option<Add>,
    #[prost(message, optional, tag = "102")]
    pub auth: Option<super::super::Auth>,
    #[prost(message, optional, tag = "103")]
    pub write_lac: Option<WriteLac>,
    #[prost(message, optional, tag = "104")]
    pub read_lac: Option<OfLedger>,
    #[prost(message, optional, tag = "105")]
    pub info: Option<Info>,
    #[prost(message, optional, tag = "107")]
    pub force: Option<OfLedger>,
    #[prost(message, optional, tag = "108")]
    pub list: Option<OfLedger>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Read {
    #[prost(int64, required, tag = "1")]
    pub ledger: i64,
    #[prost(int64, required, tag = "2")]
    pub entry: i64,
    #[prost(bytes = "bytes", optional, tag = "3")]
    pub key: Option<Bytes>,
    #[prost(int64, optional, tag = "4")]
    pub previous_lac: Option<i64>,
    #[prost(int64, optional, tag = "5")]
    pub time_out: Option<i64>,
    #[prost(int32, optional, tag = "100")]
    pub flag: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Add {
    #[prost(int64, required, tag = "1")]
    pub ledger: i64,
    #[prost(int64, required, tag = "2")]
    pub entry: i64,
    #[prost(bytes = "bytes", required, tag = "3")]
    pub key: Bytes,
    #[prost(bytes = "bytes", required, tag = "4")]
    pub body: Bytes,
    #[prost(int32, optional, tag = "5")]
    pub write_flags: Option<i32>,
    #[prost(int32, optional, tag = "100")]
    pub flag: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct WriteLac {
    #[prost(int64, required, tag = "1")]
    pub ledger: i64,
    #[prost(int64, required, tag = "2")]
    pub lac: i64,
    #[prost(bytes = "bytes", required, tag = "3")]
    pub key: Bytes,
    #[prost(bytes = "bytes", required, tag = "4")]
    pub body: Bytes,
}

/// The requests to read a LAC, to force and to list entries.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct OfLedger {
    #[prost(int64, required, tag = "1")]
    pub ledger: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Info {
    #[prost(int64, optional, tag = "1")]
    pub requested: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Response {
    #[prost(message, optional, tag = "1")]
    pub header: Option<Header>,
    #[prost(int32, required, tag = "2")]
    pub status: i32,
    #[prost(message, optional, tag = "100")]
    pub read: Option<ReadResponse>,
    #[prost(message, optional, tag = "101")]
    pub add: Option<EntryStatus>,
    #[prost(message, optional, tag = "102")]
    pub auth: Option<super::super::Auth>,
    #[prost(message, optional, tag = "103")]
    pub write_lac: Option<LedgerStatus>,
    #[prost(message, optional, tag = "104")]
    pub read_lac: Option<ReadLacResponse>,
    #[prost(message, optional, tag = "105")]
    pub info: Option<InfoResponse>,
    #[prost(message, optional, tag = "107")]
    pub force: Option<LedgerStatus>,
    #[prost(message, optional, tag = "108")]
    pub list: Option<ListResponse>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ReadResponse {
    #[prost(int32, required, tag = "1")]
    pub status: i32,
    #[prost(int64, required, tag = "2")]
    pub ledger: i64,
    #[prost(int64, required, tag = "3")]
    pub entry: i64,
    #[prost(bytes = "bytes", optional, tag = "4")]
    pub body: Option<Bytes>,
    #[prost(int64, optional, tag = "5")]
    pub max_lac: Option<i64>,
}

/// The response to an add.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct EntryStatus {
    #[prost(int32, required, tag = "1")]
    pub status: i32,
    #[prost(int64, required, tag = "2")]
    pub ledger: i64,
    #[prost(int64, required, tag = "3")]
    pub entry: i64,
}

/// The responses to writing a LAC and to forcing.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct LedgerStatus {
    #[prost(int32, required, tag = "1")]
    pub status: i32,
    #[prost(int64, required, tag = "2")]
    pub ledger: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ReadLacResponse {
    #[prost(int32, required, tag = "1")]
    pub status: i32,
    #[prost(int64, required, tag = "2")]
    pub ledger: i64,
    #[prost(bytes = "bytes", optional, tag = "3")]
    pub packet: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "4")]
    pub last_entry: Option<Bytes>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct InfoResponse {
    #[prost(int32, required, tag = "1")]
    pub status: i32,
    #[prost(int64, optional, tag = "2")]
    pub total: Option<i64>,
    #[prost(int64, optional, tag = "3")]
    pub free: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ListResponse {
    #[prost(int32, required, tag = "1")]
    pub status: i32,
    #[prost(int64, required, tag = "2")]
    pub ledger: i64,
    #[prost(bytes = "bytes", optional, tag = "3")]
    pub entries: Option<Bytes>,
}
