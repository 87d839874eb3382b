//! Taking a checkpoint: what a core was at one position of its log, written while it goes on.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use super::block::RowItem;
use super::manifest::Manifest;
use super::merge::{self, Merged, Widest};
use super::run::{Builder, Run, Span};
use super::store::{Address, Store};
use crate::error::Error;
use crate::index::Slot;
use crate::index::keys::KeyRow;
use crate::index::queue::HotRow;
use crate::state::Block;

/// A core at `covered`, as far as it changed since the cut before.
pub struct Cut {
    pub covered: u64,
    pub last_time: i64,
    pub state: Vec<Block>,
    /// Parts of the queue table.
    pub queues: Vec<(u32, Vec<u8>)>,
    /// Queues with rows in memory.
    pub warm: Vec<Warm>,
    pub keys: Vec<Arc<Vec<KeyRow>>>,
}

/// A queue, the offset of its first row in memory and its end at the cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Warm {
    /// As in the runs' keys.
    pub queue: u64,
    pub slot: Slot,
    pub first: u64,
    pub end: u64,
}

/// Rows that are in memory, for whoever may lock the core.
pub trait Memory: Send + Sync {
    /// Rows of a queue from an offset on, all before `end`, at most `max`.
    fn rows(&self, slot: Slot, from: u64, end: u64, max: usize) -> Vec<HotRow>;
}

/// Rows copied under one hold of the core's lock.
const AT_ONCE: usize = 2048;
/// Small blocks are written again when they are so far behind the end: they do not keep the log long.
const OLD: u64 = 32 << 20;
/// The checkpoint log may have this many bytes, beside twice what it needs, before an old run is written again.
const GARBAGE: u64 = 256 << 20;

/// Writes everything of a cut but its manifest, on top of the checkpoint before.
pub async fn write(
    store: &Store,
    before: &Manifest,
    cut: &Cut,
    memory: &impl Memory,
) -> Result<Manifest, Error> {
    let mut next = before.clone();
    let span = Span { level: 0, from: before.covered, to: cut.covered };
    next.rows.extend(rows(store, span, cut, memory).await?.map(Arc::new));
    next.keys.extend(keys(store, span, cut).await?.map(Arc::new));
    next.covered = cut.covered;
    next.last_time = cut.last_time;
    let state = cut.state.iter().map(|block| (block.key, block.bytes.clone()));
    let queues = cut.queues.iter().map(|(part, bytes)| (*part, Bytes::from(bytes.clone())));
    next.state = small(store, &before.state, state.collect()).await?;
    next.queues = small(store, &before.queues, queues.collect()).await?;
    Ok(next)
}

async fn rows(store: &Store, span: Span, cut: &Cut, memory: &impl Memory) -> Result<Option<Run>, Error> {
    let mut builder = Builder::new(store, span);
    let mut warm = cut.warm.clone();
    warm.sort_unstable();
    for Warm { queue, slot, first, end } in warm {
        let mut from = first;
        while from < end {
            let rows = memory.rows(slot, from, end, AT_ONCE);
            if rows.is_empty() {
                return Err(Error::Corrupt(format!("the index has no row for offset {from} of slot {slot}")));
            }
            for row in rows {
                builder.push(RowItem { queue, offset: from, row }).await?;
                from += 1;
            }
        }
    }
    builder.finish().await
}

async fn keys(store: &Store, span: Span, cut: &Cut) -> Result<Option<Run>, Error> {
    let mut pieces = Vec::new();
    let mut since = Instant::now();
    for piece in &cut.keys {
        let mut piece = Vec::clone(piece);
        piece.sort_unstable();
        pieces.push(piece.into_iter());
        since = store.pace.rest(since).await;
    }
    let mut builder = Builder::new(store, span);
    let heads = pieces.iter_mut().enumerate().filter_map(|(at, piece)| Some(Reverse((piece.next()?, at))));
    let mut heap: BinaryHeap<_> = heads.collect();
    while let Some(Reverse((row, at))) = heap.pop() {
        builder.push(row).await?;
        if let Some(next) = pieces.get_mut(at).and_then(Iterator::next) {
            heap.push(Reverse((next, at)));
        }
    }
    builder.finish().await
}

/// New blocks in place of those with the same key; empty ones are left out, and very old ones are written again.
async fn small(
    store: &Store,
    before: &[(u32, Address)],
    new: Vec<(u32, Bytes)>,
) -> Result<Vec<(u32, Address)>, Error> {
    let mut blocks: BTreeMap<u32, Address> = before.iter().copied().collect();
    let mut written: BTreeMap<u32, Bytes> = new.into_iter().collect();
    let horizon = store.end().saturating_sub(OLD);
    let live: u64 = blocks.values().map(|at| u64::from(at.len)).sum();
    let span =
        blocks.values().map(|at| at.position).min().map_or(0, |oldest| store.end().saturating_sub(oldest));
    if span > 2 * OLD + 4 * live {
        for (key, at) in blocks.iter().filter(|(_, at)| at.position < horizon) {
            if !written.contains_key(key) {
                written.insert(*key, store.block(*at).await?);
            }
        }
    }
    for key in written.keys() {
        blocks.remove(key);
    }
    let (keys, bytes): (Vec<u32>, Vec<Vec<u8>>) = written
        .into_iter()
        .filter(|(_, bytes)| !bytes.is_empty())
        .map(|(key, bytes)| (key, bytes.to_vec()))
        .unzip();
    blocks.extend(keys.into_iter().zip(store.append(&bytes).await?));
    Ok(blocks.into_iter().collect())
}

/// Runs that should become one, or one that should be written again so that what lies before it can be given up.
pub struct Work {
    pub rows: Vec<Arc<Run>>,
    pub keys: Vec<Arc<Run>>,
}

impl Work {
    pub fn of(manifest: &Manifest, end: u64, widest: Widest) -> Work {
        let small =
            manifest.state.iter().chain(&manifest.queues).map(|(_, at)| u64::from(at.len)).sum::<u64>();
        let of_runs = manifest.rows.iter().chain(&manifest.keys).map(|run| run.bytes).sum::<u64>();
        let span = manifest.oldest().map_or(0, |oldest| end.saturating_sub(oldest));
        let crowded = span > 2 * (small + of_runs) + GARBAGE;
        let oldest = |runs: &[Arc<Run>]| runs.iter().min_by_key(|run| run.first_block).cloned();
        let choose = |runs: &[Arc<Run>]| match merge::candidates(runs, widest) {
            Some(neighbours) => neighbours.to_vec(),
            None if crowded => oldest(runs).into_iter().collect(),
            None => Vec::new(),
        };
        Work { rows: choose(&manifest.rows), keys: choose(&manifest.keys) }
    }

    /// Writes the new runs; they count from the next manifest on.
    pub async fn run(
        &self,
        store: &Store,
        keep_row: impl Fn(&RowItem) -> bool + Send,
        keep_key: impl Fn(&KeyRow) -> bool + Send,
    ) -> Result<(Option<Merged>, Option<Merged>), Error> {
        let rows = match self.rows.is_empty() {
            true => None,
            false => Some(merge::merge(store, &self.rows, keep_row).await?),
        };
        let keys = match self.keys.is_empty() {
            true => None,
            false => Some(merge::merge(store, &self.keys, keep_key).await?),
        };
        Ok((rows, keys))
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.keys.is_empty()
    }
}
