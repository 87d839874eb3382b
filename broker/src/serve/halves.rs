//! Transactions: the end that a producer gives one (37), and the questions to producers that give none (39).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use parking_lot::Mutex;
use protocol::message::stored::{Message, Stored};
use protocol::message::{OffsetId, sys_flag};
use protocol::remoting::Command;
use protocol::remoting::code::{request as code, response};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::Served;
use super::answer::{Answer, Refusal, refuse};
use super::delay::{LOOK, clock_is_right};
use super::offsets::moved;
use super::properties::{self, PRODUCER_GROUP, REAL_QUEUE, REAL_TOPIC, Seen, UNIQ_KEY};
use super::pull::unreadable;
use super::put::{Parts, Pieces, Place, record};
use crate::error::Error;
use crate::state::topic::CHECKED_OUT;
use crate::state::{Change, Half, Settings, Topic};
use crate::vb::{Core, Record};

/// When the producers of half messages are to be asked next.
#[derive(Debug, Default)]
pub(super) struct Halves {
    timers: Mutex<Timers>,
    sooner: Notify,
}

/// One for each half message without a decision.
#[derive(Debug, Default)]
struct Timers {
    first: BTreeSet<(i64, u64)>,
    due: BTreeMap<u64, i64>,
    /// When they are looked at without being told, if ever.
    looked: Option<i64>,
}

impl Timers {
    fn set(&mut self, half: u64, due: i64) {
        self.remove(half);
        self.first.insert((due, half));
        self.due.insert(half, due);
    }

    fn remove(&mut self, half: u64) {
        if let Some(due) = self.due.remove(&half) {
            self.first.remove(&(due, half));
        }
    }
}

impl Halves {
    /// When a half message's producer is asked first: after the time that the message wants, or the setting's.
    pub fn first_check(&self, settings: &Settings, stored_at: i64, immunity: Option<&str>) -> i64 {
        let wanted = immunity.and_then(|seconds| seconds.trim().parse::<i64>().ok()).filter(|s| *s >= 0);
        let wait = wanted.map_or(i64::from(settings.transaction_timeout.0), |s| s.saturating_mul(1_000));
        stored_at.saturating_add(wait)
    }

    pub fn wait(&self, half: u64, due: i64) {
        let mut timers = self.timers.lock();
        timers.set(half, due);
        if timers.looked.is_none_or(|looked| due < looked) {
            self.sooner.notify_one();
        }
    }

    /// Nobody is asked about it any more.
    fn forget(&self, half: u64) {
        self.timers.lock().remove(half);
    }

    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        self.timers.lock().first.len()
    }

    /// A half message to look after now, or how long until it is looked whether there is one.
    fn next(&self, now: i64) -> Result<u64, Option<Duration>> {
        let mut timers = self.timers.lock();
        let first = timers.first.first().copied();
        if let Some((_, half)) = first.filter(|(due, _)| *due <= now) {
            timers.remove(half);
            return Ok(half);
        }
        let wait = first.map(|(due, _)| Duration::from_millis(due.abs_diff(now)).min(LOOK));
        timers.looked = wait.map(|wait| now.saturating_add(wait.as_millis() as i64));
        Err(wait)
    }
}

/// Asks producers, for as long as the virtual broker is ours.
pub(super) async fn run(served: Arc<Served>) {
    let settings = served.vb.core().state().settings().clone();
    let waiting: Vec<Half> = served.vb.core().state().halves().iter().copied().collect();
    for half in waiting {
        let due =
            if half.due > 0 { half.due } else { served.halves.first_check(&settings, half.stored_at, None) };
        served.halves.wait(half.offset, due);
    }
    loop {
        let told = served.halves.sooner.notified();
        if !clock_is_right(&served).await || served.vb.core().ended() {
            return;
        }
        match served.halves.next(served.vb.now().wall) {
            Ok(half) => {
                if let Err(trouble) = look_after(&served, half).await {
                    tracing::warn!(
                        "the transaction at offset {half} could not be checked: {}",
                        trouble.remark
                    );
                    served.halves.wait(half, served.vb.now().wall + 1_000);
                }
            }
            Err(Some(wait)) => tokio::select! { biased; () = told => {}, () = sleep(wait) => {} },
            Err(None) => told.await,
        }
    }
}

