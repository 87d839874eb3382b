//! What a virtual broker does for itself: checkpoints, merges, retention. One task, in this order, so that nothing of it
//! runs twice.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use ledger::log::Position;
use rustc_hash::FxHashMap;
use tokio::time::{sleep, timeout};

use super::{Needs, Vb};
use crate::checkpoint::block::{RowItem, queue_key};
use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::merge::Widest;
use crate::checkpoint::run::Run;
use crate::checkpoint::write::{self, Cut, Memory, Work};
use crate::error::Error;
use crate::index::keys::KeyRow;
use crate::index::queue::{HotRow, Queue};
use crate::index::{Rows, Slot};
use crate::state::{State, TopicId};

/// Queues that are looked at under one hold of the core's lock.
const AT_ONCE: usize = 256;
/// A link of the checkpoint log is left behind when it has so many bytes.
const LINK_BYTES: u64 = 64 << 20;
/// All that is kept is in this many runs at least; and no run covers more of the log than that.
const RUNS: i64 = 16;
const MAX_SPAN: u64 = 4 << 30;
/// A virtual broker that stores nothing looks this often whether it keeps more than it should.
const IDLE: Duration = Duration::from_secs(60);
/// After a failure that may pass.
const AGAIN: Duration = Duration::from_secs(1);

/// Queues with messages that are needed however old they are, and the first of these in each.
type Needed = BTreeMap<(TopicId, u16), u64>;

/// Takes checkpoints until the virtual broker is over.
pub(super) async fn keep(vb: Weak<Vb>, needs: Arc<Needs>, after: Duration) {
    loop {
        let idle = timeout(IDLE, needs.checkpoint.notified()).await.is_err();
        if !idle {
            let _ = timeout(after, needs.checkpoint_now.notified()).await;
        }
        let Some(vb) = vb.upgrade() else { return };
        // Where nothing is stored, because disks are full perhaps, what is there is given up all the same.
        if idle && !vb.keeps_too_much().await {
            continue;
        }
        while let Err(error) = vb.checkpoint().await {
            if vb.core().ended() {
                return;
            }
            if matches!(error, Error::Log(ledger::Error::Ended(_))) {
                tracing::info!("the checkpoint log of {} has ended: {error}", vb.name);
                return vb.end();
            }
            tracing::warn!("{}: no checkpoint was taken, again in a second: {error}", vb.name);
            sleep(AGAIN).await;
        }
    }
}

impl Memory for Vb {
    fn rows(&self, slot: Slot, from: u64, end: u64, max: usize) -> Vec<HotRow> {
        let core = self.core();
        let queue = core.index().at(slot);
        queue.map(|queue| queue.hot_rows(from, end).take(max).collect()).unwrap_or_default()
    }
}

/// What a checkpoint has taken from the core. Dropped unsaved, because that failed or because whoever waited for it gave up,
/// it is the next checkpoint's to save.
struct Taken<'a> {
    vb: &'a Vb,
    cut: Cut,
    saved: bool,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if !self.saved {
            self.vb.core().uncut(&self.cut);
        }
    }
}

impl Vb {
    /// Gives up what need not be kept, saves what was staged so far and merges runs.
    pub async fn checkpoint(&self) -> Result<(), Error> {
        let _alone = self.keeping.lock().await;
        // First: the table that is saved says where queues begin then, so that the log can be trimmed.
        let begins = self.give_up().await?;
        let mut taken = Taken { vb: self, cut: self.core().cut(), saved: false };
        self.drive();
        self.save(&mut taken, begins).await?;
        self.merge().await
    }

    async fn save(&self, taken: &mut Taken<'_>, begins: u64) -> Result<(), Error> {
        let cut = &taken.cut;
        self.reached(cut.covered).await?;
        let store = &self.cold().store;
        let before = self.cold().manifest();
        let mut next = write::write(store, &before, cut, self).await?;
        next.begins = begins;
        next.rows.retain(|run| run.to > begins);
        next.keys.retain(|run| run.to > begins);
        store.commit(next.encode()).await?;
        self.cold().replace(next);
        taken.saved = true;
        for warm in cut.warm.chunks(AT_ONCE) {
            self.core().cool(warm);
        }
        self.core().covered(cut.covered);
        if begins > before.begins {
            self.log.trim(Position(begins)).await?;
        }
        Ok(())
    }

