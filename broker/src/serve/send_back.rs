//! A consumer failed with a message (36): it is tried again later, or put where nobody tries it.

use std::sync::Arc;

use protocol::message::OffsetId;
use protocol::message::stored::Message;
use protocol::remoting::Command;
use protocol::remoting::code::response;

use super::Served;
use super::answer::{Answer, Refusal, refuse};
use super::offsets::moved;
use super::properties::{self, DELAY, ORIGIN_MESSAGE_ID, RETRY_TOPIC, Seen};
use super::pull::unreadable;
use super::put::{Parts, Pieces, Place, derived_topic, record};
use crate::state::topic::{DLQ_PREFIX, RETRY_PREFIX, perm};
use crate::vb::{Effect, Outcome};

/// The level of the first retry is the one behind it.
const FIRST_LEVEL: i32 = 3;
const SAYS_MOST_RETRIES: i32 = 121;

#[derive(Debug)]
struct Failed {
    group: String,
    position: u64,
    level: i32,
    most: Option<i32>,
}

fn read(request: &Command) -> Result<Failed, Refusal> {
    let fields = &request.fields;
    let position: i64 = fields.number("offset")?;
    let most: Option<i32> = fields.maybe("maxReconsumeTimes")?;
    Ok(Failed {
        group: fields.text("group")?.into(),
        position: u64::try_from(position).unwrap_or(u64::MAX),
        level: fields.number("delayLevel")?,
        most: most.filter(|most| *most >= 0 && request.version >= SAYS_MOST_RETRIES),
    })
}

pub(super) fn send_back(served: &Arc<Served>, request: &Command, answer: Answer) {
    let failed = match read(request).and_then(|failed| check(served, failed)) {
        Ok(Some(failed)) => failed,
        Ok(None) => return answer.done(),
        Err(refusal) => return answer.refuse(refusal),
    };
    let served = served.clone();
    tokio::spawn(async move {
        let message = match served.vb.message_at(failed.position).await {
            Ok(Some(bytes)) => Message::take(&mut bytes.clone()).ok(),
            Ok(None) => None,
            Err(error) => return answer.refuse(unreadable(&error)),
        };
        let Some(message) = message else {
            let remark = format!("look message by offset failed, {}", failed.position);
            return answer.refuse(Refusal { code: response::SYSTEM_ERROR, remark });
        };
        store(&served, &failed, &message, answer);
        served.vb.drive();
    });
}

fn unconfirmed() -> Refusal {
    let remark = "the message is on its way, and not yet confirmed by enough bookies".into();
    Refusal { code: response::FLUSH_DISK_TIMEOUT, remark }
}

/// Whether the message may be tried again; nothing, if its group wants no retries.
fn check(served: &Served, failed: Failed) -> Result<Option<Failed>, Refusal> {
    let now = served.vb.now();
    let mut core = served.vb.core();
    if core.state().settings().permission & perm::WRITE == 0 {
        let remark = format!("the broker[{}] sending message is forbidden", served.vb.address);
        return refuse(response::NO_PERMISSION, remark);
    }
    let group = served.group(&mut core, &failed.group, now)?;
    if group.retry_queues == 0 {
        return Ok(None);
    }
    let retry = format!("{RETRY_PREFIX}{}", failed.group);
    let topic = served.topic_made(&mut core, |core| derived_topic(core, &retry, group.retry_queues, now))?;
    if !topic.writable() {
        return refuse(response::NO_PERMISSION, format!("the topic[{retry}] sending message is forbidden"));
    }
    Ok(Some(failed))
}

fn store(served: &Arc<Served>, failed: &Failed, message: &Message, answer: Answer) {
    let staged = put(served, failed, message);
    match staged {
        Ok((mut core, now)) => core.then_soon(
            Effect::call(move |outcome| match outcome {
                Outcome::Fenced => answer.refuse(moved()),
                // Its client sends the message itself then: twice is better than never.
                Outcome::Slow => answer.refuse(unconfirmed()),
                Outcome::Acknowledged => answer.done(),
            }),
            now,
        ),
        Err(refusal) => answer.refuse(refusal),
    }
}

type Locked<'a> = (crate::vb::CoreGuard<'a>, crate::vb::Now);

fn put<'a>(served: &'a Served, failed: &Failed, message: &Message) -> Result<Locked<'a>, Refusal> {
    let now = served.vb.now();
    let mut core = served.vb.core();
    let group = served.group(&mut core, &failed.group, now)?;
    let most = failed.most.unwrap_or(group.retry_max);
    let dead = message.reconsume_times >= most || failed.level < 0;
    let (name, queues) = match dead {
        true => (format!("{DLQ_PREFIX}{}", failed.group), 1),
        false => (format!("{RETRY_PREFIX}{}", failed.group), group.retry_queues),
    };
    let topic = served.topic_made(&mut core, |core| derived_topic(core, &name, queues, now))?;
    let level = if failed.level == 0 { FIRST_LEVEL + message.reconsume_times } else { failed.level };
    let text = properties_of(message, (!dead).then_some(level));
    let seen = Seen::of(&text);
    let queue = served.any_queue(&topic);
    let place = match dead {
        true => Place::plain(&topic, queue, &seen),
        false => Place::of(&core, &topic, queue, &seen, now)?,
    };
    let keys = if place.waits() { Vec::new() } else { seen.key_hashes(&topic.name) };
    let parts = Parts {
        reconsume_times: message.reconsume_times.saturating_add(1),
        prepared_offset: 0,
        ..Parts::again(message, &text, &keys)
    };
    let pieces = Pieces::of(&place, &parts);
    pieces.check()?;
    core.stage(&[record(&place, &parts, &pieces)], now)?;
    if dead {
        served.counts.given_up(&failed.group, message.body.len());
    }
    Ok((core, now))
}

/// The message's properties, with where it comes from and how long it waits.
fn properties_of(message: &Message, level: Option<i32>) -> String {
    let text = String::from_utf8_lossy(&message.properties);
    let retry_topic = properties::get(&text, RETRY_TOPIC).unwrap_or(&message.topic).to_owned();
    // Of the first message of all; what the request says of it does not count in RocketMQ either.
    let origin = match properties::get(&text, ORIGIN_MESSAGE_ID).filter(|id| !id.trim().is_empty()) {
        Some(first) => first.to_owned(),
        None => OffsetId { host: message.store_host, offset: message.physical_offset }.to_string(),
    };
    let level = level.map(|level| level.to_string());
    let mut more = vec![(RETRY_TOPIC, retry_topic.as_str()), (ORIGIN_MESSAGE_ID, origin.as_str())];
    more.extend(level.as_deref().map(|level| (DELAY, level)));
    properties::rewrite(&text, &[DELAY, properties::REAL_TOPIC, properties::REAL_QUEUE], &more)
}
