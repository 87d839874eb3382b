//! Memory of requests that wait for their answers: bounded by reading no further. A connection without such requests is
//! always read on: whatever others do, it has one after the other answered.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

/// Of all connections.
pub(super) struct AllKept {
    bytes: AtomicUsize,
    most: usize,
}

impl AllKept {
    pub fn new(most: usize) -> AllKept {
        AllKept { bytes: AtomicUsize::new(0), most }
    }

    pub fn bytes(&self) -> usize {
        self.bytes.load(SeqCst)
    }
}

/// Of one connection.
#[derive(Default)]
pub(super) struct Kept {
    bytes: AtomicUsize,
    /// Nothing is read until there is less.
    halted: AtomicBool,
}

impl Kept {
    pub fn bytes(&self) -> usize {
        self.bytes.load(SeqCst)
    }

    pub fn add(&self, bytes: usize, all: &AllKept) {
        self.bytes.fetch_add(bytes, SeqCst);
        all.bytes.fetch_add(bytes, SeqCst);
    }

    /// Whether somebody has to be told that reading may go on.
    #[must_use]
    pub fn remove(&self, bytes: usize, all: &AllKept, much: usize) -> bool {
        all.bytes.fetch_sub(bytes, SeqCst);
        self.bytes.fetch_sub(bytes, SeqCst);
        self.halted.load(SeqCst) && !self.is_much(all, much)
    }

    /// Whether it is too much to read on: more than `much`, or anything while all connections hold too much.
    pub fn is_much(&self, all: &AllKept, much: usize) -> bool {
        let bytes = self.bytes();
        bytes >= much || bytes > 0 && all.bytes() > all.most
    }

    /// As [`Kept::is_much`]; if so, whoever removes what is too much is told that it was.
    pub fn halts(&self, all: &AllKept, much: usize) -> bool {
        // First the note, then the look: of two at the same time, one sees what the other has done.
        self.halted.store(true, SeqCst);
        let halts = self.is_much(all, much);
        if !halts {
            self.halted.store(false, SeqCst);
        }
        halts
    }
}
