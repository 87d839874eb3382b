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
    len: usize,
}

impl HotKeys {
    pub fn push(&mut self, row: KeyRow) {
        self.open.push(row);
        self.len += 1;
        if self.open.len() == PIECE {
            self.close();
        }
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.full.push(Arc::new(std::mem::take(&mut self.open)));
        }
    }

    /// All pieces; what comes later is not in them.
    pub fn cut(&mut self) -> Vec<Arc<Vec<KeyRow>>> {
        self.close();
        self.full.clone()
    }

    /// All pieces, to be searched without the lock.
    pub fn pieces(&self) -> Vec<Arc<Vec<KeyRow>>> {
        let mut pieces = self.full.clone();
        pieces.push(Arc::new(self.open.clone()));
        pieces
    }

    /// Pieces that were cut before this position are in a checkpoint.
    pub fn forget(&mut self, before: u64) {
        self.full.retain(|piece| piece.last().is_some_and(|row| row.position >= before));
        self.len = self.full.iter().map(|piece| piece.len()).sum::<usize>() + self.open.len();
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
