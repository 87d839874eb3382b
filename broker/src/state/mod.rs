//! What a virtual broker keeps besides messages. A pure function of its log: the same changes in the same order give
//! the same state, in the owner that appended them and in the one that takes over.

mod blocks;
mod change;
mod codec;
mod group;
mod halves;
mod offsets;
mod settings;
pub mod topic;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use planted::Bug;
use rustc_hash::FxHashMap;

pub use blocks::Block;
pub use change::{Change, Commit, Counters, Half, Version};
pub use codec::Corrupt;
pub use group::Group;
pub use halves::Halves;
pub use offsets::Offsets;
pub use settings::{DelayLevels, Flush, Millis, Settings, WrongSetting};
pub use topic::{Topic, TopicId};

/// What the owner before this one knew of a group, and what counts for a while after it is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    pub members: BTreeSet<Arc<str>>,
    pub locks: BTreeMap<(TopicId, u16), Arc<str>>,
}

/// A message as its place in an entry's table tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    pub topic: TopicId,
    pub queue: u16,
    pub queue_offset: u64,
    pub position: u64,
    pub len: u32,
    pub store_time: i64,
}

#[derive(Debug)]
pub struct State {
    topics: FxHashMap<Arc<str>, Arc<Topic>>,
    by_id: BTreeMap<TopicId, Arc<Topic>>,
    groups: BTreeMap<Arc<str>, Arc<Group>>,
    offsets: Offsets,
    /// The configuration's settings, and what operators changed in them since.
    configured: Settings,
    settings: Settings,
    overrides: BTreeMap<String, String>,
    /// By level: everything before this offset of the delay queue was delivered.
    delivered: BTreeMap<u16, u64>,
    halves: Halves,
    remembered: BTreeMap<Arc<str>, Remembered>,
    counters: Counters,
    dirty: BTreeSet<u32>,
    half_topic: Option<TopicId>,
    delay_topic: Option<TopicId>,
}

