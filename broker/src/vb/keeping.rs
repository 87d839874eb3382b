//! What a virtual broker does for itself: what need not be kept is given up, checkpoints are taken, runs merged, links
//! deleted. One task, in this order, so that nothing of it runs twice.

use std::sync::{Arc, Weak};
use std::time::Duration;

use ledger::log::Position;
use planted::Bug;
use rustc_hash::FxHashMap;
use tokio::time::{sleep, timeout};

use super::{Needs, Vb};
use crate::checkpoint::block::{RowItem, queue_key};
use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::merge::Widest;
use crate::checkpoint::write::{self, Cut, Memory, Work};
use crate::error::Error;
use crate::index::Slot;
use crate::index::keys::KeyRow;
use crate::index::queue::{HotRow, Queue};
use crate::state::State;

/// Queues that are looked at under one hold of the core's lock.
pub(super) const AT_ONCE: usize = 256;
/// A link of the checkpoint log is left behind when it has so many bytes.
const LINK_BYTES: u64 = 64 << 20;
/// All that is kept is in this many runs at least; and no run covers more of the log than that.
const RUNS: i64 = 16;
const MAX_SPAN: u64 = 4 << 30;
/// A virtual broker that stores nothing looks this often whether it keeps more than it should.
const IDLE: Duration = Duration::from_secs(60);
/// After a failure that may pass.
const AGAIN: Duration = Duration::from_secs(1);

/// Takes checkpoints until the virtual broker is over.
pub(super) async fn keep(vb: Weak<Vb>, needs: Arc<Needs>, after: Duration) {
    loop {
        // What the owner before did not come to, or what failed the last time.
        let Some(opened) = vb.upgrade() else { return };
        opened.trim().await;
        drop(opened);
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
        if !self.saved && !planted::on(Bug::CutNotGivenBack) {
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
        if planted::on(Bug::TrimBeforeCheckpoint) {
            self.log.trim(Position(begins)).await?;
        }
        let mut taken = Taken { vb: self, cut: self.core().cut(), saved: false };
        self.drive();
        self.save(&mut taken, begins).await?;
        self.trim().await;
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
        Ok(())
    }

    /// Deletes links that lie before everything that the newest checkpoint keeps. What cannot be deleted now is the next
    /// time: where there is nothing to delete nobody is asked.
    async fn trim(&self) {
        let begins = Position(self.cold().manifest().begins);
        if let Err(error) = self.log.trim(begins).await
            && !self.core().ended()
        {
            tracing::warn!("{}: its log's old end was not deleted, again in a while: {error}", self.name);
        }
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
}
