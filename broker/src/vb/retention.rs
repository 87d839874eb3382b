//! What a virtual broker keeps no longer: what is too old, or too much.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Vb;
use super::keeping::AT_ONCE;
use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::run::Run;
use crate::error::Error;
use crate::index::{Rows, Slot};
use crate::state::TopicId;

/// Queues with messages that are needed however old they are, and the first of these in each.
type Needed = BTreeMap<(TopicId, u16), u64>;

/// A queue that has rows in checkpoints.
pub(super) struct ColdQueue {
    pub slot: Slot,
    pub topic: TopicId,
    pub queue: u16,
    pub min: u64,
    /// Where its rows in memory begin.
    pub hot_from: u64,
}

impl Vb {
    /// Raises the beginnings of queues over what is older or more than is to be kept: whole runs only, so that queues
    /// begin where a run does. Returns where the log begins then.
    pub(super) async fn give_up(&self) -> Result<u64, Error> {
        let manifest = self.cold().manifest();
        let Some(kept) = self.retention(self.now().wall) else { return Ok(manifest.begins) };
        let needed = self.needed();
        let begins = self.begins(&manifest, &kept, &needed).await?;
        if begins > manifest.begins {
            self.raise_to(begins).await?;
        }
        for (slot, min) in self.too_old(&kept, &needed).await? {
            self.core().raise(slot, min);
        }
        Ok(begins)
    }

    /// Where the log begins if nothing is kept but `kept`, and what is needed.
    async fn begins(&self, manifest: &Manifest, kept: &Kept, needed: &Needed) -> Result<u64, Error> {
        let mut begins = first_kept(manifest, kept);
        for (&(topic, queue), &offset) in needed {
            if let Rows::Found(rows) = self.rows(topic, queue, offset, 1, usize::MAX).await? {
                begins = rows.first().map_or(begins, |row| begins.min(row.position));
            }
        }
        // A run that is needed in part is kept whole.
        let cuts = |run: &&Arc<Run>| run.from < begins && begins < run.to;
        Ok(manifest.rows.iter().find(cuts).map_or(begins, |run| run.from).max(manifest.begins))
    }

    /// From where on the log is kept, and when the oldest message was stored that a checkpoint has seen.
    pub fn kept_from(&self) -> (u64, Option<i64>) {
        let manifest = self.cold().manifest();
        (manifest.begins, manifest.rows.first().map(|run| run.oldest))
    }

    /// Whether something is kept that need not be. What cannot be told now is seen the next time.
    pub(super) async fn keeps_too_much(&self) -> bool {
        let manifest = self.cold().manifest();
        let Some(kept) = self.retention(self.now().wall) else { return false };
        let needed = self.needed();
        let too_much = match self.begins(&manifest, &kept, &needed).await {
            Ok(begins) if begins > manifest.begins => true,
            _ => self.too_old(&kept, &needed).await.is_ok_and(|queues| !queues.is_empty()),
        };
        too_much && !self.core().ended()
    }

    /// What is kept at present; `None` if the clock is not to be trusted.
    fn retention(&self, now: i64) -> Option<Kept> {
        if !self.trusts_clock() {
            tracing::warn!("{}: nothing is given up while this machine's clock is in doubt", self.name);
            return None;
        }
        let core = self.core();
        let state = core.state();
        let since =
            |topic| now.saturating_sub(i64::try_from(state.retention(topic).as_millis()).unwrap_or(i64::MAX));
        let by_topic: BTreeMap<TopicId, i64> =
            state.topics().map(|topic| (topic.id, since(topic.id))).collect();
        let longest = by_topic.values().copied().min().unwrap_or(i64::MIN);
        let shorter = by_topic.into_iter().filter(|(_, since)| *since > longest).collect();
        let bytes = match state.settings().retention_bytes {
            0 => u64::MAX,
            bytes => bytes,
        };
        Some(Kept { since: longest, bytes, end: core.acknowledged(), shorter })
    }

    /// Messages that are needed however old they are: of these queues, from this offset on.
    fn needed(&self) -> Needed {
        let core = self.core();
        let state = core.state();
        let topics = [state.delay_topic(), state.half_topic()];
        let queues = topics.into_iter().flatten().flat_map(|topic| {
            let count = state.topic_of(topic).map_or(0, |topic| topic.read_queues.max(topic.write_queues));
            (0..count.max(64)).map(move |queue| (topic, queue))
        });
        let first = queues.filter_map(|(topic, queue)| {
            let needed = state.needed_from(topic, queue)?;
            let of_queue = core.index().queue(topic, queue)?;
            (needed < of_queue.max()).then_some(((topic, queue), needed.max(of_queue.min())))
        });
        first.collect()
    }

    /// No queue begins before this position any more.
    async fn raise_to(&self, begins: u64) -> Result<(), Error> {
        for ColdQueue { slot, topic, queue, hot_from, .. } in self.cold_queues() {
            let row = self.cold().first_row(topic, queue, i64::MIN, |run: &Run| run.from >= begins).await?;
            let min = row.map_or(hot_from, |row| row.offset);
            self.core().raise(slot, min);
        }
        Ok(())
    }

    /// Queues of topics that are kept for a shorter time than others and have what is older, and not needed: with the
    /// offset of the first message behind that.
    async fn too_old(&self, kept: &Kept, needed: &Needed) -> Result<Vec<(Slot, u64)>, Error> {
        let mut begins = Vec::new();
        for ColdQueue { slot, topic, queue, min, hot_from } in self.cold_queues() {
            let Some(&since) = kept.shorter.get(&topic) else { continue };
            let row = self.cold().first_row(topic, queue, since, |_| true).await?;
            let young = row.map_or(hot_from, |row| row.offset);
            let first = needed.get(&(topic, queue)).map_or(young, |needed| young.min(*needed));
            if first > min {
                begins.push((slot, first));
            }
        }
        Ok(begins)
    }

    pub(super) fn cold_queues(&self) -> Vec<ColdQueue> {
        let mut queues = Vec::new();
        let slots = self.core().index().slots();
        for first in (0..slots).step_by(AT_ONCE) {
            let core = self.core();
            for slot in (first..slots).take(AT_ONCE) {
                if let Some(queue) = core.index().at(slot)
                    && queue.min() < queue.hot_from()
                {
                    let (min, hot_from) = (queue.min(), queue.hot_from());
                    queues.push(ColdQueue { slot, topic: queue.topic, queue: queue.queue, min, hot_from });
                }
            }
        }
        queues
    }
}

/// What is to be kept.
struct Kept {
    /// Messages stored since then.
    since: i64,
    /// The last so many bytes of the log.
    bytes: u64,
    end: u64,
    /// Topics whose messages are kept for a shorter time: those stored since then.
    shorter: BTreeMap<TopicId, i64>,
}

/// Where the log begins if nothing but `kept` is kept.
fn first_kept(manifest: &Manifest, kept: &Kept) -> u64 {
    let too_many = |run: &Arc<Run>| kept.end.saturating_sub(run.to) >= kept.bytes;
    let given_up = |run: &&Arc<Run>| run.newest < kept.since || too_many(run);
    let behind = manifest.rows.iter().find(|run| !given_up(run));
    behind.map_or(manifest.covered, |run| run.from).max(manifest.begins)
}
