//! Sending (10, 310, and 320 for batches).

mod reply;
mod target;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::message::{Batched, batch, sys_flag};
use protocol::remoting::Command;
use protocol::remoting::code::response;
use protocol::remoting::header::Send;

use super::Served;
use super::answer::{Answer, Refusal, refuse};
use super::properties::{
    self, CLUSTER, DELAY, POP_CHECKPOINT, REAL_QUEUE, REAL_TOPIC, REGION, Seen, TRACE_ON, UNIQ_KEY,
};
use super::put::{Parts, Pieces, Place, record};
use crate::state::Flush;
use crate::state::topic::DLQ_PREFIX;
use crate::vb::{Core, CoreGuard, Effect, Now, Outcome, Record};
use reply::Sent;
use target::Target;

pub(super) fn send(served: &Arc<Served>, request: &Command, answer: Answer) {
    match store(served, request, answer.peer()) {
        Ok((mut core, sent, now)) if sent.made_topic => {
            let answered = served.once_known(&core, |outcome| sent.answer(answer, outcome));
            core.then_soon(Effect::call(answered), now);
        }
        Ok((core, sent, now)) if sent.at_once && confirms_soon(&core, now) => {
            drop(core);
            sent.answer(answer, Outcome::Acknowledged);
        }
        Ok((mut core, sent, now)) => {
            core.then_soon(Effect::call(move |outcome| sent.answer(answer, outcome)), now);
        }
        Err(refusal) => answer.refuse(refusal),
    }
}

/// The most that is unconfirmed while senders who chose so are answered before their messages are on disk.
const ASYNC_BYTES: usize = 8 << 20;
const ASYNC_AGE: Duration = Duration::from_millis(100);

fn confirms_soon(core: &Core, now: Now) -> bool {
    let (bytes, age) = core.unconfirmed(now);
    bytes <= ASYNC_BYTES && age <= ASYNC_AGE
}

fn store<'a>(
    served: &'a Served,
    request: &Command,
    from: SocketAddr,
) -> Result<(CoreGuard<'a>, Sent, Now), Refusal> {
    let send = Send::read(request)?;
    let batched = if send.batch { inner(&send, &request.body)? } else { Vec::new() };
    let now = served.vb.now();
    let mut core = served.vb.core();
    // Refused before more is looked at: whoever is overrun must not work for what he refuses.
    if let Some(refused) = core.refusal(request.body.len(), now) {
        return Err(refused.into());
    }
    let topics = core.state().topics_version();
    let target = target::find(served, &mut core, &send, request.version, now)?;
    let made_topic = core.state().topics_version() != topics;
    let settings = core.state().settings();
    let (region, trace_on) = (settings.region.clone(), settings.trace_on);
    let most = settings.max_message;
    let at_once = core.state().flush(&target.topic) == Flush::Async;
    let sender = Sender {
        served,
        send: &send,
        from,
        target: &target,
        region: &region,
        trace_on,
        at_once,
        made_topic,
        now,
    };
    let sent = if send.batch {
        if request.body.len() > most {
            return refuse(response::SYSTEM_ERROR, too_large("batch", request.body.len(), most));
        }
        sender.batch(&mut core, &batched)?
    } else {
        if request.body.len() > most {
            return refuse(response::MESSAGE_ILLEGAL, too_large("message", request.body.len(), most));
        }
        sender.one(&mut core, &request.body)?
    };
    Ok((core, sent, now))
}

fn too_large(what: &str, len: usize, most: usize) -> String {
    format!("the {what}'s body has {len} bytes: {most} is the most, the setting maxMessageSize")
}

/// The messages of a batch.
fn inner(send: &Send<'_>, body: &Bytes) -> Result<Vec<Batched>, Refusal> {
    if send.topic.starts_with(crate::state::topic::RETRY_PREFIX) {
        return refuse(
            response::MESSAGE_ILLEGAL,
            "a batch cannot go to a retry topic: send its messages one by one",
        );
    }
    let messages: Result<Vec<Batched>, _> = batch::decode(body.clone()).collect();
    match messages {
        Ok(messages) if messages.is_empty() => refuse(response::MESSAGE_ILLEGAL, "the batch is empty"),
        Ok(messages) => Ok(messages),
        Err(garbage) => refuse(response::MESSAGE_ILLEGAL, format!("the batch cannot be read: {garbage}")),
    }
}

/// A request to store messages, where it goes, and what is added to them.
struct Sender<'a> {
    served: &'a Served,
    send: &'a Send<'a>,
    from: SocketAddr,
    target: &'a Target,
    region: &'a str,
    trace_on: bool,
    /// Its sender wants no proof that it is on disk.
    at_once: bool,
    made_topic: bool,
    now: Now,
}

/// What a sender says of one message.
struct Told<'a> {
    body: &'a [u8],
    flag: i32,
    seen: Seen<'a>,
    /// Without what only brokers write.
    properties: Cow<'a, str>,
    /// Made for a message that came without.
    unique_key: Option<String>,
}

impl<'a> Sender<'a> {
    fn one(&self, core: &mut Core, body: &[u8]) -> Result<Sent, Refusal> {
        let told = self.told(self.send.properties, self.send.flag, body)?;
        let half = told.seen.half && !(self.send.reconsume_times > 0 && told.seen.level().is_some());
        let place = if half { self.half(core)? } else { self.place(core, &told.seen)? };
        let keys = if place.waits() { Vec::new() } else { told.seen.key_hashes(&place.topic.name) };
        let key = told.unique_key.as_deref();
        let more = self.more(key);
        let parts = self.parts(&told, &more, &keys);
        let pieces = Pieces::of(&place, &parts);
        pieces.check()?;
        let staged = core.stage(&[record(&place, &parts, &pieces)], self.now)?;
        if let Some(placed) = staged.first().filter(|_| half) {
            let due = self.served.halves.first_check(
                core.state().settings(),
                staged.store_time,
                told.seen.immunity,
            );
            self.served.halves.wait(placed.queue_offset, due);
        }
        self.count(1, body.len());
        Ok(Sent::of(self, &staged, key.or(told.seen.unique_key)))
    }

