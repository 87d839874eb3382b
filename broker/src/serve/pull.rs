//! Pulling (11, and 361 of lite consumers): what a group may read, and the answer now or when there is something.

mod denied;
mod lagging;
mod lanes;
mod look;
mod subscribed;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::remoting::Command;
use protocol::remoting::code::response;
use protocol::remoting::header::{Pull, PullReply, Suspend};

use super::Served;
use super::answer::{Answer, Refusal};
use super::filter::Filter;
use super::held::Queue;
use crate::state::topic::perm;
use crate::state::{Group, Topic, TopicId};
use crate::vb::{Core, Effect, Outcome, Record, Row};
use denied::{By, Denied, forbid};
use look::{Look, look};

pub(crate) use lagging::unreadable;
pub(super) use lanes::Lanes;
pub(super) use subscribed::not_by;

/// The longest that a pull is held, whatever its client wants.
const LONGEST: Duration = Duration::from_secs(300);
/// Pulls that one virtual broker holds; more are refused.
const MOST_HELD: usize = 500_000;

/// What a pull is after.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub group: Arc<str>,
    pub topic: TopicId,
    pub queue: u16,
    /// Nothing before it is wanted, or what is there does not pass the filter.
    pub offset: u64,
    pub filter: Filter,
    pub messages: usize,
    pub bytes: usize,
}

impl Wanted {
    fn queue(&self) -> Queue {
        (self.topic, self.queue)
    }
}

/// A pull that was accepted and has no answer yet.
#[derive(Debug)]
pub(super) struct Open {
    pub wanted: Wanted,
    pub answer: Answer,
}

pub(super) fn pull(served: &Arc<Served>, request: &Command, answer: Answer) {
    let accepted = Pull::read(request)
        .map_err(|bad| Denied::from(Refusal::from(bad)))
        .and_then(|pull| accept(served, &pull).map(|wanted| (wanted, pull)));
    let (wanted, pull) = match accepted {
        Ok(accepted) => accepted,
        Err(denied) => return denied.tell(answer),
    };
    if let Some(offset) = pull.commit.filter(|offset| *offset >= 0) {
        served.commit_later(&wanted.group, wanted.queue(), offset);
    }
    let until = match pull.suspend {
        Suspend::No => None,
        Suspend::For(ms) => Some(served.vb.now().at + Duration::from_millis(ms).min(LONGEST)),
    };
    let before_first = pull.offset < 0;
    let open = Open { wanted, answer };
    if before_first {
        let next = bounds(&served.vb.core(), &open.wanted).0;
        return self::answer(served, open, Look::Outside { next });
    }
    serve(served, open, until);
}

/// Whether the group may read this queue, and what of it.
fn accept(served: &Arc<Served>, pull: &Pull<'_>) -> Result<Wanted, Denied> {
    let mut core = served.vb.core();
    let (group, topic) = readable(served, &mut core, pull)?;
    let queue = u16::try_from(pull.queue).ok().filter(|queue| *queue < topic.read_queues);
    let queue = queue.ok_or_else(|| Refusal {
        code: response::INVALID_PARAMETER,
        remark: format!(
            "queueId[{}] is illegal, topic:[{}] topicConfig.readQueueNums:[{}]",
            pull.queue, pull.topic, topic.read_queues
        ),
    })?;
    let settings = core.state().settings();
    let messages =
        usize::try_from(pull.max_messages.clamp(1, settings.pull_messages.max(1) as i32)).unwrap_or(1);
    let asked = pull.max_bytes.and_then(|bytes| usize::try_from(bytes).ok()).filter(|bytes| *bytes > 0);
    let bytes = settings.pull_bytes.min(asked.unwrap_or(usize::MAX));
    drop(core);
    let filter = subscribed::filter(served, pull, &group)?;
    let offset = u64::try_from(pull.offset).unwrap_or(0);
    Ok(Wanted { group: group.name.clone(), topic: topic.id, queue, offset, filter, messages, bytes })
}

/// The group and the topic of a pull, if the one may read the other here.
fn readable(served: &Served, core: &mut Core, pull: &Pull<'_>) -> Result<(Arc<Group>, Arc<Topic>), Denied> {
    if core.state().settings().permission & perm::READ == 0 {
        let remark = format!("the broker[{}] pulling message is forbidden", served.vb.address);
        return forbid(By::Broker, remark);
    }
    let group = served.group(core, pull.group, served.vb.now())?;
    if !group.consume {
        return forbid(By::Group, format!("subscription group no permission, {}", pull.group));
    }
    let topic = core.state().topic(pull.topic).cloned().ok_or_else(|| Refusal {
        code: response::TOPIC_NOT_EXIST,
        remark: format!("topic[{}] not exist, apply first please!", pull.topic),
    })?;
    if !topic.readable() {
        return forbid(By::Topic, format!("the topic[{}] pulling message is forbidden", pull.topic));
    }
    Ok((group, topic))
}

/// Answers with what there is, or holds the pull until there is something or its time is over.
pub(super) fn serve(served: &Arc<Served>, open: Open, until: Option<Duration>) {
    let seen = look(&served.vb.core(), &open.wanted);
    match seen {
        Look::Nothing { .. } if until.is_some() => hold(served, open, until.unwrap_or_default()),
        seen => answer(served, open, seen),
    }
}

