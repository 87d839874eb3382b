//! An endless log with one owner: the broker's only door to storage.
//!
//! The log is a sequence of *entries*, each one append. A [`Position`] counts the bytes that were appended before
//! it, over the whole life of the log, so an entry's position is known at once and never changes, whichever ledgers
//! it ends up in.

pub mod chain;
pub mod format;
pub mod memory;
pub mod sparse;
pub mod suite;

use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use net::Wake;
use protocol::{BookieId, LedgerId};
use tokio::sync::watch;

use crate::error::{Ended, Error};

/// Bytes appended to a log before this place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl Position {
    pub const START: Position = Position(0);

    /// The position `bytes` further on.
    pub fn after(self, bytes: usize) -> Position {
        Position(self.0.saturating_add(bytes as u64))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How often a log has changed hands; grows with every open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// A log's name in metadata: 1 to 64 of a–z, 0–9, '-' and '_'.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogName(Arc<str>);

impl LogName {
    pub fn new(name: &str) -> Result<LogName, Error> {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        if name.is_empty() || name.len() > 64 || !name.bytes().all(fits) {
            let shown: String = name.chars().take(80).collect();
            return Err(Error::Invalid(format!(
                "'{shown}' cannot name a log: 1 to 64 of a-z, 0-9, '-' and '_' are taken"
            )));
        }
        Ok(LogName(name.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One append, as it was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub position: Position,
    pub body: Bytes,
}

impl Entry {
    /// Where the next entry begins.
    pub fn end(&self) -> Position {
        self.position.after(self.body.len())
    }
}

/// How far a log has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Everything before this position is durable and can be read. Only ever grows.
    pub acknowledged: Position,
    pub health: Health,
    /// Once set, nothing changes any more.
    pub ended: Option<Ended>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    Good,
    /// Entries are acknowledged, but with fewer copies than wanted: these bookies are named and absent.
    Reduced(Vec<BookieId>),
    /// Entries are acknowledged, but the bookies' disks are about to be full, as the text says: what is left is for what
    /// is small and must be stored.
    Short(String),
    /// Nothing is acknowledged at present; the text says what is missing. It goes on by itself when that is back.
    Stalled(String),
}

/// One ledger of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub base: Position,
    /// Where the next link begins; `None` for the last.
    pub end: Option<Position>,
    pub ledger: LedgerId,
    /// The owner's epoch when the link was added.
    pub epoch: Epoch,
    /// Bytes that its ledger still has, if it is a copy of what was needed.
    pub sparse: Option<u64>,
}

impl Link {
    /// Bytes that a closed link takes.
    pub fn stored(&self) -> Option<u64> {
        self.sparse.or_else(|| Some(self.end?.0.saturating_sub(self.base.0)))
    }
}

/// Says which parts of an entry are needed, in order; none: it is not needed at all.
pub type Keep = dyn Fn(&Entry) -> Result<Vec<Range<usize>>, Error> + Send + Sync;

/// Why an append was not taken. Nothing of it is in the log, and no position was given away.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Wait with [`Log::room`], then try again.
    #[error("the log's window of unacknowledged bytes is full")]
    Full,
    #[error("an append of {0} bytes: it takes 1 to {MAX_APPEND}")]
    Size(usize),
    #[error(transparent)]
    Ended(#[from] Ended),
}

/// Bytes before the caller's in every entry's payload.
pub const HEAD_LEN: usize = 32;
/// The most bytes that one append takes.
pub const MAX_APPEND: usize = protocol::entry::MAX_PAYLOAD - HEAD_LEN;

pub type Doing<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// What may not be to be had.
pub type Asking<'a, T> = Pin<Box<dyn Future<Output = Option<T>> + Send + 'a>>;

/// The logs of one cluster.
pub trait Logs: Send + Sync + 'static {
    /// Makes the caller the log's owner, whoever owned it before, and recovers what that owner left behind. A log
    /// that does not exist begins empty. On return every earlier owner MUST be unable to have anything more
    /// acknowledged, and everything that was ever acknowledged, and not trimmed, MUST be readable.
    fn open<'a>(&'a self, name: &'a LogName) -> Doing<'a, Arc<dyn Log>>;

    /// The links of a log, first to last, without owning it; empty if the log does not exist.
    fn links<'a>(&'a self, name: &'a LogName) -> Doing<'a, Vec<Link>>;
}

/// A log that this process owns, until somebody else opens it.
pub trait Log: Send + Sync + 'static {
    fn epoch(&self) -> Epoch;

    /// Takes one entry, made of `parts` joined, and says at once where it is. Never waits. Positions MUST be without
    /// holes: each entry begins where the one before it ends. Entries MUST be acknowledged in this order. What is
    /// taken and never acknowledged may or may not be in the log after the next open.
    fn append(&self, parts: &[Bytes]) -> Result<Position, Refused>;

    /// Waits until an append of `bytes` has room in the window, or the log has ended. MUST be safe to cancel.
    fn room(&self, bytes: usize) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;

    /// Acknowledgements, the log's health and its end. An entry is acknowledged once `acknowledged` has reached its
    /// end. MUST NOT be acknowledged before it is as durable as the implementation promises.
    fn progress(&self) -> watch::Receiver<Progress>;

    /// Has `follower` woken whenever there is progress, until it is gone; it replaces an earlier one. On the thread that
    /// brought the progress where that can be: what it appends then is on its way to the bookies without another
    /// wake-up.
    fn follow(&self, follower: Weak<dyn Wake>);

    /// Acknowledged entries from the one that contains `from` on, consecutive, with about `max_bytes` of bodies but
    /// at least one entry; none if `from` is the end of what is acknowledged, and [`Error::NotYet`] beyond it.
    /// Bodies MUST be byte for byte what was appended, but for [`Log::thin`]: entries that it left out are passed over,
    /// and [`Error::Trimmed`] says where to go on if `from` is in one.
    fn read(&self, from: Position, max_bytes: usize) -> Doing<'_, Vec<Entry>>;

    /// `len` acknowledged bytes of one entry, read without the rest of it, and therefore unverified: the caller MUST
    /// know them by a checksum of its own, and tell [`Log::doubt`] otherwise. `None` where that cannot be, for whatever
    /// reason: [`Log::read`] can, or says why not.
    fn read_part(&self, from: Position, len: usize) -> Asking<'_, Bytes>;

    /// What was read in part there was not what was appended.
    fn doubt(&self, at: Position);

    /// Gives up what lies wholly before `up_to`, in whole links; returns where the log begins now. Never gives up
    /// the last link.
    fn trim(&self, up_to: Position) -> Doing<'_, Position>;

    /// Has a closed link forget all but what is needed of it, to free its space; positions stay what they are, and what
    /// is forgotten reads as zeros. Takes its time. Whether it was done: not if there is no such link, or it is the last.
    fn thin<'a>(&'a self, base: Position, keep: &'a Keep) -> Doing<'a, bool>;

    /// The links, first to last. There is always at least one.
    fn links(&self) -> Doing<'_, Vec<Link>>;

    /// Goes on in a new ledger. The log does so by itself too, when a ledger is large or old or has lost a bookie.
    fn roll(&self) -> Doing<'_, ()>;

    /// Takes no more appends, waits until all are acknowledged and closes the last ledger, so that the next owner
    /// has nothing to recover. Returns the end. Dropped while waiting, the log stays closed to appends.
    fn seal(&self) -> Doing<'_, Position>;
}

