//! One disk: a state machine over [`disk::Disk`], owned by one thread.
//!
//! ```text
//! stage(request, duty)*  →  commit()  →  staged reads are served by a Reader, on any thread
//! ```
//!
//! A [`Shelf`] decides (fences, keys, tombstones, limbo), appends, syncs, publishes and answers. A [`Reader`] looks
//! up and reads; there are as many as one likes.

pub mod config;
pub mod reader;
pub mod report;

use std::sync::Arc;

use disk::Disk;
use protocol::LedgerId;
use protocol::bookie::Request;

pub use config::Config;
pub use reader::{Lookup, Reader};
pub use report::{IndexFound, Room, SegmentUse, StartReport};

use crate::duty::Duty;
use crate::error::Error;
use crate::index::IndexStore;
use crate::position::SegmentId;

/// What became of a request that was given to [`Shelf::stage`].
#[must_use]
pub enum Staged<D> {
    /// It is in the open group, or was answered at once: call [`Shelf::commit`] when there is nothing more to stage.
    Taken,
    /// The open group has no room for it: commit, then stage it again.
    Full(Request, D),
    /// Whatever had to be durable before it is: answer it from [`Reader::serve`], on any thread.
    Read(Request, D),
    /// A normal add for a ledger that this shelf does not know. Ask the metadata: [`Shelf::vouch`] and stage it again
    /// if the ledger may be written here (or is absent there), else answer that it is fenced.
    Stranger(Request, D),
}

/// What the service's own duties change; durable with the next [`Shelf::commit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The ledger is deleted: a tombstone refuses normal adds from now on; a recovery add overrides it.
    Delete(LedgerId),
    /// Forget the tombstone of a ledger whose id cannot come back.
    Forget(LedgerId),
    /// Fence the ledger (again: in limbo, or closed according to metadata).
    Fence(LedgerId),
    /// Data of this ledger may be lost here: no negative answers from now on.
    Limbo(LedgerId),
    /// All entries that should be here are here again.
    ClearLimbo(LedgerId),
    /// Data of any ledger may be lost here: all that are known are fenced, and nothing is answered in the negative.
    LimboAll,
    ClearLimboAll,
}

/// What [`Shelf::commit`] leaves to do.
#[must_use]
pub struct Committed<D> {
    /// Fencing reads whose fence is durable now: answer them from [`Reader::serve`].
    pub reads: Vec<(Request, D)>,
    /// Entries that became durable.
    pub entries: u64,
    pub bytes: u64,
}

/// One disk's state machine. `D` is the duty to answer.
pub struct Shelf<D> {
    _duties: std::marker::PhantomData<D>,
}

#[allow(unused_variables)]
impl<D: Duty> Shelf<D> {
    /// Opens the disk: replays what the index does not have yet, cuts a torn tail, finds damage. `nonce` is any number
    /// that was not used before (it tells this start's bytes from all others').
    pub fn open(
        disk: Arc<dyn Disk>,
        store: Arc<dyn IndexStore>,
        config: Config,
        nonce: u64,
    ) -> Result<(Shelf<D>, StartReport), Error> {
        unreachable!("lands next")
    }

    /// Decides on a request, and puts what must be durable into the open group. Nothing is answered that depends on
    /// the group. After an error of this shelf, duties are dropped.
    pub fn stage(&mut self, request: Request, duty: D) -> Staged<D> {
        unreachable!("lands next")
    }

    /// The ledger may be written here, according to the metadata. Forgotten once its first add is staged.
    pub fn vouch(&mut self, ledger: LedgerId) {
        unreachable!("lands next")
    }

    /// Stages an order; [`Error::Config`]-free: only disk and index errors, or [`Error::Stopped`].
    pub fn order(&mut self, order: Order) -> Result<(), Error> {
        unreachable!("lands next")
    }

    /// Whether there is anything to commit.
    pub fn has_work(&self) -> bool {
        unreachable!("lands next")
    }

    /// Writes the open group, syncs, publishes to readers, releases the answers: in this order. After an error the
    /// shelf has stopped: no duty is ever answered again.
    pub fn commit(&mut self) -> Result<Committed<D>, Error> {
        unreachable!("lands next")
    }

    pub fn reader(&self) -> Reader {
        unreachable!("lands next")
    }

    /// Why the shelf has stopped.
    pub fn stopped(&self) -> Option<&Error> {
        unreachable!("lands next")
    }

    /// Whether enough has gathered in memory for the index to be flushed.
    pub fn flush_due(&self) -> bool {
        unreachable!("lands next")
    }

    /// Freezes what the index does not have yet. `None` while another flush is under way, or with nothing to flush.
    pub fn begin_flush(&mut self) -> Result<Option<Flush>, Error> {
        unreachable!("lands next")
    }

    /// Takes back what [`Flush::run`] made. An error stops the shelf.
    pub fn finish_flush(&mut self, flushed: Flushed) -> Result<(), Error> {
        unreachable!("lands next")
    }

    /// The three in one, on this thread.
    pub fn flush_now(&mut self) -> Result<(), Error> {
        unreachable!("lands next")
    }

    /// Whether normal adds are taken.
    pub fn room(&self) -> Room {
        unreachable!("lands next")
    }

    /// Tries again to allocate the next segment, where there was no room: call it now and then while read-only.
    pub fn look_for_room(&mut self) -> Result<Room, Error> {
        unreachable!("lands next")
    }

    pub fn segments(&self) -> Vec<SegmentUse> {
        unreachable!("lands next")
    }

    /// Stages copies of live entries of `segment`, from byte `from` (0: the first), about `max_bytes` of them; where
    /// to go on, or `None` when the end was reached. Commit after each call. Entries added meanwhile are not in the way.
    pub fn copy_live(&mut self, segment: SegmentId, from: u32, max_bytes: u64) -> Result<Option<u32>, Error> {
        unreachable!("lands next")
    }

    /// Deletes a sealed segment in which nothing is live: writes its keys, fences, LACs and tombstones again, syncs,
    /// flushes the index, then removes or recycles the file. [`Error::Segment`] if something is live.
    pub fn drop_segment(&mut self, segment: SegmentId) -> Result<(), Error> {
        unreachable!("lands next")
    }

    /// Commits, flushes the index and marks the log's end as clean.
    pub fn close(self) -> Result<(), Error> {
        unreachable!("lands next")
    }
}

/// Work on the index that any thread may do.
pub struct Flush {}

impl Flush {
    pub fn run(self) -> Flushed {
        unreachable!("lands next")
    }
}

/// What a [`Flush`] came to; give it back to [`Shelf::finish_flush`].
#[must_use]
pub struct Flushed {}
