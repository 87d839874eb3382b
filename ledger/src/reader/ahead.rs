//! Reading on and on: several reads are under way ahead of the one that is waited for.

use std::collections::VecDeque;
use std::sync::Arc;

use protocol::EntryId;
use tokio::task::JoinHandle;

use super::{LedgerEntry, LedgerReader, MOST_BYTES};
use crate::Error;

/// Entries of a ledger in order, from one to another. Keeps at most `depth` pieces of about `piece_bytes` in memory
/// or under way.
pub struct ReadAhead {
    reader: Arc<LedgerReader>,
    next: EntryId,
    last: EntryId,
    piece_bytes: usize,
    depth: usize,
    /// About the size of an entry, learnt from those that were read.
    entry_bytes: usize,
    pieces: VecDeque<Piece>,
}

struct Piece(JoinHandle<Result<Vec<LedgerEntry>, Error>>);

impl Drop for Piece {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl ReadAhead {
    /// Up to `last`, which MUST be confirmed.
    pub fn new(
        reader: Arc<LedgerReader>,
        first: EntryId,
        last: EntryId,
        piece_bytes: usize,
        depth: usize,
    ) -> ReadAhead {
        let known = reader.closed().filter(|end| end.last >= EntryId::FIRST);
        let entry_bytes = known.map_or(64 << 10, |end| (end.length / (end.last.0 + 1)) as usize);
        ReadAhead {
            reader,
            next: first,
            last,
            piece_bytes: piece_bytes.clamp(1, MOST_BYTES),
            depth: depth.max(1),
            entry_bytes: entry_bytes.max(64),
            pieces: VecDeque::new(),
        }
    }

    /// The next entries; `None` after the last. After an error it ends.
    pub async fn next(&mut self) -> Option<Result<Vec<LedgerEntry>, Error>> {
        while self.pieces.len() < self.depth && self.next <= self.last {
            let count = (self.piece_bytes / self.entry_bytes).max(1) as i64;
            let (first, last) = (self.next, EntryId(self.last.0.min(self.next.0 + count - 1)));
            self.next = last.next();
            let piece = read_whole(self.reader.clone(), first, last, self.piece_bytes);
            self.pieces.push_back(Piece(tokio::spawn(piece)));
        }
        let read = (&mut self.pieces.front_mut()?.0).await;
        self.pieces.pop_front();
        let read = read.unwrap_or_else(|_| Err(Error::Unavailable("the reading task was stopped".into())));
        match &read {
            Ok(entries) if !entries.is_empty() => {
                let bytes: usize = entries.iter().map(|e| e.payload.len()).sum();
                self.entry_bytes = (bytes / entries.len()).max(64);
            }
            _ => {
                self.pieces.clear();
                self.next = self.last.next();
            }
        }
        Some(read)
    }
}

/// All entries of a piece, in as many reads as it takes.
async fn read_whole(
    reader: Arc<LedgerReader>,
    first: EntryId,
    last: EntryId,
    piece_bytes: usize,
) -> Result<Vec<LedgerEntry>, Error> {
    let mut entries = reader.read(first, last, piece_bytes * 2).await?;
    while let Some(next) = entries.last().map(|e| e.entry.next()).filter(|next| *next <= last) {
        entries.extend(reader.read(next, last, piece_bytes * 2).await?);
    }
    Ok(entries)
}
