//! What owners do for clients: each request is one look at the core, and one unit of records.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use broker::index::Row;
use broker::state::topic::HALF;
use broker::state::{Change, Commit, Topic, TopicId};
use broker::vb::{Core, Effect, NewMessage, Outcome, Placed, Record, Refused};

use super::door::Answer;
use super::owner::{Owner, message};
use crate::judge::Value;
use crate::judge::brokers::{Place, Seen};

/// A message as its sender made it.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub id: u64,
    pub topic: String,
    pub queue: u16,
    pub body: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Where each message of the unit is; also for changes, without messages.
    Done(Vec<Placed>),
    Unclear,
    NoTopic(String),
    /// Somebody has decided already.
    Decided,
    Refused(Refused),
}

fn born_host() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 5000))
}

fn new_message<'a>(outgoing: &'a Outgoing, topic: TopicId, prepared: i64) -> NewMessage<'a> {
    NewMessage {
        topic,
        topic_name: &outgoing.topic,
        queue: outgoing.queue,
        body: &outgoing.body,
        properties: &[],
        flag: 0,
        sys_flag: 0,
        born_time: 0,
        born_host: born_host(),
        reconsume_times: 0,
        prepared_offset: prepared,
        tag: 0,
        keys: &[],
    }
}

fn topic_of(core: &Core, name: &str) -> Result<TopicId, Told> {
    core.state().topic(name).map(|topic| topic.id).ok_or_else(|| Told::NoTopic(name.into()))
}