fn hold(served: &Arc<Served>, open: Open, until: Duration) {
    let mut held = served.held.lock();
    if held.len() >= MOST_HELD {
        let remark = format!("{MOST_HELD} pulls are held already: try again later");
        return open.answer.refuse(Refusal { code: response::SYSTEM_BUSY, remark });
    }
    // A message may have come meanwhile: whoever makes it visible looks for held pulls with this lock.
    let seen = look(&served.vb.core(), &open.wanted);
    if !matches!(seen, Look::Nothing { .. }) || served.vb.core().ended() {
        drop(held);
        return answer(served, open, seen);
    }
    let (queue, channel) = (open.wanted.queue(), open.answer.connection().id());
    if !open.answer.connection().is_open() {
        return;
    }
    let open = Open { answer: open.answer.at_rest(), ..open };
    if held.hold(queue, channel, until, open) {
        served.earlier_deadline.notify_one();
    }
}

fn answer(served: &Arc<Served>, open: Open, seen: Look) {
    let bounds = bounds(&served.vb.core(), &open.wanted);
    match seen {
        Look::Found { rows, next } => found(served, open, rows, next, bounds),
        Look::Cold => lagging::read(served, open),
        Look::NoneMatched { next } => {
            empty(open.answer, response::PULL_RETRY_IMMEDIATELY, "NO_MATCHED_MESSAGE", next, bounds);
        }
        Look::Nothing { next } => {
            empty(open.answer, response::PULL_NOT_FOUND, "NO_NEW_MESSAGE", next, bounds)
        }
        Look::Outside { next } if next < open.wanted.offset => ahead(served, open),
        Look::Outside { next } => {
            empty(open.answer, response::PULL_OFFSET_MOVED, "OFFSET_MOVED", next, bounds);
        }
    }
}

/// Whoever asks for more than there is may have been served by the next owner already. Only if the virtual broker is
/// still ours is its offset wrong.
fn ahead(served: &Arc<Served>, open: Open) {
    let now = served.vb.now();
    let mut core = served.vb.core();
    if core.stage(&[Record::Mark], now).is_err() {
        drop(core);
        return moving(served, open);
    }
    let later = served.clone();
    let told = move |outcome| {
        let seen = look(&later.vb.core(), &open.wanted);
        let bounds = bounds(&later.vb.core(), &open.wanted);
        match (outcome, seen) {
            (Outcome::Fenced, _) => moving(&later, open),
            (_, Look::Outside { next }) => {
                empty(open.answer, response::PULL_OFFSET_MOVED, "OFFSET_MOVED", next, bounds);
            }
            (_, seen) => answer(&later, open, seen),
        }
    };
    core.then(Effect::call(told), now);
    drop(core);
    served.vb.drive();
}

/// The first offset of a queue, and the one behind its last.
type Bounds = (u64, u64);

fn bounds(core: &Core, wanted: &Wanted) -> Bounds {
    (core.min_offset(wanted.topic, wanted.queue), core.max_offset(wanted.topic, wanted.queue))
}

fn found(served: &Arc<Served>, open: Open, rows: Vec<Row>, next: u64, bounds: Bounds) {
    let pieces: Option<Vec<Bytes>> = {
        let core = served.vb.core();
        rows.iter().map(|row| core.bytes(row.position, row.len)).collect()
    };
    match pieces {
        Some(pieces) => give(served, open, (rows.len(), &pieces), next, bounds),
        None => lagging::read(served, open),
    }
}

/// Hands out so many messages, as they are stored.
fn give(served: &Served, open: Open, (count, messages): (usize, &[Bytes]), next: u64, bounds: Bounds) {
    served.counts.delivered(open.wanted.topic, &open.wanted.group, count, messages);
    let mut reply = open.answer.draft(response::SUCCESS).remark("FOUND");
    reply_fields(&mut reply, next, bounds);
    open.answer.reply_with(reply, messages);
}

fn empty(answer: Answer, code: i32, remark: &str, next: u64, bounds: Bounds) {
    let mut reply = answer.draft(code).remark(remark);
    reply_fields(&mut reply, next, bounds);
    answer.reply(reply);
}

fn reply_fields(reply: &mut Command, next: u64, (min, max): Bounds) {
    let told = PullReply { next: next as i64, min: min as i64, max: max as i64 };
    told.write(&mut reply.fields);
}

/// Pulls whose time is over, or whose queue has more: looked at once more, and answered.
pub(super) fn again(served: &Arc<Served>, pulls: Vec<Open>) {
    for open in pulls {
        serve(served, open, None);
    }
}

/// The virtual broker is another's: held pulls end as if nothing had come, and their clients ask again.
pub(super) fn ended(served: &Arc<Served>) {
    let pulls = served.held.lock().end();
    pulls.into_iter().for_each(|open| moving(served, open));
}

fn moving(served: &Served, open: Open) {
    let (bounds, next) = (bounds(&served.vb.core(), &open.wanted), open.wanted.offset);
    empty(open.answer, response::PULL_NOT_FOUND, "the virtual broker is moving: ask again", next, bounds);
}

/// Wakes the pulls that want what these queues have become.
pub(super) fn arrived(served: &Arc<Served>, queues: &[Queue]) {
    let mut woken = Vec::new();
    {
        let mut held = served.held.lock();
        if held.len() == 0 {
            return;
        }
        let core = served.vb.core();
        for queue in queues {
            woken.extend(held.arrived(*queue, |open| look::wakes(&core, &mut open.wanted)));
        }
    }
    again(served, woken);
}

/// A pull of a virtual broker that is another's by now.
pub(super) fn moved(request: &Command, answer: Answer) {
    let next = request.fields.number::<i64>("queueOffset").unwrap_or(0).max(0).cast_unsigned();
    empty(answer, response::PULL_NOT_FOUND, "the virtual broker is moving: ask again", next, (0, next));
}
