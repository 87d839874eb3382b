//! RocketMQ's requests, and what their replies say.

use bytes::{Bytes, BytesMut};
use protocol::message::{Batched, Message, sys_flag};
use protocol::remoting::Command;
use protocol::remoting::code::{request as code, response};
use protocol::remoting::header::{Pull, Send};

use crate::judge::Value;
use crate::judge::brokers::{Place, Seen};

/// Messages that are sent together, all to one queue.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub topic: usize,
    pub queue: u16,
    /// Number and body of each.
    pub messages: Vec<(u64, Bytes)>,
}

/// The producers' group.
const PRODUCERS: &str = "producers";

pub fn topic_name(topic: usize) -> String {
    format!("topic-{topic}")
}

pub fn send(outgoing: &Outgoing, queues: u16) -> Command {
    let topic = topic_name(outgoing.topic);
    let mut body = BytesMut::new();
    for (_, bytes) in &outgoing.messages {
        match outgoing.messages.len() {
            1 => body.extend_from_slice(bytes),
            _ => Batched { flag: 0, body: bytes.clone(), properties: Bytes::new() }.encode(&mut body),
        }
    }
    let batch = outgoing.messages.len() > 1;
    header(&topic, outgoing.queue, queues, "", batch).write().body(body.freeze())
}

/// A half message: it waits for its producer's decision.
pub fn prepare(outgoing: &Outgoing, queues: u16) -> Command {
    let topic = topic_name(outgoing.topic);
    let properties = format!("TRAN_MSG\u{1}true\u{2}PGROUP\u{1}{PRODUCERS}\u{2}");
    let body = outgoing.messages.first().map(|(_, body)| body.clone()).unwrap_or_default();
    header(&topic, outgoing.queue, queues, &properties, false).write().body(body)
}

fn header<'a>(topic: &'a str, queue: u16, queues: u16, properties: &'a str, batch: bool) -> Send<'a> {
    Send {
        group: PRODUCERS,
        topic,
        default_topic: "TBW102",
        default_queues: i32::from(queues),
        queue: i32::from(queue),
        properties,
        batch,
        ..Send::default()
    }
}

/// Where the reply to a send says that its messages are; nothing if it does not say that they are stored.
pub fn placed(outgoing: &Outgoing, reply: &Command) -> Vec<Place> {
    if reply.code != response::SUCCESS {
        return Vec::new();
    }
    let first = reply.fields.number::<u64>("queueOffset").unwrap_or(u64::MAX / 2);
    let queue = reply.fields.number::<u16>("queueId").unwrap_or(u16::MAX);
    let ids = reply.fields.get("msgId").unwrap_or_default().split(',');
    let position =
        |id: &str| id.get(16..).and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(u64::MAX);
    let topic = outgoing.topic;
    (first..).zip(ids).map(|(offset, id)| Place { topic, queue, offset, position: position(id) }).collect()
}

/// Commits or rolls back what `at` says is waiting.
pub fn decide(at: &Place, commits: bool) -> Command {
    Command::request(code::END_TRANSACTION)
        .with("producerGroup", PRODUCERS)
        .with("tranStateTableOffset", at.offset)
        .with("commitLogOffset", at.position)
        .with("commitOrRollback", if commits { sys_flag::COMMIT } else { sys_flag::ROLLBACK })
        .with("msgId", "m")
}

pub fn pull(group: &str, topic: &str, queue: u16, from: u64) -> Command {
    let pull = Pull {
        group,
        topic,
        queue: i32::from(queue),
        offset: from as i64,
        max_messages: 20,
        subscription: Some("*"),
        ..Pull::default()
    };
    pull.write()
}

/// Where the next pull begins, as the reply to one says.
pub fn next(reply: &Command) -> u64 {
    reply.fields.number("nextBeginOffset").unwrap_or(0)
}

/// The messages of a pull's reply.
pub fn seen(topic: usize, reply: &Command) -> Vec<Seen> {
    let mut body = reply.body.clone();
    let mut all = Vec::new();
    while reply.code == response::SUCCESS && !body.is_empty() {
        let Ok(message) = Message::take(&mut body) else {
            all.push(Seen::unreadable());
            break;
        };
        all.push(look(topic, &message));
    }
    all
}

fn look(topic: usize, message: &Message) -> Seen {
    let place = Place {
        topic,
        queue: message.queue as u16,
        offset: message.queue_offset as u64,
        position: message.physical_offset as u64,
    };
    let id = message.body.first_chunk::<8>().map_or(0, |number| u64::from_be_bytes(*number));
    let fits = message.topic == topic_name(topic);
    Seen { place, id, value: Value::of(&message.body), store_time: message.store_time, fits }
}

pub fn committed(group: &str, topic: usize, queue: u16) -> Command {
    Command::request(code::QUERY_CONSUMER_OFFSET)
        .with("consumerGroup", group)
        .with("topic", topic_name(topic))
        .with("queueId", queue)
        .with("setZeroIfNotFound", "false")
}

pub fn commit(group: &str, topic: usize, queue: u16, offset: u64) -> Command {
    Command::request(code::UPDATE_CONSUMER_OFFSET)
        .with("consumerGroup", group)
        .with("topic", topic_name(topic))
        .with("queueId", queue)
        .with("commitOffset", offset)
}