impl State {
    pub fn new(configured: Settings) -> State {
        State {
            topics: FxHashMap::default(),
            by_id: BTreeMap::new(),
            groups: BTreeMap::new(),
            offsets: Offsets::default(),
            settings: configured.clone(),
            configured,
            overrides: BTreeMap::new(),
            delivered: BTreeMap::new(),
            halves: Halves::default(),
            remembered: BTreeMap::new(),
            counters: Counters::default(),
            dirty: BTreeSet::new(),
            half_topic: None,
            delay_topic: None,
        }
    }

    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(name)
    }

    pub fn topic_of(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.by_id.get(&id)
    }

    /// All topics, oldest first.
    pub fn topics(&self) -> impl ExactSizeIterator<Item = &Arc<Topic>> {
        self.by_id.values()
    }

    /// The number for the next new topic.
    pub fn next_topic(&self) -> TopicId {
        TopicId(self.counters.next_topic)
    }

    pub fn topics_version(&self) -> Version {
        self.counters.topics
    }

    pub fn group(&self, name: &str) -> Option<&Arc<Group>> {
        self.groups.get(name)
    }

    pub fn groups(&self) -> impl ExactSizeIterator<Item = &Arc<Group>> {
        self.groups.values()
    }

    pub fn groups_version(&self) -> Version {
        self.counters.groups
    }

    pub fn offsets(&self) -> &Offsets {
        &self.offsets
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What operators changed, by key.
    pub fn overrides(&self) -> &BTreeMap<String, String> {
        &self.overrides
    }

    pub fn halves(&self) -> &Halves {
        &self.halves
    }

    pub fn half_topic(&self) -> Option<TopicId> {
        self.half_topic
    }

    pub fn delay_topic(&self) -> Option<TopicId> {
        self.delay_topic
    }

    /// The next offset of a level's queue to deliver.
    pub fn delivered(&self, level: u16) -> u64 {
        self.delivered.get(&level).copied().unwrap_or(0)
    }

    /// What an owner before this one recorded of a group.
    pub fn remembered(&self, group: &str) -> Option<&Remembered> {
        self.remembered.get(group)
    }

    pub fn all_remembered(&self) -> impl Iterator<Item = (&Arc<str>, &Remembered)> {
        self.remembered.iter()
    }

    /// The first offset of a queue that is needed whatever the retention says: of a delay level what was not
    /// delivered, of the half messages the first without a decision. `None`: nothing of this queue is.
    pub fn needed_from(&self, topic: TopicId, queue: u16) -> Option<u64> {
        if self.delay_topic == Some(topic) {
            return Some(self.delivered(queue + 1));
        }
        if self.half_topic == Some(topic) && queue == 0 { self.halves.first() } else { None }
    }

    /// How long a topic's messages are kept.
    pub fn retention(&self, topic: TopicId) -> Duration {
        let hours = |hours: u64| Duration::from_secs(hours.saturating_mul(3600));
        let of_topic = self
            .by_id
            .get(&topic)
            .and_then(|topic| topic.attributes.get("reserve.time"))
            .and_then(|ms| ms.parse().ok())
            .filter(|ms| *ms > 0)
            .map(Duration::from_millis);
        of_topic.unwrap_or(hours(u64::from(self.settings.retention_hours)))
    }

    /// How many bytes of a topic are kept, if that is said of it.
    pub fn kept_bytes(&self, topic: TopicId) -> Option<u64> {
        let bytes = self.by_id.get(&topic)?.attributes.get(topic::KEPT_BYTES)?;
        bytes.parse().ok().filter(|bytes| *bytes > 0)
    }

    /// What the answer to whoever sends to a topic means.
    pub fn flush(&self, topic: &Topic) -> Flush {
        match topic.attributes.get(topic::DURABILITY).map(String::as_str) {
            Some("sync") => Flush::Sync,
            Some("async") => Flush::Async,
            _ => self.settings.flush,
        }
    }

    /// A message entered the log. Called for every one, by its owner and at recovery.
    pub fn stored(&mut self, message: &Stored) {
        if self.half_topic == Some(message.topic) && message.queue == 0 {
            self.halves.add(Half {
                offset: message.queue_offset,
                position: message.position,
                len: message.len,
                stored_at: message.store_time,
                checks: 0,
                due: 0,
            });
            self.dirty.insert(blocks::halves(message.queue_offset));
        }
    }

    /// A change entered the log at this store time. Total: what makes no sense changes nothing.
    pub fn apply(&mut self, change: &Change, at: i64) {
        match change {
            Change::Topic(topic) => self.put_topic(topic, at),
            Change::TopicDeleted(id) => self.delete_topic(*id, at),
            Change::Group(group) => {
                self.groups.insert(group.name.clone(), Arc::new(group.clone()));
                self.groups_changed(&group.name, at);
            }
            Change::GroupDeleted { group, offsets } => self.delete_group(group, *offsets, at),
            Change::Offsets(commits) => {
                for commit in commits {
                    self.offsets.commit(commit);
                    self.dirty.insert(blocks::offsets(&commit.group));
                }
            }
            Change::Setting { key, value } => self.set(key, value.as_deref(), at),
            Change::Delivered { level, next } => {
                let delivered = self.delivered.entry(*level).or_default();
                *delivered = (*delivered).max(*next);
                self.dirty.insert(blocks::BASE);
            }
            Change::Decided { half } => {
                if !planted::on(Bug::DecisionForgotten) && self.halves.decide(*half) {
                    self.dirty.insert(blocks::halves(*half));
                }
            }
            Change::Checked { half, times, due } => {
                if self.halves.checked(*half, *times, *due) {
                    self.dirty.insert(blocks::halves(*half));
                }
            }
            Change::Half(half) => {
                self.halves.add(*half);
                self.dirty.insert(blocks::halves(half.offset));
            }
            Change::Counters(counters) => {
                self.counters = *counters;
                self.dirty.insert(blocks::BASE);
            }
            Change::Joined { .. } | Change::Left { .. } => self.remember_member(change),
            Change::Locked { .. } | Change::Unlocked { .. } => self.remember_locks(change),
        }
    }

    fn put_topic(&mut self, topic: &Topic, at: i64) {
        let shared = Arc::new(topic.clone());
        if let Some(old) = self.topics.insert(topic.name.clone(), shared.clone())
            && old.id != topic.id
        {
            self.forget_topic(old.id);
        }
        self.by_id.insert(topic.id, shared);
        self.counters.next_topic = self.counters.next_topic.max(topic.id.0.saturating_add(1));
        match &*topic.name {
            topic::HALF => self.half_topic = Some(topic.id),
            topic::DELAY => self.delay_topic = Some(topic.id),
            _ => {}
        }
        self.topics_changed(topic.id, at);
    }

    fn delete_topic(&mut self, id: TopicId, at: i64) {
        let Some(topic) = self.by_id.get(&id) else { return };
        self.topics.remove(&topic.name);
        self.forget_topic(id);
        self.topics_changed(id, at);
    }

    /// What is left of a topic once its name is gone or means another.
    fn forget_topic(&mut self, id: TopicId) {
        self.by_id.remove(&id);
        self.dirty.insert(blocks::topics(id));
        for group in self.offsets.forget_topic(id) {
            self.dirty.insert(blocks::offsets(&group));
        }
        for (group, remembered) in &mut self.remembered {
            let before = remembered.locks.len();
            remembered.locks.retain(|(topic, _), _| *topic != id);
            if remembered.locks.len() != before {
                self.dirty.insert(blocks::groups(group));
            }
        }
    }

    fn delete_group(&mut self, group: &Arc<str>, offsets: bool, at: i64) {
        self.groups.remove(group);
        self.remembered.remove(group);
        if offsets {
            self.offsets.forget_group(group);
            self.dirty.insert(blocks::offsets(group));
        }
        self.groups_changed(group, at);
    }

    fn set(&mut self, key: &str, value: Option<&str>, at: i64) {
        let registered = self.settings.registered();
        match value {
            Some(value) => self.overrides.insert(key.into(), value.into()),
            None => self.overrides.remove(key),
        };
        self.settings = self.configured.clone();
        for (key, value) in &self.overrides {
            // A setting that this release does not know any more keeps its record and has no effect.
            let _unknown = self.settings.set(key, value);
        }
        self.dirty.insert(blocks::BASE);
        if self.settings.registered() != registered {
            self.counters.topics = self.counters.topics.next(at);
        }
    }

    fn remember_member(&mut self, change: &Change) {
        let (Change::Joined { group, client } | Change::Left { group, client }) = change else { return };
        let remembered = self.remembered.entry(group.clone()).or_default();
        if matches!(change, Change::Joined { .. }) {
            remembered.members.insert(client.clone());
        } else {
            remembered.members.remove(client);
        }
        self.remembered_changed(group);
    }

    fn remember_locks(&mut self, change: &Change) {
        let (Change::Locked { group, client, queues } | Change::Unlocked { group, client, queues }) = change
        else {
            return;
        };
        let remembered = self.remembered.entry(group.clone()).or_default();
        for queue in queues {
            if matches!(change, Change::Locked { .. }) {
                remembered.locks.insert(*queue, client.clone());
            } else if remembered.locks.get(queue) == Some(client) {
                remembered.locks.remove(queue);
            }
        }
        self.remembered_changed(group);
    }

    fn remembered_changed(&mut self, group: &Arc<str>) {
        self.dirty.insert(blocks::groups(group));
        if self.remembered.get(group).is_some_and(|r| r.members.is_empty() && r.locks.is_empty()) {
            self.remembered.remove(group);
        }
    }

    fn topics_changed(&mut self, id: TopicId, at: i64) {
        self.counters.topics = self.counters.topics.next(at);
        self.dirty.extend([blocks::BASE, blocks::topics(id)]);
    }

    fn groups_changed(&mut self, group: &str, at: i64) {
        self.counters.groups = self.counters.groups.next(at);
        self.dirty.extend([blocks::BASE, blocks::groups(group)]);
    }
}

#[cfg(test)]
mod tests;
