//! A topic's configuration, and which names a topic may have.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::codec::{Corrupt, Reader, Writer};

/// A topic of one virtual broker. Never given twice: a topic that is deleted and made again is another one, and its
/// queues begin at 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub u32);

/// What a topic allows, as RocketMQ writes it.
pub mod perm {
    pub const READ: u8 = 4;
    pub const WRITE: u8 = 2;
    pub const INHERIT: u8 = 1;
    pub const ALL: u8 = READ | WRITE | INHERIT;
}

/// The attribute of a topic that says when its senders are answered: `sync` or `async`, whatever `flushDiskType` says.
pub const DURABILITY: &str = "durability";
/// How many bytes of a topic are kept. Another attribute of ours.
pub const KEPT_BYTES: &str = "retention.bytes";

/// The most queues that a topic may have in one virtual broker.
pub const MAX_QUEUES: u16 = 16_384;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub id: TopicId,
    pub name: Arc<str>,
    pub read_queues: u16,
    pub write_queues: u16,
    pub perm: u8,
    pub order: bool,
    pub sys_flag: u32,
    /// RocketMQ's topic attributes, [`DURABILITY`] and [`KEPT_BYTES`], without the sign that a request writes before a key.
    pub attributes: BTreeMap<String, String>,
}

impl Topic {
    pub fn new(id: TopicId, name: &str, queues: u16, perm: u8) -> Topic {
        Topic {
            id,
            name: name.into(),
            read_queues: queues,
            write_queues: queues,
            perm,
            order: false,
            sys_flag: 0,
            attributes: BTreeMap::new(),
        }
    }

    pub fn readable(&self) -> bool {
        self.perm & perm::READ != 0
    }

    pub fn writable(&self) -> bool {
        self.perm & perm::WRITE != 0
    }

    /// Queues that exist for any purpose: one may be read after it takes no more writes, and the other way round.
    pub fn queues(&self) -> u16 {
        self.read_queues.max(self.write_queues)
    }

    pub(super) fn encode(&self, out: &mut Writer) {
        out.number(u64::from(self.id.0));
        out.text(&self.name);
        out.number(u64::from(self.read_queues));
        out.number(u64::from(self.write_queues));
        out.number(u64::from(self.perm));
        out.flag(self.order);
        out.number(u64::from(self.sys_flag));
        out.number(self.attributes.len() as u64);
        for (key, value) in &self.attributes {
            out.text(key);
            out.text(value);
        }
    }

    pub(super) fn decode(from: &mut Reader<'_>) -> Result<Topic, Corrupt> {
        let mut topic = Topic {
            id: TopicId(from.fits("a topic's number")?),
            name: from.text()?.into(),
            read_queues: from.fits("a number of queues")?,
            write_queues: from.fits("a number of queues")?,
            perm: from.fits("a permission")?,
            order: from.flag()?,
            sys_flag: from.fits("a topic's flags")?,
            attributes: BTreeMap::new(),
        };
        for _ in 0..from.number()? {
            topic.attributes.insert(from.text()?.into(), from.text()?.into());
        }
        Ok(topic)
    }
}

pub const RETRY_PREFIX: &str = "%RETRY%";
pub const DLQ_PREFIX: &str = "%DLQ%";
pub const AUTO_CREATE: &str = "TBW102";
pub const DELAY: &str = "SCHEDULE_TOPIC_XXXX";
pub const HALF: &str = "RMQ_SYS_TRANS_HALF_TOPIC";
pub const OP_HALF: &str = "RMQ_SYS_TRANS_OP_HALF_TOPIC";
/// Where a half message is parked after the last check.
pub const CHECKED_OUT: &str = "TRANS_CHECK_MAX_TIME_TOPIC";
pub const SELF_TEST: &str = "SELF_TEST_TOPIC";
pub const BENCHMARK: &str = "BenchmarkTest";
pub const OFFSET_MOVED: &str = "OFFSET_MOVED_EVENT";
/// Where clients send traces to; made by the first of them, as any topic, or by the setting `traceTopicEnable`.
pub const TRACE: &str = "RMQ_SYS_TRACE_TOPIC";
/// Behind the cluster's name: where answers of request and reply go.
pub const REPLY_SUFFIX: &str = "_REPLY_TOPIC";

/// Topics that exist for the broker's sake, whatever they are called on top of these: the cluster's and the virtual
/// broker's own names.
pub const SYSTEM: [&str; 8] =
    [AUTO_CREATE, DELAY, HALF, OP_HALF, CHECKED_OUT, SELF_TEST, BENCHMARK, OFFSET_MOVED];

/// Topics that nobody may send to.
const NOT_SENDABLE: [&str; 6] = [DELAY, HALF, OP_HALF, CHECKED_OUT, SELF_TEST, OFFSET_MOVED];

pub fn sendable(name: &str) -> bool {
    !NOT_SENDABLE.contains(&name)
}

/// Whether RocketMQ counts a topic among its own.
pub fn is_system(name: &str) -> bool {
    SYSTEM.contains(&name) || name == TRACE || name.starts_with("rmq_sys_")
}

/// The longest name of a topic that a user sends to; a retry or dead letter topic may be longer.
pub const MAX_NAME: usize = 127;
pub const MAX_DERIVED_NAME: usize = 255;

/// What is wrong with a topic's name, in RocketMQ's words.
pub fn wrong_name(name: &str) -> Option<String> {
    if name.trim().is_empty() {
        return Some("The specified topic is blank.".into());
    }
    if let Some(bad) = name.chars().find(|c| !is_name_char(*c)) {
        return Some(format!(
            "The specified topic contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$ (found {bad:?})"
        ));
    }
    let derived = name.starts_with(RETRY_PREFIX) || name.starts_with(DLQ_PREFIX);
    let most = if derived { MAX_DERIVED_NAME } else { MAX_NAME };
    (name.len() > most).then(|| format!("The specified topic is longer than topic max length {most}."))
}

pub const MAX_GROUP_NAME: usize = 255;

/// What is wrong with a group's name, in RocketMQ's words.
pub fn wrong_group(name: &str) -> Option<String> {
    if name.trim().is_empty() {
        return Some("The specified group is blank.".into());
    }
    if let Some(bad) = name.chars().find(|c| !is_name_char(*c)) {
        return Some(format!(
            "The specified group contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$ (found {bad:?})"
        ));
    }
    (name.len() > MAX_GROUP_NAME)
        .then(|| format!("The specified group is longer than group max length {MAX_GROUP_NAME}."))
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '%' | '|' | '_' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_refused_in_rocketmqs_words() {
        assert_eq!(wrong_name("Topic_1-a%ns|x"), None);
        for (name, why) in [(" ", "blank"), ("a b", "illegal"), ("tópico", "illegal"), ("a.b", "illegal")] {
            assert!(wrong_name(name).is_some_and(|text| text.contains(why)), "{name}");
        }
        assert!(wrong_name(&"x".repeat(127)).is_none());
        assert!(wrong_name(&"x".repeat(128)).is_some_and(|text| text.contains("127")));
        assert!(wrong_name(&format!("%RETRY%{}", "x".repeat(200))).is_none(), "a retry topic may be longer");
        assert!(wrong_group(&"g".repeat(256)).is_some());
    }

    #[test]
    fn nobody_sends_to_the_brokers_own_topics() {
        assert!(sendable("orders") && sendable("TBW102") && sendable("%RETRY%g"));
        for name in NOT_SENDABLE {
            assert!(!sendable(name), "{name}");
        }
    }
}