    fn batch(&self, core: &mut Core, messages: &[Batched]) -> Result<Sent, Refusal> {
        let mut told = Vec::with_capacity(messages.len());
        for message in messages {
            let properties = std::str::from_utf8(&message.properties);
            let Ok(properties) = properties else {
                return refuse(
                    response::MESSAGE_ILLEGAL,
                    "a message of the batch has properties that are not UTF-8",
                );
            };
            let one = self.told(properties, message.flag, &message.body)?;
            if one.seen.level().is_some() || one.seen.half {
                return refuse(
                    response::MESSAGE_ILLEGAL,
                    "a batch takes no delayed and no transactional messages",
                );
            }
            told.push(one);
        }
        let topic = &self.target.topic;
        let places: Vec<Place> =
            told.iter().map(|one| Place::plain(topic, self.target.queue, &one.seen)).collect();
        let keys: Vec<Vec<u64>> = told.iter().map(|one| one.seen.key_hashes(&topic.name)).collect();
        let more: Vec<_> = told.iter().map(|one| self.more(one.unique_key.as_deref())).collect();
        let rows = told.iter().zip(&places).zip(&keys).zip(&more);
        let parts: Vec<(&Place, Parts<'_>)> =
            rows.map(|(((one, place), keys), more)| (place, self.parts(one, more, keys))).collect();
        let pieces: Vec<Pieces<'_>> = parts.iter().map(|(place, parts)| Pieces::of(place, parts)).collect();
        pieces.iter().try_for_each(Pieces::check)?;
        let records: Vec<Record<'_>> =
            parts.iter().zip(&pieces).map(|((place, parts), pieces)| record(place, parts, pieces)).collect();
        let staged = core.stage(&records, self.now)?;
        self.count(messages.len(), told.iter().map(|one| one.body.len()).sum());
        Ok(Sent::of(self, &staged, properties::get(self.send.properties, UNIQ_KEY)))
    }

    fn count(&self, messages: usize, bytes: usize) {
        let (counts, topic) = (&self.served.counts, &self.target.topic);
        counts.stored(topic.id, messages, bytes);
        if let Some(group) = topic.name.strip_prefix(DLQ_PREFIX).filter(|_| self.target.dead_letter) {
            counts.given_up(group, bytes);
        }
    }

    fn told<'b>(&self, text: &'b str, flag: i32, body: &'b [u8]) -> Result<Told<'b>, Refusal> {
        let seen = Seen::of(text);
        if seen.timer && seen.level().is_none() {
            return refuse(
                response::REQUEST_CODE_NOT_SUPPORTED,
                "timers (TIMER_DELIVER_MS, TIMER_DELAY_MS, TIMER_DELAY_SEC) are not supported by this release: use a delay level",
            );
        }
        let dead = self.target.dead_letter && seen.delay.is_some();
        let properties = if seen.ours || dead {
            let mut without = vec![POP_CHECKPOINT, REAL_TOPIC, REAL_QUEUE, REGION, TRACE_ON, CLUSTER];
            without.extend(dead.then_some(DELAY));
            Cow::Owned(properties::rewrite(text, &without, &[]))
        } else {
            Cow::Borrowed(text)
        };
        let unique_key = seen.unique_key.is_none().then(|| self.served.unique_key(self.now));
        Ok(Told { body, flag, seen, properties, unique_key })
    }

    fn half(&self, core: &Core) -> Result<Place, Refusal> {
        let settings = core.state().settings();
        if settings.transaction_refused {
            let address = self.served.vb.address;
            let remark = format!("the broker[{address}] sending transaction message is forbidden");
            return refuse(response::NO_PERMISSION, remark);
        }
        if core.state().halves().len() >= settings.transaction_pending {
            let most = settings.transaction_pending;
            let remark =
                format!("{most} transactions wait for their decision: transactionPendingMax is reached");
            return refuse(response::SYSTEM_BUSY, remark);
        }
        Place::half(core, &self.target.topic, self.target.queue)
    }

    fn place(&self, core: &Core, seen: &Seen<'_>) -> Result<Place, Refusal> {
        let Target { topic, queue, dead_letter } = self.target;
        if *dead_letter {
            return Ok(Place::plain(topic, *queue, seen));
        }
        Place::of(core, topic, *queue, seen, self.now)
    }

    fn more<'b>(&'b self, key: Option<&'b str>) -> [(&'b str, &'b str); 4] {
        [
            (REGION, self.region),
            (TRACE_ON, if self.trace_on { "true" } else { "false" }),
            (CLUSTER, &self.served.cluster),
            (UNIQ_KEY, key.unwrap_or_default()),
        ]
    }

    fn parts<'b>(&self, told: &'b Told<'_>, more: &'b [(&'b str, &'b str)], keys: &'b [u64]) -> Parts<'b> {
        Parts {
            body: told.body,
            properties: &told.properties,
            more,
            flag: told.flag,
            sys_flag: self.send.sys_flag & !sys_flag::TRANSACTION,
            born_time: self.send.born_timestamp,
            born_host: self.from,
            reconsume_times: self.send.reconsume_times,
            prepared_offset: 0,
            keys,
        }
    }
}