/// Asks a producer what became of a transaction, or gives it up after the last question.
async fn look_after(served: &Arc<Served>, offset: u64) -> Result<(), Refusal> {
    let (half, most, interval) = {
        let core = served.vb.core();
        let Some(half) = core.state().halves().get(offset).copied() else { return Ok(()) };
        let settings = core.state().settings();
        (half, settings.transaction_checks, settings.transaction_interval)
    };
    let Some(message) = fetch(served, &half).await.map_err(|error| unreadable(&error))? else {
        return refuse(response::SYSTEM_ERROR, "its message cannot be read");
    };
    if half.checks >= most {
        return give_up(served, &half, &message);
    }
    let text = String::from_utf8_lossy(&message.properties).into_owned();
    let now = served.vb.now();
    // A message that came without its own waiting time was asked for by a setting that may have changed.
    let wanted = half.checks == 0 && half.due == 0;
    let seen = Seen::of(&text);
    if wanted {
        let settings = served.vb.core().state().settings().clone();
        let due = served.halves.first_check(&settings, half.stored_at, seen.immunity);
        if due > now.wall {
            served.halves.wait(offset, due);
            return Ok(());
        }
    }
    let due = now.wall.saturating_add(i64::from(interval.0.max(1)));
    let checked = Change::Checked { half: offset, times: half.checks + 1, due };
    {
        let mut core = served.vb.core();
        // Its message took long to read, and it was decided meanwhile.
        if core.state().halves().get(offset).is_none() {
            return Ok(());
        }
        core.stage(&[Record::Change(&checked)], now)?;
        served.halves.wait(offset, due);
    }
    served.vb.drive();
    ask(served, &half, &message, &text);
    Ok(())
}

async fn fetch(served: &Served, half: &Half) -> Result<Option<Message>, Error> {
    let bytes = served.vb.message_at(half.position).await?;
    Ok(bytes.and_then(|mut bytes| Message::take(&mut bytes).ok()))
}

fn ask(served: &Served, half: &Half, message: &Message, text: &str) {
    let group = properties::get(text, PRODUCER_GROUP).unwrap_or_default();
    let Some(producer) = served.members.lock().producer_to_ask(group) else {
        tracing::debug!(
            "nobody of producer group {group} is here to decide the transaction at {}",
            half.position
        );
        return;
    };
    let key = properties::get(text, UNIQ_KEY).unwrap_or_default();
    let mut id = String::with_capacity(32);
    OffsetId { host: message.store_host, offset: message.physical_offset }.write(&mut id);
    let topic = properties::get(text, REAL_TOPIC).unwrap_or_default();
    let question = Command::one_way(code::CHECK_TRANSACTION_STATE)
        .with("topic", topic)
        .with("tranStateTableOffset", half.offset)
        .with("commitLogOffset", half.position)
        .with("msgId", key)
        .with("transactionId", key)
        .with("offsetMsgId", id)
        .with("bname", &served.vb.name)
        .body(as_sent(message, topic, text));
    producer.handle.tell(question);
}

/// The message as its producer knows it: in its own topic and queue.
fn as_sent(message: &Message, topic: &str, text: &str) -> BytesMut {
    let queue = properties::get(text, REAL_QUEUE).and_then(|queue| queue.parse().ok()).unwrap_or(0);
    let mut out = BytesMut::new();
    let stored = Stored {
        topic,
        queue,
        flag: message.flag,
        queue_offset: message.queue_offset,
        physical_offset: message.physical_offset,
        sys_flag: message.sys_flag,
        born_time: message.born_time,
        born_host: message.born_host,
        store_time: message.store_time,
        store_host: message.store_host,
        reconsume_times: message.reconsume_times,
        prepared_offset: message.prepared_offset,
        body: &message.body,
        properties: &[&message.properties],
    };
    stored.encode(&mut out);
    out
}

/// Parks a message that nobody decided on.
fn give_up(served: &Served, half: &Half, message: &Message) -> Result<(), Refusal> {
    let now = served.vb.now();
    let mut core = served.vb.core();
    if core.state().halves().get(half.offset).is_none() {
        return Ok(());
    }
    let Some(topic) = core.state().topic(CHECKED_OUT).cloned() else {
        return refuse(response::SYSTEM_ERROR, format!("there is no topic {CHECKED_OUT}"));
    };
    let text = String::from_utf8_lossy(&message.properties).into_owned();
    let seen = Seen::of(&text);
    let place = Place::plain(&topic, 0, &seen);
    put(&mut core, &place, half, message, &text, now)?;
    drop(core);
    served.vb.drive();
    tracing::warn!(
        "the transaction at {} was asked for {} times and is given up: see {CHECKED_OUT}",
        half.position,
        half.checks
    );
    Ok(())
}

/// The message at its place, and the note that its transaction is decided: one unit.
fn put(
    core: &mut Core,
    place: &Place,
    half: &Half,
    message: &Message,
    text: &str,
    now: crate::vb::Now,
) -> Result<(), Refusal> {
    let seen = Seen::of(text);
    let keys = if place.waits() { Vec::new() } else { seen.key_hashes(&place.topic.name) };
    let parts = Parts {
        sys_flag: message.sys_flag & !sys_flag::TRANSACTION | sys_flag::COMMIT,
        prepared_offset: half.offset as i64,
        ..Parts::again(message, text, &keys)
    };
    let pieces = Pieces::of(place, &parts);
    let decided = Change::Decided { half: half.offset };
    core.stage(&[record(place, &parts, &pieces), Record::Change(&decided)], now)?;
    Ok(())
}

