//! Topics that are kept for as long as they are not too large (the attribute `retention.bytes`): their queues begin where
//! the newest so many bytes of the topic do.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Weak};
use std::time::Duration;

use rustc_hash::FxHashMap;
use tokio::time::{Instant, sleep};

use super::Vb;
use super::retention::ColdQueue;
use crate::checkpoint::block::queue_key;
use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::run::{Cursor, Run};
use crate::checkpoint::store::Store;
use crate::error::Error;
use crate::index::queue::{Queue, Row};
use crate::state::TopicId;

/// How often it is looked for topics that may be too large by now.
const EVERY: Duration = Duration::from_secs(60);
/// A topic is left to grow by this part of what is kept of it, and cut that exactly: so it is read seldom, and not at all
/// while the log has not grown by as much.
const SLACK: u64 = 8;
/// A run is divided into so many parts to find where to cut.
const PARTS: u64 = 64;

/// What is kept of a topic, and how far the log has to come before that can be too much.
pub(super) struct Seen {
    kept: u64,
    due: u64,
}

pub(super) async fn run(vb: Weak<Vb>) {
    let mut seen = BTreeMap::new();
    loop {
        sleep(EVERY).await;
        let Some(vb) = vb.upgrade() else { return };
        if vb.core().ended() {
            return;
        }
        if let Err(error) = vb.shrink_topics(&mut seen).await {
            tracing::info!("{}: topics that are too large stay so for another minute: {error}", vb.name);
        }
    }
}

impl Vb {
    /// Shrinks what is too large. `seen` is what the last look came to.
    pub(super) async fn shrink_topics(&self, seen: &mut BTreeMap<TopicId, Seen>) -> Result<(), Error> {
        let (bounded, end) = {
            let core = self.core();
            let state = core.state();
            let bound = |topic: TopicId| Some((topic, state.kept_bytes(topic)?));
            let bounded: BTreeMap<_, _> = state.topics().filter_map(|topic| bound(topic.id)).collect();
            (bounded, core.acknowledged())
        };
        seen.retain(|topic, seen| bounded.get(topic) == Some(&seen.kept));
        for (topic, kept) in bounded {
            if seen.get(&topic).is_none_or(|seen| end >= seen.due) {
                let bytes = self.shrink(topic, kept).await?;
                let due = end.saturating_add(kept.saturating_sub(bytes)).saturating_add(kept / SLACK);
                seen.insert(topic, Seen { kept, due });
            }
        }
        Ok(())
    }

    /// Gives up all but the newest `kept` bytes of a topic, or a little more. Returns what it had.
    async fn shrink(&self, topic: TopicId, kept: u64) -> Result<u64, Error> {
        // First: what is not in memory then is in the runs that are looked at.
        let queues: Vec<_> = self.cold_queues().into_iter().filter(|queue| queue.topic == topic).collect();
        let key = |queue: &ColdQueue| queue_key(queue.topic, queue.queue);
        let mins = queues.iter().map(|queue| (key(queue), queue.min)).collect();
        let rows = RowsOf { topic, mins, manifest: self.cold().manifest(), store: &self.cold().store };
        let (bytes, from) = rows.newest(kept).await?;
        let Some(from) = from else { return Ok(bytes) };
        let firsts = rows.firsts(from).await?;
        // Between two checkpoints: the next one saves where queues begin now, and only then do merges drop what was before.
        let _alone = self.keeping.lock().await;
        for queue in &queues {
            let mut core = self.core();
            // A deleted queue's place may be another's by now.
            let is_there = |at: &Queue| (at.topic, at.queue) == (queue.topic, queue.queue);
            if core.index().at(queue.slot).is_some_and(is_there) {
                core.raise(queue.slot, firsts.get(&key(queue)).copied().unwrap_or(queue.hot_from));
            }
        }
        Ok(bytes)
    }
}

/// The rows of a topic that are in runs.
struct RowsOf<'a> {
    topic: TopicId,
    /// Where its queues begin; by their keys in the runs.
    mins: FxHashMap<u64, u64>,
    manifest: Arc<Manifest>,
    store: &'a Store,
}

/// A piece of the log, and how many bytes of the topic are in it.
struct Part {
    within: Range<u64>,
    bytes: u64,
}

impl RowsOf<'_> {
    /// How many bytes there are, and where the newest `kept` of them begin if that are fewer.
    async fn newest(&self, kept: u64) -> Result<(u64, Option<u64>), Error> {
        let mut parts = self.parts(0..u64::MAX).await?;
        let all = parts.iter().map(|part| part.bytes).sum();
        let mut left = kept;
        while let Some(cut) = last_of(parts, &mut left) {
            let narrow = cut.within.end - cut.within.start <= 1;
            if narrow || cut.bytes <= kept / SLACK {
                return Ok((all, Some(cut.within.start)));
            }
            parts = self.parts(cut.within).await?;
        }
        Ok((all, None))
    }

    /// Pieces of the log within which there are rows, the oldest first.
    async fn parts(&self, within: Range<u64>) -> Result<Vec<Part>, Error> {
        let mut parts = Vec::new();
        for run in self.manifest.rows.iter().filter(|run| run.from < within.end && within.start < run.to) {
            let (from, to) = (run.from.max(within.start), run.to.min(within.end));
            let width = (to - from).div_ceil(PARTS).max(1);
            let mut of_run = BTreeMap::<u64, u64>::new();
            let add = |_, row: &Row| {
                if (from..to).contains(&row.position) {
                    *of_run.entry((row.position - from) / width).or_default() += u64::from(row.len);
                }
            };
            self.each(run, add).await?;
            parts.extend(of_run.into_iter().map(|(number, bytes)| {
                let begin = from + number * width;
                Part { within: begin..to.min(begin + width), bytes }
            }));
        }
        Ok(parts)
    }

    /// The offset of each queue's first row from a position on.
    async fn firsts(&self, from: u64) -> Result<FxHashMap<u64, u64>, Error> {
        let mut firsts = FxHashMap::default();
        for run in self.manifest.rows.iter().filter(|run| from < run.to) {
            let note = |queue, row: &Row| {
                if row.position >= from {
                    firsts.entry(queue).or_insert(row.offset);
                }
            };
            self.each(run, note).await?;
        }
        Ok(firsts)
    }

    /// Hands over the rows of a run, by the key of their queue.
    async fn each(&self, run: &Run, mut of: impl FnMut(u64, &Row)) -> Result<(), Error> {
        let queues = queue_key(self.topic, 0)..=queue_key(self.topic, u16::MAX);
        let Some(mut cursor) = Cursor::seek(self.store, run, (*queues.start(), 0)).await? else {
            return Ok(());
        };
        let mut since = Instant::now();
        while cursor.pointer().is_some_and(|pointer| pointer.key.0 <= *queues.end()) {
            for group in &cursor.rows_once().await?.groups {
                if let Some(min) = self.mins.get(&group.queue) {
                    group.rows_from(*min).for_each(|row| of(group.queue, &row));
                }
            }
            since = self.store.pace.rest(since).await;
            if !cursor.advance().await? {
                break;
            }
        }
        Ok(())
    }
}

/// Takes parts off `left`, the newest first. Returns the one that is more than is left; none if all fit.
fn last_of(parts: Vec<Part>, left: &mut u64) -> Option<Part> {
    parts.into_iter().rev().find(|part| match left.checked_sub(part.bytes) {
        Some(less) => {
            *left = less;
            false
        }
        None => true,
    })
}
