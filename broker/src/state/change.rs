//! The changes of state that a log carries besides messages, and their format.

use std::sync::Arc;

use bytes::Bytes;

use super::codec::{Corrupt, Reader, Writer};
use super::group::Group;
use super::topic::{Topic, TopicId};

/// Format version, the first byte of every change.
const VERSION: u8 = 1;

/// One durable change of what a virtual broker knows. Golden: `tests/golden/broker/change.v1.txt`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A topic is there, and looks like this.
    Topic(Topic),
    TopicDeleted(TopicId),
    /// A group is there, and looks like this.
    Group(Group),
    GroupDeleted {
        group: Arc<str>,
        /// Whether its offsets go too.
        offsets: bool,
    },
    /// Consumers have come this far.
    Offsets(Vec<Commit>),
    /// An operator changed a setting; without a value it is the configuration's again.
    Setting {
        key: String,
        value: Option<String>,
    },
    /// Of a delay level, everything before this offset of its queue was delivered.
    Delivered {
        level: u16,
        next: u64,
    },
    /// A half message was committed, rolled back, or given up.
    Decided {
        half: u64,
    },
    /// A half message's producer was asked once more; `due` is when it will be asked again.
    Checked {
        half: u64,
        times: u16,
        due: i64,
    },
    /// A group has this member.
    Joined {
        group: Arc<str>,
        client: Arc<str>,
    },
    Left {
        group: Arc<str>,
        client: Arc<str>,
    },
    /// A client was given the sole right to read queues of a group in order.
    Locked {
        group: Arc<str>,
        client: Arc<str>,
        queues: Vec<(TopicId, u16)>,
    },
    Unlocked {
        group: Arc<str>,
        client: Arc<str>,
        queues: Vec<(TopicId, u16)>,
    },
    /// A half message that waits; only checkpoints hold these, the log has the message itself.
    Half(Half),
    /// Counters that must not fall behind what was once given; only checkpoints hold these.
    Counters(Counters),
}

/// How far a group has come in a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    pub group: Arc<str>,
    pub topic: TopicId,
    pub queue: u16,
    pub offset: i64,
}

/// A transactional message without a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Half {
    /// Its offset in the queue of half messages.
    pub offset: u64,
    pub position: u64,
    pub len: u32,
    pub stored_at: i64,
    /// How often its producer was asked.
    pub checks: u16,
    /// When its producer is asked next; 0: by the settings, counted from `stored_at`.
    pub due: i64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub next_topic: u32,
    pub topics: Version,
    pub groups: Version,
}

/// How often a set of configurations changed, and when last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Version {
    pub counter: u64,
    pub changed_at: i64,
}

impl Version {
    pub(super) fn next(self, at: i64) -> Version {
        Version { counter: self.counter.saturating_add(1), changed_at: at }
    }
}

impl Change {
    /// Whether an owner that does not know this kind must not take the log over. A kind that a release adds may be
    /// skipped by an older one only if nothing that was acknowledged is wrong without it.
    pub fn critical(&self) -> bool {
        !matches!(self, Change::Joined { .. } | Change::Left { .. })
    }

    pub fn encode(&self) -> Bytes {
        let mut out = Writer(Vec::with_capacity(64));
        out.0.extend([VERSION, self.kind()]);
        self.fields(&mut out);
        out.0.into()
    }

    fn kind(&self) -> u8 {
        match self {
            Change::Topic(_) => 1,
            Change::TopicDeleted(_) => 2,
            Change::Group(_) => 3,
            Change::GroupDeleted { .. } => 4,
            Change::Offsets(_) => 5,
            Change::Setting { .. } => 6,
            Change::Delivered { .. } => 7,
            Change::Decided { .. } => 8,
            Change::Checked { .. } => 9,
            Change::Joined { .. } => 10,
            Change::Left { .. } => 11,
            Change::Locked { .. } => 12,
            Change::Unlocked { .. } => 13,
            Change::Half(_) => 14,
            Change::Counters(_) => 15,
        }
    }

    fn fields(&self, out: &mut Writer) {
        match self {
            Change::Topic(topic) => topic.encode(out),
            Change::TopicDeleted(topic) => out.number(u64::from(topic.0)),
            Change::Group(group) => group.encode(out),
            Change::GroupDeleted { group, offsets } => {
                out.text(group);
                out.flag(*offsets);
            }
            Change::Offsets(commits) => encode_commits(commits, out),
            Change::Setting { key, value } => {
                out.text(key);
                out.optional(value.as_deref());
            }
            Change::Delivered { level, next } => {
                out.number(u64::from(*level));
                out.number(*next);
            }
            Change::Decided { half } => out.number(*half),
            Change::Checked { half, times, due } => {
                out.number(*half);
                out.number(u64::from(*times));
                out.signed(*due);
            }
            Change::Joined { group, client } | Change::Left { group, client } => {
                out.text(group);
                out.text(client);
            }
            Change::Locked { group, client, queues } | Change::Unlocked { group, client, queues } => {
                out.text(group);
                out.text(client);
                out.number(queues.len() as u64);
                for (topic, queue) in queues {
                    out.number(u64::from(topic.0));
                    out.number(u64::from(*queue));
                }
            }
            Change::Half(half) => encode_half(half, out),
            Change::Counters(counters) => encode_counters(counters, out),
        }
    }

