//! Looking things up in the runs of the newest checkpoint. Nothing here holds a lock while it reads.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::block::{Group, Pointer, queue_key};
use super::manifest::Manifest;
use super::run::{Cursor, Run};
use super::store::Store;
use crate::error::Error;
use crate::index::keys::KeyRow;
use crate::index::queue::Row;
use crate::state::TopicId;

/// What left memory.
pub struct Cold {
    pub store: Store,
    manifest: Mutex<Arc<Manifest>>,
}

/// What a run says of one offset of a queue.
enum Found {
    Here(Vec<Row>),
    /// The run has only later rows of the queue, only earlier ones, or none at all.
    Before,
    Behind,
    Absent,
}

impl Cold {
    pub fn new(store: Store, manifest: Manifest) -> Cold {
        Cold { store, manifest: Mutex::new(Arc::new(manifest)) }
    }

    pub fn manifest(&self) -> Arc<Manifest> {
        self.manifest.lock().clone()
    }

    pub fn replace(&self, manifest: Manifest) {
        *self.manifest.lock() = Arc::new(manifest);
    }

    /// The bytes of all blocks of the state and of the queue table.
    pub async fn small(&self) -> Result<(Vec<Bytes>, Vec<(u32, Bytes)>), Error> {
        let manifest = self.manifest();
        let mut state = Vec::new();
        for (_, at) in &manifest.state {
            state.push(self.store.block(*at).await?);
        }
        let mut queues = Vec::new();
        for (part, at) in &manifest.queues {
            queues.push((*part, self.store.block(*at).await?));
        }
        Ok((state, queues))
    }

    /// Rows of a queue from an offset on, consecutive; none if no run has that offset.
    pub async fn rows(
        &self,
        topic: TopicId,
        queue: u16,
        from: u64,
        max_rows: usize,
        max_bytes: usize,
    ) -> Result<Vec<Row>, Error> {
        let manifest = self.manifest();
        let queue = queue_key(topic, queue);
        // Runs follow each other in the log, so a queue's offsets do too.
        let (mut low, mut high) = (0, manifest.rows.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let Some(run) = manifest.rows.get(middle) else { break };
            match self.probe(run, queue, from, max_rows).await? {
                Found::Here(rows) => return Ok(limited(rows, max_bytes)),
                Found::Before => high = middle,
                Found::Behind => low = middle + 1,
                Found::Absent => {
                    for run in manifest.rows.iter().take(high).skip(low) {
                        if let Found::Here(rows) = self.probe(run, queue, from, max_rows).await? {
                            return Ok(limited(rows, max_bytes));
                        }
                    }
                    break;
                }
            }
        }
        Ok(Vec::new())
    }

    async fn probe(&self, run: &Run, queue: u64, from: u64, max_rows: usize) -> Result<Found, Error> {
        let Some(cursor) = Cursor::seek(&self.store, run, (queue, from)).await? else {
            return Ok(Found::Absent);
        };
        let leaf = cursor.rows().await?;
        let mut groups = leaf.groups.iter().filter(|group| group.queue == queue).peekable();
        let begins_next = cursor.next().is_some_and(|pointer| pointer.key.0 == queue);
        if groups.peek().is_none() {
            return Ok(if begins_next { Found::Before } else { Found::Absent });
        }
        for group in groups {
            if from < group.first {
                return Ok(Found::Before);
            }
            if from < group.end() {
                return Ok(Found::Here(group.rows_from(from).take(max_rows.max(1)).collect()));
            }
        }
        Ok(if begins_next { Found::Before } else { Found::Behind })
    }

    /// The first row of a queue that is not older than `since`, in any of the runs that `among` lets through.
    pub async fn first_row(
        &self,
        topic: TopicId,
        queue: u16,
        since: i64,
        among: impl Fn(&Run) -> bool,
    ) -> Result<Option<Row>, Error> {
        let manifest = self.manifest();
        let queue = queue_key(topic, queue);
        for run in manifest.rows.iter().filter(|run| run.newest >= since && among(run)) {
            if let Some(row) = self.first_in(run, queue, since).await? {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    async fn first_in(&self, run: &Run, queue: u64, since: i64) -> Result<Option<Row>, Error> {
        let Some(mut cursor) = Cursor::seek(&self.store, run, (queue, 0)).await? else { return Ok(None) };
        let all_older = |next: Pointer| next.key.0 == queue && next.store_time < since;
        while cursor.pointer().is_some_and(|pointer| pointer.key.0 <= queue) {
            if !cursor.next().is_some_and(all_older) {
                let leaf = cursor.rows().await?;
                let mut of_queue = leaf.groups.iter().filter(|group| group.queue == queue);
                if let Some(row) = of_queue.find_map(|group| first_of(group, since)) {
                    return Ok(Some(row));
                }
            }
            if !cursor.advance().await? {
                break;
            }
        }
        Ok(None)
    }

    /// Rows of a hash, stored within a span of time, the newest first.
    pub async fn keys(&self, hash: u64, from: i64, to: i64, max: usize) -> Result<Vec<KeyRow>, Error> {
        let manifest = self.manifest();
        let mut found = Vec::new();
        for run in manifest.keys.iter().rev().filter(|run| run.oldest <= to && from <= run.newest) {
            let mut of_run = self.keys_in(run, hash, from, to).await?;
            of_run.reverse();
            found.extend(of_run);
            if found.len() >= max {
                break;
            }
        }
        found.truncate(max);
        Ok(found)
    }

    async fn keys_in(&self, run: &Run, hash: u64, from: i64, to: i64) -> Result<Vec<KeyRow>, Error> {
        let mut found = Vec::new();
        let Some(mut cursor) = Cursor::seek(&self.store, run, (hash, 0)).await? else { return Ok(found) };
        while cursor.pointer().is_some_and(|pointer| pointer.key.0 <= hash) && found.len() < MOST_OF_A_HASH {
            let leaf = cursor.keys().await?;
            let first = leaf.rows.partition_point(|row| row.hash < hash);
            let rows = leaf.rows.iter().skip(first).take_while(|row| row.hash == hash);
            found.extend(rows.filter(|row| (from..=to).contains(&row.store_time)));
            if !cursor.advance().await? {
                break;
            }
        }
        Ok(found)
    }
}

/// Rows of one hash that are looked at in one run.
const MOST_OF_A_HASH: usize = 65_536;

fn first_of(group: &Group, since: i64) -> Option<Row> {
    let at = group.rows.partition_point(|row| row.store_time < since);
    group.rows.get(at).map(|row| row.at(group.first + at as u64))
}

/// About `max_bytes` of messages, at least one.
fn limited(mut rows: Vec<Row>, max_bytes: usize) -> Vec<Row> {
    let mut bytes = 0;
    let too_many = rows.iter().position(|row| {
        bytes += row.len as usize;
        bytes > max_bytes
    });
    rows.truncate(too_many.unwrap_or(rows.len()).max(1));
    rows
}