/// Stages a unit, and answers when it is acknowledged. `said` is what the judge hears if it was.
fn store(
    owner: &Owner,
    mut core: parking_lot::MutexGuard<'_, Core>,
    unit: &[Record<'_>],
    answer: Answer<Told>,
    said: impl FnOnce(&mut crate::judge::Model, u64, &[Placed]) + Send + 'static,
) -> Option<u64> {
    let now = owner.vb.now();
    let staged = match core.stage(unit, now) {
        Ok(staged) => staged,
        Err(refused) => {
            drop(core);
            answer.give(Told::Refused(refused), |_| {});
            return None;
        }
    };
    let (epoch, end) = (owner.vb.epoch(), staged.end);
    let placed: Vec<Placed> = staged.messages().collect();
    let tell = move |outcome| match outcome {
        Outcome::Acknowledged => {
            let told = placed.clone();
            answer.give(Told::Done(told), move |model| said(model, epoch, &placed));
        }
        Outcome::Slow | Outcome::Fenced => answer.give(Told::Unclear, |_| {}),
    };
    core.then_soon(Effect::call(tell), now);
    drop(core);
    owner.vb.drive();
    Some(end)
}

pub fn send(owner: &Arc<Owner>, unit: Vec<Outgoing>, answer: Answer<Told>) {
    let core = owner.vb.core();
    let topics: Result<Vec<TopicId>, Told> =
        unit.iter().map(|outgoing| topic_of(&core, &outgoing.topic)).collect();
    let topics = match topics {
        Ok(topics) => topics,
        Err(told) => {
            drop(core);
            return answer.give(told, |_| {});
        }
    };
    let records: Vec<Record<'_>> =
        unit.iter().zip(&topics).map(|(o, topic)| Record::Message(new_message(o, *topic, 0))).collect();
    let ids: Vec<u64> = unit.iter().map(|outgoing| outgoing.id).collect();
    let queues: Vec<u16> = unit.iter().map(|outgoing| outgoing.queue).collect();
    store(owner, core, &records, answer, move |model, epoch, placed| {
        for (((id, topic), queue), at) in ids.into_iter().zip(topics).zip(queues).zip(placed) {
            let place = Place { topic, queue, offset: at.queue_offset, position: at.position };
            model.message_acknowledged(epoch, id, place);
        }
    });
}

pub fn create_topic(owner: &Arc<Owner>, name: String, queues: u16, answer: Answer<Told>) {
    let core = owner.vb.core();
    if core.state().topic(&name).is_some() {
        drop(core);
        return answer.give(Told::Done(Vec::new()), |_| {});
    }
    let topic = Topic::new(core.state().next_topic(), &name, queues, 6);
    let change = Change::Topic(topic.clone());
    store(owner, core, &[Record::Change(&change)], answer, move |model, _, _| {
        model.brokers.topic_acknowledged(topic);
    });
}

/// What a consumer gets: rows, and the bytes of each.
pub fn pull(owner: &Arc<Owner>, topic: String, queue: u16, from: u64, answer: Answer<Vec<Seen>>) {
    use broker::index::Rows;
    let core = owner.vb.core();
    let Ok(topic) = topic_of(&core, &topic) else { return };
    drop(core);
    let owner = owner.clone();
    tokio::spawn(async move {
        let found = match owner.vb.rows(topic, queue, from, 20, 50_000).await {
            Ok(Rows::Found(rows)) => rows,
            _ => Vec::new(),
        };
        let mut seen = Vec::new();
        for row in found {
            let Some(bytes) = message(&owner, row.position, row.len).await else { break };
            seen.push(look(&row, topic, queue, bytes));
        }
        let heard = seen.clone();
        answer.give(seen, move |model| heard.iter().for_each(|seen| model.message_seen(seen)));
    });
}

/// What a message's bytes say.
pub fn look(row: &Row, topic: TopicId, queue: u16, mut bytes: bytes::Bytes) -> Seen {
    let place = Place { topic, queue, offset: row.offset, position: row.position };
    let message = protocol::message::Message::take(&mut bytes).ok();
    let fits = message.as_ref().is_some_and(|message| {
        message.queue == i32::from(queue)
            && message.queue_offset == row.offset as i64
            && message.physical_offset == row.position as i64
            && message.store_time == row.store_time
    });
    let body = message.map(|message| message.body).unwrap_or_default();
    let id = body.first_chunk::<8>().map_or(0, |number| u64::from_be_bytes(*number));
    Seen { place, id, value: Value::of(&body), store_time: row.store_time, fits }
}

pub fn committed(owner: &Arc<Owner>, (group, topic, queue): (String, String, u16), answer: Answer<i64>) {
    let core = owner.vb.core();
    let Ok(topic) = topic_of(&core, &topic) else { return };
    let offset = core.state().offsets().get(&group, topic, queue).unwrap_or(-1);
    drop(core);
    answer.give(offset, |_| {});
}

pub fn commit(
    owner: &Arc<Owner>,
    (group, topic, queue): (String, String, u16),
    offset: i64,
    answer: Answer<Told>,
) {
    let core = owner.vb.core();
    let Ok(topic) = topic_of(&core, &topic) else { return };
    let key = (group.clone(), topic, queue);
    let change = Change::Offsets(vec![Commit { group: group.into(), topic, queue, offset }]);
    let world = answer.world();
    let (acknowledged, epoch) = (key.clone(), owner.vb.epoch());
    let end = store(owner, core, &[Record::Change(&change)], answer, move |model, epoch, _| {
        model.brokers.commit_acknowledged(acknowledged, epoch, offset);
    });
    if end.is_some() {
        world.judge.hear(|model| model.brokers.commit_staged(key, epoch, offset));
    }
}

/// A half message: it waits for its sender's decision.
pub fn prepare(owner: &Arc<Owner>, half: Outgoing, answer: Answer<Told>) {
    let core = owner.vb.core();
    let topic = match topic_of(&core, HALF) {
        Ok(topic) => topic,
        Err(told) => {
            drop(core);
            return answer.give(told, |_| {});
        }
    };
    let half = Outgoing { topic: HALF.into(), queue: 0, ..half };
    let id = half.id;
    let record = Record::Message(new_message(&half, topic, 0));
    store(owner, core, &[record], answer, move |model, epoch, placed| {
        for at in placed {
            let place = Place { topic, queue: 0, offset: at.queue_offset, position: at.position };
            model.message_acknowledged(epoch, id, place);
            model.brokers.half_acknowledged(at.queue_offset);
        }
    });
}

/// Commits a half message (the message becomes a real one) or rolls it back (none).
pub fn decide(owner: &Arc<Owner>, half: u64, real: Option<Outgoing>, answer: Answer<Told>) {
    let core = owner.vb.core();
    if core.state().halves().get(half).is_none() {
        drop(core);
        return answer.give(Told::Decided, |_| {});
    }
    let topic = real.as_ref().map(|real| topic_of(&core, &real.topic)).transpose();
    let topic = match topic {
        Ok(topic) => topic,
        Err(told) => {
            drop(core);
            return answer.give(told, |_| {});
        }
    };
    answer.world().judge.hear(|model| model.brokers.perhaps_decided(half));
    let change = Change::Decided { half };
    let message =
        real.as_ref().zip(topic).map(|(real, topic)| (new_message(real, topic, half as i64), real, topic));
    let mut unit: Vec<Record<'_>> = message.iter().map(|(message, ..)| Record::Message(*message)).collect();
    unit.push(Record::Change(&change));
    let placed_as = message.map(|(_, real, topic)| (real.id, topic, real.queue));
    store(owner, core, &unit, answer, move |model, epoch, placed| {
        model.half_decided(half, placed_as.map(|(id, ..)| id));
        for ((id, topic, queue), at) in placed_as.iter().zip(placed) {
            let place =
                Place { topic: *topic, queue: *queue, offset: at.queue_offset, position: at.position };
            model.message_acknowledged(epoch, *id, place);
        }
    });
}
