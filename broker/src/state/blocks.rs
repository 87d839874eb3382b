//! The state in blocks, as checkpoints keep it: each block is a run of changes that restores its part, so that a
//! checkpoint writes only the blocks in which something changed.

use std::sync::Arc;

use bytes::Bytes;

use super::change::{Change, Commit, Counters};
use super::codec::{Corrupt, Reader, join};
use super::topic::TopicId;
use super::{Remembered, State};

/// A part of the state. A later block of the same key replaces an earlier one; an empty one means that nothing of
/// the part is left. Blocks may be restored in any order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    pub key: u32,
    pub bytes: Bytes,
}

/// The key's top byte is the section, the rest says which part of it.
const SECTION: u32 = 24;
/// Counters, settings and delay levels.
pub(super) const BASE: u32 = 0;
const TOPICS: u32 = 1 << SECTION;
const GROUPS: u32 = 2 << SECTION;
const OFFSETS: u32 = 3 << SECTION;
const HALVES: u32 = 4 << SECTION;

/// Parts of the sections that are split by a hash of the group's name.
const SHARDS: u64 = 64;
const TOPICS_IN_BLOCK: u32 = 512;
const HALVES_IN_BLOCK: u64 = 4_096;
/// Half messages of one block lie this far apart in the queue, at worst; the key wraps around after 2^24 blocks.
const HALF_KEYS: u64 = 1 << SECTION;

pub(super) fn topics(id: TopicId) -> u32 {
    TOPICS | (id.0 / TOPICS_IN_BLOCK)
}

pub(super) fn groups(name: &str) -> u32 {
    GROUPS | shard(name)
}

pub(super) fn offsets(group: &str) -> u32 {
    OFFSETS | shard(group)
}

pub(super) fn halves(offset: u64) -> u32 {
    HALVES | (offset / HALVES_IN_BLOCK % HALF_KEYS) as u32
}

/// A part of the format: names must stay in their blocks over all releases.
fn shard(name: &str) -> u32 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for byte in name.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    }
    (hash % SHARDS) as u32
}

impl State {
    /// The blocks in which something changed since the last call; their writer reports failure with
    /// [`State::dirty_again`].
    pub fn dirty(&mut self) -> Vec<Block> {
        let keys = std::mem::take(&mut self.dirty);
        keys.into_iter().map(|key| Block { key, bytes: self.block(key) }).collect()
    }

    /// These blocks were not saved after all.
    pub fn dirty_again(&mut self, keys: impl IntoIterator<Item = u32>) {
        self.dirty.extend(keys);
    }

    /// Takes a block of a checkpoint back. All of them together make the state that was saved.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), Corrupt> {
        let mut from = Reader(bytes);
        let mut changes = Vec::new();
        while !from.0.is_empty() {
            changes.push(Change::decode(from.bytes()?)?);
        }
        let saved = self.counters;
        let counted = changes.iter().find_map(|change| match change {
            Change::Counters(counters) => Some(*counters),
            _ => None,
        });
        let next_topic = self.counters.next_topic;
        for change in &changes {
            self.apply(change, 0);
        }
        // Restoring is no change of configuration: versions are what the block of counters says.
        let Counters { topics, groups, .. } = counted.unwrap_or(saved);
        (self.counters.topics, self.counters.groups) = (topics, groups);
        self.counters.next_topic = self.counters.next_topic.max(next_topic);
        self.dirty.clear();
        Ok(())
    }

    fn block(&self, key: u32) -> Bytes {
        let part = key & ((1 << SECTION) - 1);
        let changes = match key >> SECTION {
            0 => self.base(),
            1 => {
                let first = part * TOPICS_IN_BLOCK;
                let ids = TopicId(first)..TopicId(first.saturating_add(TOPICS_IN_BLOCK));
                self.by_id.range(ids).map(|(_, topic)| Change::Topic((**topic).clone())).collect()
            }
            2 => self.groups_of(part),
            3 => self.offsets_of(part),
            _ => self.halves_of(part),
        };
        let encoded: Vec<Bytes> = changes.iter().map(Change::encode).collect();
        join(encoded.iter().map(|bytes| bytes.as_ref()))
    }

    fn base(&self) -> Vec<Change> {
        let settings = self
            .overrides
            .iter()
            .map(|(key, value)| Change::Setting { key: key.clone(), value: Some(value.clone()) });
        let delivered = self.delivered.iter().map(|(&level, &next)| Change::Delivered { level, next });
        [Change::Counters(self.counters)].into_iter().chain(settings).chain(delivered).collect()
    }

    fn groups_of(&self, part: u32) -> Vec<Change> {
        let in_part = |name: &&Arc<str>| shard(name) == part;
        let groups = self.groups.iter().filter(|(name, _)| in_part(name));
        let mut changes: Vec<Change> = groups.map(|(_, group)| Change::Group((**group).clone())).collect();
        for (group, remembered) in self.remembered.iter().filter(|(name, _)| in_part(name)) {
            changes.extend(recorded(group, remembered));
        }
        changes
    }

    fn offsets_of(&self, part: u32) -> Vec<Change> {
        let groups = self.offsets.groups().filter(|name| shard(name) == part);
        let commits: Vec<Commit> = groups
            .flat_map(|group| {
                self.offsets.of_group(group).map(|(topic, queue, offset)| Commit {
                    group: group.clone(),
                    topic,
                    queue,
                    offset,
                })
            })
            .collect();
        if commits.is_empty() { Vec::new() } else { vec![Change::Offsets(commits)] }
    }

    fn halves_of(&self, part: u32) -> Vec<Change> {
        // The offsets that wait span far fewer than all keys: the block's are found from the oldest one's round.
        let Some(oldest) = self.halves.first() else { return Vec::new() };
        let round = HALF_KEYS * HALVES_IN_BLOCK;
        let mut from = oldest / round * round + u64::from(part) * HALVES_IN_BLOCK;
        if from + HALVES_IN_BLOCK <= oldest {
            from += round;
        }
        self.halves.range(from, from + HALVES_IN_BLOCK).map(|half| Change::Half(*half)).collect()
    }
}

fn recorded(group: &Arc<str>, remembered: &Remembered) -> Vec<Change> {
    let joined = |client: &Arc<str>| Change::Joined { group: group.clone(), client: client.clone() };
    let mut changes: Vec<Change> = remembered.members.iter().map(joined).collect();
    for (queue, client) in &remembered.locks {
        match changes.last_mut() {
            Some(Change::Locked { client: same, queues, .. }) if same == client => queues.push(*queue),
            _ => changes.push(Change::Locked {
                group: group.clone(),
                client: client.clone(),
                queues: vec![*queue],
            }),
        }
    }
    changes
}
