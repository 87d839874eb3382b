//! Hashes of keys and where their messages are, in the order of the log, in pieces that a search may hold on to
//! while more is appended.

use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyRow {
    pub hash: u64,
    pub position: u64,
    pub store_time: i64,
}

const PIECE: usize = 4096;

#[derive(Default)]
pub struct HotKeys {
    full: Vec<Arc<Vec<KeyRow>>>,
    open: Vec<KeyRow>,
}

impl HotKeys {
    pub fn push(&mut self, row: KeyRow) {
        self.open.push(row);
        if self.open.len() == PIECE {
            let piece = std::mem::replace(&mut self.open, Vec::with_capacity(PIECE));
            self.full.push(Arc::new(piece));
        }
    }

    /// All pieces, to be searched without the lock.
    pub fn pieces(&self) -> Vec<Arc<Vec<KeyRow>>> {
        let mut pieces = self.full.clone();
        pieces.push(Arc::new(self.open.clone()));
        pieces
    }

    /// Rows before this position are in a checkpoint.
    pub fn forget(&mut self, before: u64) {
        self.full.retain(|piece| piece.last().is_some_and(|row| row.position >= before));
    }

    pub fn len(&self) -> usize {
        self.full.len() * PIECE + self.open.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