    pub fn decode(bytes: &[u8]) -> Result<Change, Corrupt> {
        let mut from = Reader(bytes);
        match from.byte()? {
            VERSION => {}
            other => return Err(Corrupt(format!("its version is {other}, this release knows {VERSION}"))),
        }
        let change = match from.byte()? {
            1 => Change::Topic(Topic::decode(&mut from)?),
            2 => Change::TopicDeleted(topic(&mut from)?),
            3 => Change::Group(Group::decode(&mut from)?),
            4 => Change::GroupDeleted { group: from.text()?.into(), offsets: from.flag()? },
            5 => Change::Offsets(decode_commits(&mut from)?),
            6 => Change::Setting { key: from.text()?.into(), value: from.optional()?.map(Into::into) },
            7 => Change::Delivered { level: from.fits("a delay level")?, next: from.number()? },
            8 => Change::Decided { half: from.number()? },
            9 => Change::Checked {
                half: from.number()?,
                times: from.fits("a number of checks")?,
                due: from.signed()?,
            },
            10 => Change::Joined { group: from.text()?.into(), client: from.text()?.into() },
            11 => Change::Left { group: from.text()?.into(), client: from.text()?.into() },
            12 => Change::Locked {
                group: from.text()?.into(),
                client: from.text()?.into(),
                queues: queues(&mut from)?,
            },
            13 => Change::Unlocked {
                group: from.text()?.into(),
                client: from.text()?.into(),
                queues: queues(&mut from)?,
            },
            14 => Change::Half(decode_half(&mut from)?),
            15 => Change::Counters(decode_counters(&mut from)?),
            other => return Err(Corrupt(format!("its kind {other} is not known"))),
        };
        from.end()?;
        Ok(change)
    }
}

fn topic(from: &mut Reader<'_>) -> Result<TopicId, Corrupt> {
    Ok(TopicId(from.fits("a topic's number")?))
}

fn queues(from: &mut Reader<'_>) -> Result<Vec<(TopicId, u16)>, Corrupt> {
    let mut queues = Vec::new();
    for _ in 0..from.number()? {
        queues.push((topic(from)?, from.fits("a queue")?));
    }
    Ok(queues)
}

/// Commits by group: a name is written once for all that follow one another.
fn encode_commits(commits: &[Commit], out: &mut Writer) {
    let groups: Vec<&[Commit]> = commits.chunk_by(|a, b| a.group == b.group).collect();
    out.number(groups.len() as u64);
    for commits in groups {
        out.text(commits.first().map_or("", |commit| &commit.group));
        out.number(commits.len() as u64);
        for commit in commits {
            out.number(u64::from(commit.topic.0));
            out.number(u64::from(commit.queue));
            out.signed(commit.offset);
        }
    }
}

fn decode_commits(from: &mut Reader<'_>) -> Result<Vec<Commit>, Corrupt> {
    let mut commits = Vec::new();
    for _ in 0..from.number()? {
        let group: Arc<str> = from.text()?.into();
        for _ in 0..from.number()? {
            commits.push(Commit {
                group: group.clone(),
                topic: topic(from)?,
                queue: from.fits("a queue")?,
                offset: from.signed()?,
            });
        }
    }
    Ok(commits)
}

fn encode_half(half: &Half, out: &mut Writer) {
    out.number(half.offset);
    out.number(half.position);
    out.number(u64::from(half.len));
    out.signed(half.stored_at);
    out.number(u64::from(half.checks));
    out.signed(half.due);
}

fn decode_half(from: &mut Reader<'_>) -> Result<Half, Corrupt> {
    Ok(Half {
        offset: from.number()?,
        position: from.number()?,
        len: from.fits("a length")?,
        stored_at: from.signed()?,
        checks: from.fits("a number of checks")?,
        due: from.signed()?,
    })
}

fn encode_counters(counters: &Counters, out: &mut Writer) {
    out.number(u64::from(counters.next_topic));
    for version in [counters.topics, counters.groups] {
        out.number(version.counter);
        out.signed(version.changed_at);
    }
}

fn decode_counters(from: &mut Reader<'_>) -> Result<Counters, Corrupt> {
    Ok(Counters {
        next_topic: from.fits("a topic's number")?,
        topics: Version { counter: from.number()?, changed_at: from.signed()? },
        groups: Version { counter: from.number()?, changed_at: from.signed()? },
    })
}

#[cfg(test)]
mod tests;
