//! How far groups have come (14, 15), and where queues begin and end (29 to 32).

use std::sync::Arc;

use protocol::remoting::code::response;
use protocol::remoting::{Command, Fields};

use super::Served;
use super::answer::{Answer, Refusal, refuse};
use super::held::Queue;
use super::pull::unreadable;
use crate::state::TopicId;
use crate::vb::{Bound, Core, Effect, Rows};

/// A new group is sent to the beginning of a queue that begins at 0 while so little lies behind that beginning.
/// RocketMQ does so while the messages are in memory.
const LITTLE: u64 = 1 << 30;

/// 14
pub(super) fn query(served: &Arc<Served>, request: &Command, answer: Answer) {
    let asked = read_queue(served, &request.fields).and_then(|queue| {
        let group = request.fields.text("consumerGroup")?.to_owned();
        let zero =
            request.fields.get("setZeroIfNotFound").is_none_or(|zero| !zero.eq_ignore_ascii_case("false"));
        Ok((queue, group, zero))
    });
    let (queue, group, zero) = match asked {
        Ok(asked) => asked,
        Err(refusal) => return answer.refuse(refusal),
    };
    tell(served, queue, group, zero, None, answer);
}

/// Answers where a group is. `young`: whether it shall begin with the queue if it is nowhere yet, where that is known.
fn tell(
    served: &Arc<Served>,
    queue: Option<Queue>,
    group: String,
    zero: bool,
    young: Option<bool>,
    answer: Answer,
) {
    let now = served.vb.now();
    let mut commits = served.commits.lock();
    let mut core = served.vb.core();
    if commits.waits(&group)
        && let Err(refused) = commits.flush(&mut core, now)
    {
        return answer.refuse(refused.into());
    }
    let Some(queue) = queue else {
        let reply = found(&answer, Some(0).filter(|_| zero));
        return answer.give(reply);
    };
    let offset = match core.state().offsets().get(&group, queue.0, queue.1) {
        Some(known) => Some(known),
        None if !zero => None,
        None => match young.or_else(|| begins_at_zero(&core, queue)) {
            Some(young) => young.then_some(0),
            None => {
                drop((commits, core));
                return look_back(served, queue, group, answer);
            }
        },
    };
    if !commits.unsettled(&core) {
        drop((commits, core));
        let reply = found(&answer, offset);
        return answer.give(reply);
    }
    core.then(
        Effect::call(move |outcome| {
            answer.if_stored(outcome, |answer| {
                let reply = found(&answer, offset);
                answer.give(reply);
            });
        }),
        now,
    );
}

/// Finds out how young a queue is whose first row is not in memory, and answers then.
fn look_back(served: &Arc<Served>, queue: Queue, group: String, answer: Answer) {
    let served = served.clone();
    tokio::spawn(async move {
        let first = match served.vb.rows(queue.0, queue.1, 0, 1, usize::MAX).await {
            Ok(rows) => rows,
            Err(error) => return answer.refuse(unreadable(&error)),
        };
        let young = {
            let core = served.vb.core();
            core.min_offset(queue.0, queue.1) == 0 && is_young(&core, &first) == Some(true)
        };
        tell(&served, Some(queue), group, true, Some(young), answer);
        served.vb.drive();
    });
}

fn found(answer: &Answer, offset: Option<i64>) -> Result<Command, Refusal> {
    match offset {
        Some(offset) => Ok(answer.draft(response::SUCCESS).with("offset", offset)),
        None => refuse(response::QUERY_NOT_FOUND, "Not found, maybe this group consumer boot first"),
    }
}

pub(crate) fn moved() -> Refusal {
    let remark = "this broker has lost the virtual broker: ask again".into();
    Refusal { code: response::SERVICE_NOT_AVAILABLE, remark }
}

/// Whether a group that never committed anything shall begin with the queue; `None` if memory does not tell.
fn begins_at_zero(core: &Core, (topic, queue): Queue) -> Option<bool> {
    if core.min_offset(topic, queue) > 0 {
        return Some(false);
    }
    is_young(core, &core.rows(topic, queue, 0, 1, usize::MAX))
}

/// Whether little was stored since the first row of a queue.
fn is_young(core: &Core, first: &Rows) -> Option<bool> {
    match first {
        Rows::Found(rows) => {
            Some(rows.first().is_none_or(|row| core.acknowledged().saturating_sub(row.position) < LITTLE))
        }
        Rows::End | Rows::Outside { .. } => Some(true),
        Rows::Cold => None,
    }
}