/// When a log goes on in a new ledger by itself, and how much it keeps unacknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes taken and not yet acknowledged; more are refused. One entry is always taken.
    pub window_bytes: usize,
    pub roll_bytes: u64,
    pub roll_age: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { window_bytes: 16 << 20, roll_bytes: 1 << 30, roll_age: Duration::from_secs(4 * 3600) }
    }
}

impl Limits {
    /// Whether `bytes` more fit while `held` are unacknowledged.
    pub fn admits(&self, held: usize, bytes: usize) -> bool {
        held == 0 || held.saturating_add(bytes) <= self.window_bytes
    }
}

/// Wakes `follower` from a task, for logs that cannot do so where progress is made.
pub fn follow_beside(mut progress: watch::Receiver<Progress>, follower: Weak<dyn Wake>) {
    tokio::spawn(async move {
        while progress.changed().await.is_ok() {
            let Some(follower) = follower.upgrade() else { return };
            follower.wake();
        }
    });
}

/// Appends, waiting for room as long as it takes: cancel it to give up.
pub async fn append_when_room(log: &dyn Log, parts: &[Bytes]) -> Result<Position, Refused> {
    loop {
        match log.append(parts) {
            Err(Refused::Full) => log.room(parts.iter().map(Bytes::len).sum()).await,
            taken_or_not => return taken_or_not,
        }
    }
}

/// Waits until everything before `end` is acknowledged.
pub async fn acknowledged(log: &dyn Log, end: Position) -> Result<(), Ended> {
    let mut progress = log.progress();
    let reached = progress.wait_for(|p| p.acknowledged >= end || p.ended.is_some()).await;
    match reached {
        Ok(p) if p.acknowledged >= end => Ok(()),
        Ok(p) => Err(p.ended.clone().unwrap_or(Ended::Sealed)),
        Err(_) => Err(Ended::Failed("the log's owner task is gone".into())),
    }
}
