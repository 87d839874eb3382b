//! Offsets that groups commit. What changes nothing is dropped; the rest waits a little, so that many commits are
//! one record. Nobody is shown an offset before it is in the log.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::held::Queue;
use crate::state::{Change, Commit};
use crate::vb::{Core, Now, Record, Refused};

/// Commits of one record.
const IN_RECORD: usize = 4_096;

#[derive(Debug, Default)]
pub(crate) struct Commits {
    pending: BTreeMap<Arc<str>, BTreeMap<Queue, i64>>,
    /// Everything that was ever handed to the log is in it once this is acknowledged.
    end: u64,
}

impl Commits {
    /// Takes a commit; says whether it is the first that waits.
    pub fn add(&mut self, core: &Core, group: &Arc<str>, queue: Queue, offset: i64) -> bool {
        let first = self.pending.is_empty();
        let known = core.state().offsets().get(group, queue.0, queue.1);
        if let Some(queues) = self.pending.get_mut(group) {
            queues.insert(queue, offset);
        } else if known != Some(offset) {
            self.pending.entry(group.clone()).or_default().insert(queue, offset);
        }
        first && !self.pending.is_empty()
    }

    pub fn waits(&self, group: &str) -> bool {
        self.pending.contains_key(group)
    }

    /// What is to be forgotten with a group's offsets.
    pub fn forget(&mut self, group: &str) {
        self.pending.remove(group);
    }

    /// Hands everything that waits to the log. What it does not take goes on waiting.
    pub fn flush(&mut self, core: &mut Core, now: Now) -> Result<(), Refused> {
        while let Some(group) = self.pending.keys().next().cloned() {
            let changed: Vec<Commit> = self.changed(core, &group);
            self.hand_over(core, &changed, now)?;
            self.pending.remove(&group);
        }
        Ok(())
    }

    /// Hands offsets to the log; nobody is shown them before they are in it.
    pub fn hand_over(&mut self, core: &mut Core, commits: &[Commit], now: Now) -> Result<(), Refused> {
        for part in commits.chunks(IN_RECORD) {
            let staged = core.stage(&[Record::Change(&Change::Offsets(part.to_vec()))], now)?;
            self.end = self.end.max(staged.end);
        }
        Ok(())
    }

    /// Whether something that was handed to the log is not acknowledged yet.
    pub fn unsettled(&self, core: &Core) -> bool {
        core.acknowledged() < self.end && !planted::on(planted::Bug::CommitConfirmedEarly)
    }

    fn changed(&self, core: &Core, group: &Arc<str>) -> Vec<Commit> {
        let offsets = core.state().offsets();
        let exists = |queue: &Queue| core.state().topic_of(queue.0).is_some();
        let pending = self.pending.get(group).into_iter().flatten();
        pending
            .filter(|(queue, offset)| exists(queue) && offsets.get(group, queue.0, queue.1) != Some(**offset))
            .map(|(&(topic, queue), &offset)| Commit { group: group.clone(), topic, queue, offset })
            .collect()
    }
}
