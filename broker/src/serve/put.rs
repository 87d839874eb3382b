//! The way of a message into a queue, whoever sends it: producers, and brokers that pass on what is stored already.

use std::net::SocketAddr;
use std::sync::Arc;

use protocol::message::stored::Message;
use protocol::remoting::code::response;

use super::answer::{Refusal, refuse};
use super::properties::{self, REAL_QUEUE, REAL_TOPIC, Seen};
use crate::state::topic::{self, perm};
use crate::state::{Change, Topic};
use crate::vb::clock::AGREE;
use crate::vb::{Core, NewMessage, Now, Record};

/// Where a message is stored: in its queue, or in one where it waits first.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub topic: Arc<Topic>,
    pub queue: u16,
    pub tag: i64,
    /// The queue that it is for, as properties.
    real: Option<(Arc<str>, String)>,
}

impl Place {
    /// The queue itself, whatever the message asks for.
    pub fn plain(topic: &Arc<Topic>, queue: u16, seen: &Seen<'_>) -> Place {
        Place { topic: topic.clone(), queue, tag: seen.tag(), real: None }
    }

    /// Whether it is not the queue that the message is for.
    pub fn waits(&self) -> bool {
        self.real.is_some()
    }

    /// The queue itself or, if the message asks for a delay, the queue of that delay. The delay counts from now, or
    /// from the log's time if that is later: a message is never early.
    pub fn of(
        core: &Core,
        topic: &Arc<Topic>,
        queue: u16,
        seen: &Seen<'_>,
        now: Now,
    ) -> Result<Place, Refusal> {
        let Some(level) = seen.level() else {
            return Ok(Place::plain(topic, queue, seen));
        };
        let levels = &core.state().settings().delay_levels;
        let level = level.min(levels.count());
        let waits = core.state().delay_topic().and_then(|id| core.state().topic_of(id));
        let (Some(delay), Some(waits)) = (levels.delay(level), waits) else {
            return refuse(response::SYSTEM_ERROR, "this virtual broker has no queues for delayed messages");
        };
        // A log that is far ahead has its time from a clock that was wrong.
        let ahead = Some(core.last_time()).filter(|last| last.saturating_sub(now.wall) <= AGREE);
        let due = now.wall.max(ahead.unwrap_or(now.wall)).saturating_add(delay);
        Ok(Place {
            topic: waits.clone(),
            queue: level - 1,
            tag: due,
            real: Some((topic.name.clone(), queue.to_string())),
        })
    }

    /// The queue where half messages wait.
    pub fn half(core: &Core, topic: &Arc<Topic>, queue: u16) -> Result<Place, Refusal> {
        let Some(waits) = core.state().half_topic().and_then(|id| core.state().topic_of(id)) else {
            return refuse(response::SYSTEM_ERROR, "this virtual broker has no queue for half messages");
        };
        let real = Some((topic.name.clone(), queue.to_string()));
        Ok(Place { topic: waits.clone(), queue: 0, tag: 0, real })
    }
}

/// What is stored there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts<'a> {
    pub body: &'a [u8],
    /// Without what is in `more`, and without the place it is for if it waits.
    pub properties: &'a str,
    pub more: &'a [(&'a str, &'a str)],
    pub flag: i32,
    pub sys_flag: i32,
    pub born_time: i64,
    pub born_host: SocketAddr,
    pub reconsume_times: i32,
    pub prepared_offset: i64,
    pub keys: &'a [u64],
}

impl<'a> Parts<'a> {
    /// A message that is stored already, with other properties.
    pub fn again(message: &'a Message, properties: &'a str, keys: &'a [u64]) -> Parts<'a> {
        Parts {
            body: &message.body,
            properties,
            more: &[],
            flag: message.flag,
            sys_flag: message.sys_flag,
            born_time: message.born_time,
            born_host: message.born_host,
            reconsume_times: message.reconsume_times,
            prepared_offset: message.prepared_offset,
            keys,
        }
    }
}

/// Pieces of properties: four for each that is added, and the text that came.
#[derive(Debug)]
pub(super) struct Pieces<'a> {
    pieces: [&'a [u8]; Pieces::MOST],
    len: usize,
    bytes: usize,
}

impl<'a> Pieces<'a> {
    const MOST: usize = 40;

    pub fn of(place: &'a Place, parts: &Parts<'a>) -> Pieces<'a> {
        let mut pieces = Pieces { pieces: [&[]; Pieces::MOST], len: 0, bytes: 0 };
        pieces.push(parts.properties);
        if !parts.properties.is_empty() && !parts.properties.ends_with('\u{2}') {
            pieces.push("\u{2}");
        }
        for (name, value) in parts.more {
            pieces.pair(name, value);
        }
        if let Some((topic, queue)) = &place.real {
            pieces.pair(REAL_TOPIC, topic);
            pieces.pair(REAL_QUEUE, queue);
        }
        pieces
    }

    pub fn as_slice(&self) -> &[&'a [u8]] {
        self.pieces.get(..self.len).unwrap_or_default()
    }

    pub fn check(&self) -> Result<(), Refusal> {
        if self.bytes <= properties::MOST {
            return Ok(());
        }
        refuse(
            response::MESSAGE_ILLEGAL,
            format!("the message's properties have {} bytes: {} is the most", self.bytes, properties::MOST),
        )
    }

    fn pair(&mut self, name: &'a str, value: &'a str) {
        if !value.is_empty() {
            [name, "\u{1}", value, "\u{2}"].into_iter().for_each(|piece| self.push(piece));
        }
    }

    fn push(&mut self, piece: &'a str) {
        if let Some(place) = self.pieces.get_mut(self.len) {
            *place = piece.as_bytes();
            self.len += 1;
            self.bytes += piece.len();
        }
    }
}

pub(super) fn record<'a>(place: &'a Place, parts: &Parts<'a>, pieces: &'a Pieces<'a>) -> Record<'a> {
    Record::Message(NewMessage {
        topic: place.topic.id,
        topic_name: &place.topic.name,
        queue: place.queue,
        body: parts.body,
        properties: pieces.as_slice(),
        flag: parts.flag,
        sys_flag: parts.sys_flag,
        born_time: parts.born_time,
        born_host: parts.born_host,
        reconsume_times: parts.reconsume_times,
        prepared_offset: parts.prepared_offset,
        tag: place.tag,
        keys: parts.keys,
    })
}

/// The retry or dead letter topic of a group, made if it is not there.
pub(crate) fn derived_topic(
    core: &mut Core,
    name: &str,
    queues: u16,
    now: Now,
) -> Result<Arc<Topic>, Refusal> {
    if let Some(topic) = core.state().topic(name) {
        return Ok(topic.clone());
    }
    if let Some(why) = topic::wrong_name(name) {
        return refuse(response::SYSTEM_ERROR, why);
    }
    make_topic(
        core,
        Topic::new(core.state().next_topic(), name, queues.max(1), perm::READ | perm::WRITE),
        now,
    )
}

pub(crate) fn make_topic(core: &mut Core, topic: Topic, now: Now) -> Result<Arc<Topic>, Refusal> {
    let most = core.state().settings().max_topics;
    if core.state().topics().len() >= most {
        return refuse(
            response::SYSTEM_ERROR,
            format!("there are {most} topics already, the setting maxTopics"),
        );
    }
    let name = topic.name.clone();
    core.stage(&[Record::Change(&Change::Topic(topic))], now)?;
    match core.state().topic(&name) {
        Some(topic) => Ok(topic.clone()),
        None => refuse(response::SYSTEM_ERROR, "the topic that was made is not there"),
    }
}