/// 15
pub(super) fn update(served: &Arc<Served>, request: &Command, answer: Answer) {
    let told = commit(served, &request.fields);
    let (group, queue, offset) = match told {
        Ok(told) => told,
        Err(refusal) => return answer.refuse(refusal),
    };
    if answer.one_way() {
        served.commit_later(&group, queue, offset);
        return answer.done();
    }
    let now = served.vb.now();
    let mut commits = served.commits.lock();
    let mut core = served.vb.core();
    commits.add(&core, &group, queue, offset);
    if let Err(refused) = commits.flush(&mut core, now) {
        return answer.refuse(refused.into());
    }
    if !commits.unsettled(&core) {
        drop((commits, core));
        return answer.done();
    }
    core.then(answer.done_once_stored(), now);
}

fn commit(served: &Served, fields: &Fields) -> Result<(Arc<str>, Queue, i64), Refusal> {
    let group = fields.text("consumerGroup")?;
    let topic = fields.text("topic")?;
    let offset: i64 = fields.number("commitOffset")?;
    let queue: i32 = fields.number("queueId")?;
    let core = served.vb.core();
    let Some(group) = core.state().group(group) else {
        let remark = format!("Group {group} not exist!");
        return refuse(response::SUBSCRIPTION_GROUP_NOT_EXIST, remark);
    };
    let Some(topic) = core.state().topic(topic) else {
        return refuse(response::TOPIC_NOT_EXIST, format!("Topic {topic} not exist!"));
    };
    let fits = u16::try_from(queue).ok().filter(|queue| *queue < topic.queues());
    let (Some(queue), true) = (fits, offset >= 0) else {
        let remark = format!(
            "offset {offset} of queue {queue} cannot be committed: topic {} has {} queues",
            topic.name,
            topic.queues()
        );
        return refuse(response::INVALID_PARAMETER, remark);
    };
    Ok((group.name.clone(), (topic.id, queue), offset))
}

/// The queue that a request names; none if there is no such topic.
fn read_queue(served: &Served, fields: &Fields) -> Result<Option<Queue>, Refusal> {
    let topic = fields.text("topic")?;
    let queue: i32 = fields.number("queueId")?;
    let Ok(queue) = u16::try_from(queue) else {
        return refuse(response::INVALID_PARAMETER, format!("there is no queue {queue}"));
    };
    let core = served.vb.core();
    Ok(core.state().topic(topic).map(|topic| (topic.id, queue)))
}

/// 30 and 31
pub(super) fn bounds(served: &Arc<Served>, request: &Command, answer: Answer, max: bool) {
    let queue = read_queue(served, &request.fields);
    let bound = |(topic, queue): (TopicId, u16)| {
        let core = served.vb.core();
        if max { core.max_offset(topic, queue) } else { core.min_offset(topic, queue) }
    };
    let reply = queue.map(|queue| answer.draft(response::SUCCESS).with("offset", queue.map_or(0, bound)));
    answer.give(reply);
}

/// 29
pub(super) fn by_time(served: &Arc<Served>, request: &Command, answer: Answer) {
    let asked = read_queue(served, &request.fields)
        .and_then(|queue| Ok((queue, request.fields.number::<i64>("timestamp")?)));
    let (queue, timestamp) = match asked {
        Ok((Some(queue), timestamp)) => (queue, timestamp),
        Ok((None, _)) => {
            let reply = found(&answer, Some(0));
            return answer.give(reply);
        }
        Err(refusal) => return answer.refuse(refusal),
    };
    let upper = request.fields.get("boundaryType").is_some_and(|kind| kind.eq_ignore_ascii_case("upper"));
    let bound = if upper { Bound::Upper } else { Bound::Lower };
    let served = served.clone();
    tokio::spawn(async move {
        match served.vb.offset_at(queue.0, queue.1, timestamp, bound).await {
            Ok(offset) => {
                let reply = answer.draft(response::SUCCESS).with("offset", offset);
                answer.reply(reply);
            }
            Err(error) => answer.refuse(unreadable(&error)),
        }
    });
}

/// 32
pub(super) fn earliest(served: &Arc<Served>, request: &Command, answer: Answer) {
    let queue = match read_queue(served, &request.fields) {
        Ok(queue) => queue,
        Err(refusal) => return answer.refuse(refusal),
    };
    let served = served.clone();
    tokio::spawn(async move {
        let first = match queue {
            None => Ok(None),
            Some((topic, queue)) => {
                let min = served.vb.core().min_offset(topic, queue);
                served.vb.rows(topic, queue, min, 1, usize::MAX).await.map(|rows| match rows {
                    Rows::Found(rows) => rows.first().map(|row| row.store_time),
                    _ => None,
                })
            }
        };
        match first {
            Ok(time) => {
                let reply = answer.draft(response::SUCCESS).with("timestamp", time.unwrap_or(-1));
                answer.reply(reply);
            }
            Err(error) => answer.refuse(unreadable(&error)),
        }
    });
}