    /// Merges what should be merged, and gives up the checkpoint log's old end.
    async fn merge(&self) -> Result<(), Error> {
        let store = &self.cold().store;
        loop {
            let before = self.cold().manifest();
            let work = Work::of(&before, store.end(), self.widest());
            if work.is_empty() {
                let oldest = before.oldest().unwrap_or(0);
                return store.trim(oldest, LINK_BYTES).await;
            }
            let mins = self.by_queue(|queue, _| queue.min());
            let keep_row = |item: &RowItem| mins.get(&item.queue).is_some_and(|min| item.offset >= *min);
            let keep_key = |row: &KeyRow| row.position >= before.begins;
            let (rows, keys) = work.run(store, keep_row, keep_key).await?;
            let mut next = Manifest::clone(&before);
            if let Some(rows) = rows {
                rows.install(&mut next.rows);
            }
            if let Some(keys) = keys {
                keys.install(&mut next.keys);
            }
            store.commit(next.encode()).await?;
            self.cold().replace(next);
        }
    }

    /// Runs are so narrow that giving up whole ones keeps little more than is to be kept.
    fn widest(&self) -> Widest {
        let core = self.core();
        let settings = core.state().settings();
        let milliseconds = i64::from(settings.retention_hours) * 3_600_000 / RUNS;
        let bytes = match settings.retention_bytes {
            0 => MAX_SPAN,
            bytes => MAX_SPAN.min(bytes / RUNS as u64),
        };
        Widest { bytes, milliseconds }
    }

    /// Something of each queue, by its key in the runs.
    pub(super) fn by_queue<T>(&self, of: impl Fn(&Queue, &State) -> T) -> FxHashMap<u64, T> {
        let mut all = FxHashMap::default();
        let slots = self.core().index().slots();
        for first in (0..slots).step_by(AT_ONCE) {
            let core = self.core();
            let queues = (first..slots).take(AT_ONCE).filter_map(|slot| core.index().at(slot));
            all.extend(queues.map(|queue| (queue_key(queue.topic, queue.queue), of(queue, core.state()))));
        }
        all
    }

    /// Raises the beginnings of queues over what is older or more than is to be kept: whole runs only, so that queues
    /// begin where a run does. Returns where the log begins then.
    async fn give_up(&self) -> Result<u64, Error> {
        let manifest = self.cold().manifest();
        let Some(kept) = self.retention(self.now().wall) else { return Ok(manifest.begins) };
        let needed = self.needed();
        let begins = self.begins(&manifest, &kept, &needed).await?;
        if begins > manifest.begins {
            self.raise_to(begins).await?;
        }
        for (topic, since) in kept.shorter {
            self.raise_since(topic, since, &needed).await?;
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
    async fn keeps_too_much(&self) -> bool {
        let manifest = self.cold().manifest();
        let Some(kept) = self.retention(self.now().wall) else { return false };
        let needed = self.needed();
        let begins = self.begins(&manifest, &kept, &needed).await;
        !self.core().ended() && begins.is_ok_and(|begins| begins > manifest.begins)
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
        for (slot, topic, queue, hot_from) in self.queues() {
            let row = self.cold().first_row(topic, queue, i64::MIN, |run: &Run| run.from >= begins).await?;
            let min = row.map_or(hot_from, |row| row.offset);
            self.core().raise(slot, min);
        }
        Ok(())
    }

    /// The topic's queues begin with what is younger than `since`, or still needed.
    async fn raise_since(&self, topic: TopicId, since: i64, needed: &Needed) -> Result<(), Error> {
        for (slot, of, queue, hot_from) in self.queues() {
            if of == topic {
                let row = self.cold().first_row(topic, queue, since, |_| true).await?;
                let young = row.map_or(hot_from, |row| row.offset);
                let needed = needed.get(&(topic, queue)).copied().unwrap_or(u64::MAX);
                self.core().raise(slot, young.min(needed));
            }
        }
        Ok(())
    }

    /// Queues that have rows in checkpoints, and where their rows in memory begin.
    fn queues(&self) -> Vec<(Slot, TopicId, u16, u64)> {
        let mut queues = Vec::new();
        let slots = self.core().index().slots();
        for first in (0..slots).step_by(AT_ONCE) {
            let core = self.core();
            for slot in (first..slots).take(AT_ONCE) {
                if let Some(queue) = core.index().at(slot)
                    && queue.min() < queue.hot_from()
                {
                    queues.push((slot, queue.topic, queue.queue, queue.hot_from()));
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
    /// Topics whose messages are kept for a shorter time.
    shorter: Vec<(TopicId, i64)>,
}

/// Where the log begins if nothing but `kept` is kept.
fn first_kept(manifest: &Manifest, kept: &Kept) -> u64 {
    let too_many = |run: &Arc<Run>| kept.end.saturating_sub(run.to) >= kept.bytes;
    let given_up = |run: &&Arc<Run>| run.newest < kept.since || too_many(run);
    let behind = manifest.rows.iter().find(|run| !given_up(run));
    behind.map_or(manifest.covered, |run| run.from).max(manifest.begins)
}