/// What a producer says of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Commit,
    RollBack,
}

/// 37
pub(super) fn end(served: &Arc<Served>, request: &Command, answer: Answer) {
    let (half, group, end) = match read(served, request) {
        Ok(Some(decision)) => decision,
        // Its producer does not know yet: it is asked again.
        Ok(None) => return answer.done(),
        Err(refusal) => return answer.refuse(refusal),
    };
    let served = served.clone();
    tokio::spawn(async move {
        match acknowledged(&served, &half).await {
            Ok(message) => decide(&served, &half, &group, end, &message, answer),
            Err(refusal) => answer.refuse(refusal),
        }
        served.vb.drive();
    });
}

/// The half message, once it is in the log: a sender that was answered before decides before, too, and only once.
async fn acknowledged(served: &Served, half: &Half) -> Result<Message, Refusal> {
    served.vb.reached(half.position + 1).await.map_err(|_| moved())?;
    let message = fetch(served, half).await.map_err(|error| unreadable(&error))?;
    message.ok_or_else(|| not_there(half))
}

fn not_there(half: &Half) -> Refusal {
    let remark = format!("Find prepared transaction message failed: nothing waits at {}", half.position);
    Refusal { code: response::SYSTEM_ERROR, remark }
}

fn read(served: &Served, request: &Command) -> Result<Option<(Half, String, End)>, Refusal> {
    let fields = &request.fields;
    let offset: i64 = fields.number("tranStateTableOffset")?;
    let position: i64 = fields.number("commitLogOffset")?;
    let group = fields.text("producerGroup")?.to_owned();
    let end = match fields.number::<i32>("commitOrRollback")? {
        sys_flag::COMMIT => End::Commit,
        sys_flag::ROLLBACK => End::RollBack,
        _ => return Ok(None),
    };
    let core = served.vb.core();
    let half = u64::try_from(offset).ok().and_then(|offset| core.state().halves().get(offset).copied());
    match half.filter(|half| half.position as i64 == position) {
        Some(half) => Ok(Some((half, group, end))),
        None => {
            let remark = format!("Find prepared transaction message failed: nothing waits at {position}");
            refuse(response::SYSTEM_ERROR, remark)
        }
    }
}

fn decide(served: &Arc<Served>, half: &Half, group: &str, end: End, message: &Message, answer: Answer) {
    let now = served.vb.now();
    let mut core = served.vb.core();
    match stage(&mut core, half, group, end, message, now) {
        Ok(()) => {
            served.halves.forget(half.offset);
            served.counts.decided(end == End::Commit, now.wall - half.stored_at);
            core.then(answer.done_once_stored(), now);
        }
        Err(refusal) => answer.refuse(refusal),
    }
}

/// The topic and queue that a half message was sent to; the queue may be gone.
pub(super) fn meant_for(core: &Core, text: &str) -> Result<(Arc<Topic>, u16), Refusal> {
    let name = properties::get(text, REAL_TOPIC).unwrap_or_default();
    let Some(topic) = core.state().topic(name).cloned() else {
        return refuse(response::TOPIC_NOT_EXIST, format!("topic[{name}] not exist any more"));
    };
    let queue = properties::get(text, REAL_QUEUE).and_then(|queue| queue.parse().ok()).unwrap_or(0);
    Ok((topic, queue))
}

fn stage(
    core: &mut Core,
    half: &Half,
    group: &str,
    end: End,
    message: &Message,
    now: crate::vb::Now,
) -> Result<(), Refusal> {
    // Decided meanwhile: whatever was said first holds.
    if core.state().halves().get(half.offset).is_none() {
        return Err(not_there(half));
    }
    let text = String::from_utf8_lossy(&message.properties).into_owned();
    if properties::get(&text, PRODUCER_GROUP).unwrap_or_default() != group {
        let remark =
            format!("the producer group wrong: the transaction at {} is not of group {group}", half.position);
        return refuse(response::SYSTEM_ERROR, remark);
    }
    if end == End::RollBack {
        core.stage(&[Record::Change(&Change::Decided { half: half.offset })], now)?;
        return Ok(());
    }
    let (topic, queue) = meant_for(core, &text)?;
    let queue = queue.min(topic.queues().saturating_sub(1));
    // It still says that it was a transaction's: clients take its transaction id from that.
    let text = properties::rewrite(&text, &[REAL_TOPIC, REAL_QUEUE], &[]);
    let place = Place::of(core, &topic, queue, &Seen::of(&text), now)?;
    put(core, &place, half, message, &text, now)
}
