//! A sorted run: leaves of rows, blocks of pointers to them, and a short list of those, which the manifest keeps.

use std::sync::Arc;

use tokio::time::Instant;

use super::block::{Item, Key, KeyBlock, Pointer, PointerBlock, RowBlock};
use super::store::{Address, Store};
use crate::error::Error;

/// Rows of a leaf, and pointers of a block of them.
const LEAF: usize = 2048;
const FAN: usize = 512;
/// Leaves appended at once.
const TOGETHER: usize = 8;

/// What is known of a run without reading it. It covers the records of `from..to` of the vb log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// How often its rows were merged.
    pub level: u8,
    pub from: u64,
    pub to: u64,
    pub rows: u64,
    /// Store times of its oldest and newest row.
    pub oldest: i64,
    pub newest: i64,
    /// Bytes of its blocks, and the first of them: it lies before all others.
    pub bytes: u64,
    pub first_block: u64,
    /// To blocks of pointers.
    pub top: Vec<Pointer>,
}

/// What becomes a run.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    pub level: u8,
    pub from: u64,
    pub to: u64,
}

/// Writes a run, row by row, in order.
pub struct Builder<'a, I> {
    store: &'a Store,
    span: Span,
    leaf: Vec<I>,
    /// Leaves that wait to be appended, with keys and times of their first rows.
    leaves: Vec<(Key, i64, Vec<u8>)>,
    pointers: Vec<Pointer>,
    top: Vec<Pointer>,
    rows: u64,
    times: Option<(i64, i64)>,
    bytes: u64,
    first_block: u64,
    /// When the work began that no rest has followed yet.
    since: Instant,
}

impl<'a, I: Item> Builder<'a, I> {
    pub fn new(store: &'a Store, span: Span) -> Builder<'a, I> {
        Builder {
            store,
            span,
            leaf: Vec::with_capacity(LEAF),
            leaves: Vec::new(),
            pointers: Vec::new(),
            top: Vec::new(),
            rows: 0,
            times: None,
            bytes: 0,
            first_block: u64::MAX,
            since: Instant::now(),
        }
    }

    pub async fn push(&mut self, item: I) -> Result<(), Error> {
        let time = item.store_time();
        let (oldest, newest) = self.times.unwrap_or((time, time));
        self.times = Some((oldest.min(time), newest.max(time)));
        self.rows += 1;
        self.leaf.push(item);
        if self.leaf.len() < LEAF {
            return Ok(());
        }
        self.close_leaf();
        // Sorting and encoding share their thread with those who serve.
        self.since = self.store.pace.rest(self.since).await;
        if self.leaves.len() < TOGETHER {
            return Ok(());
        }
        self.append_leaves().await?;
        self.since = Instant::now();
        Ok(())
    }

    fn close_leaf(&mut self) {
        if let Some(first) = self.leaf.first() {
            self.leaves.push((first.key(), first.store_time(), I::encode(&self.leaf)));
        }
        self.leaf.clear();
    }

    async fn append_leaves(&mut self) -> Result<(), Error> {
        let leaves = std::mem::take(&mut self.leaves);
        let (keys, blocks): (Vec<_>, Vec<_>) =
            leaves.into_iter().map(|(key, time, block)| ((key, time), block)).unzip();
        let addresses = self.append(&blocks).await?;
        let pointers = keys.into_iter().zip(addresses);
        self.pointers.extend(pointers.map(|((key, store_time), at)| Pointer { key, store_time, at }));
        if self.pointers.len() < FAN { Ok(()) } else { self.append_pointers().await }
    }

    async fn append_pointers(&mut self) -> Result<(), Error> {
        let pointers = std::mem::take(&mut self.pointers);
        let Some(first) = pointers.first().copied() else { return Ok(()) };
        let mut block = Vec::new();
        PointerBlock::encode(&pointers, &mut block);
        for at in self.append(&[block]).await? {
            self.top.push(Pointer { at, ..first });
        }
        Ok(())
    }

    async fn append(&mut self, blocks: &[Vec<u8>]) -> Result<Vec<Address>, Error> {
        let addresses = self.store.append(blocks).await?;
        for address in &addresses {
            self.bytes += u64::from(address.len);
            self.first_block = self.first_block.min(address.position);
        }
        Ok(addresses)
    }

    /// The run; `None` if it has no rows.
    pub async fn finish(mut self) -> Result<Option<Run>, Error> {
        self.close_leaf();
        self.append_leaves().await?;
        self.append_pointers().await?;
        let Span { level, from, to } = self.span;
        let Builder { rows, bytes, first_block, top, .. } = self;
        let run = self.times.map(|(oldest, newest)| Run {
            level,
            from,
            to,
            rows,
            oldest,
            newest,
            bytes,
            first_block,
            top,
        });
        Ok(run)
    }
}

/// A place among a run's leaves.
pub struct Cursor<'a> {
    store: &'a Store,
    run: &'a Run,
    top: usize,
    block: Arc<PointerBlock>,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The leaf in which `key` is, if the run has it: the last one that begins at or before it, or the first.
    pub async fn seek(store: &'a Store, run: &'a Run, key: Key) -> Result<Option<Cursor<'a>>, Error> {
        let top = run.top.partition_point(|pointer| pointer.key <= key).saturating_sub(1);
        let Some(pointer) = run.top.get(top) else { return Ok(None) };
        let block = store.pointers(pointer.at).await?;
        let at = block.pointers.partition_point(|pointer| pointer.key <= key).saturating_sub(1);
        Ok(Some(Cursor { store, run, top, block, at }))
    }

    pub async fn first(store: &'a Store, run: &'a Run) -> Result<Option<Cursor<'a>>, Error> {
        Cursor::seek(store, run, (0, 0)).await
    }

    pub fn pointer(&self) -> Option<Pointer> {
        self.block.pointers.get(self.at).copied()
    }

    /// The next leaf's pointer.
    pub fn next(&self) -> Option<Pointer> {
        let here = self.block.pointers.get(self.at + 1);
        here.or_else(|| self.run.top.get(self.top + 1)).copied()
    }

    /// Goes to the next leaf; `false` if there is none.
    pub async fn advance(&mut self) -> Result<bool, Error> {
        self.at += 1;
        if self.at < self.block.pointers.len() {
            return Ok(true);
        }
        let Some(next) = self.run.top.get(self.top + 1) else { return Ok(false) };
        self.block = self.store.pointers(next.at).await?;
        self.top += 1;
        self.at = 0;
        Ok(!self.block.pointers.is_empty())
    }

    pub async fn rows(&self) -> Result<Arc<RowBlock>, Error> {
        match self.pointer() {
            Some(pointer) => self.store.rows(pointer.at).await,
            None => Ok(Arc::default()),
        }
    }

    /// As [`Cursor::rows`], for who looks at all leaves once: what others look at again and again stays in memory.
    pub async fn rows_once(&self) -> Result<RowBlock, Error> {
        match self.pointer() {
            Some(pointer) => self.store.rows_once(pointer.at).await,
            None => Ok(RowBlock::default()),
        }
    }

    pub async fn keys(&self) -> Result<Arc<KeyBlock>, Error> {
        match self.pointer() {
            Some(pointer) => self.store.keys(pointer.at).await,
            None => Ok(Arc::default()),
        }
    }
}
