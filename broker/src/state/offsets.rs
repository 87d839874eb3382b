//! How far groups have come in queues.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::change::Commit;
use super::topic::TopicId;

/// No offset was ever committed.
const NONE: i64 = -1;

/// By group and topic, a row of offsets by queue.
#[derive(Debug, Default)]
pub struct Offsets {
    groups: BTreeMap<Arc<str>, BTreeMap<TopicId, Vec<i64>>>,
}

impl Offsets {
    pub fn get(&self, group: &str, topic: TopicId, queue: u16) -> Option<i64> {
        let offset = *self.groups.get(group)?.get(&topic)?.get(usize::from(queue))?;
        (offset != NONE).then_some(offset)
    }

    /// Groups that committed anything, by name.
    pub fn groups(&self) -> impl Iterator<Item = &Arc<str>> {
        self.groups.keys()
    }

    /// What a group committed, by topic and queue.
    pub fn of_group(&self, group: &str) -> impl Iterator<Item = (TopicId, u16, i64)> {
        let topics = self.groups.get(group).into_iter().flatten();
        topics.flat_map(|(topic, row)| {
            let committed = row.iter().enumerate().filter(|(_, offset)| **offset != NONE);
            committed.map(|(queue, offset)| (*topic, queue as u16, *offset))
        })
    }

    pub(super) fn commit(&mut self, commit: &Commit) {
        let topics = match self.groups.get_mut(&commit.group) {
            Some(topics) => topics,
            None => self.groups.entry(commit.group.clone()).or_default(),
        };
        let row = topics.entry(commit.topic).or_default();
        let queue = usize::from(commit.queue);
        if row.len() <= queue {
            row.resize(queue + 1, NONE);
        }
        if let Some(offset) = row.get_mut(queue) {
            *offset = commit.offset;
        }
    }

    pub(super) fn forget_group(&mut self, group: &str) {
        self.groups.remove(group);
    }

    /// Returns the groups that had come anywhere in it.
    pub(super) fn forget_topic(&mut self, topic: TopicId) -> Vec<Arc<str>> {
        let mut touched = Vec::new();
        for (group, topics) in &mut self.groups {
            if topics.remove(&topic).is_some() {
                touched.push(group.clone());
            }
        }
        self.groups.retain(|_, topics| !topics.is_empty());
        touched
    }
}
