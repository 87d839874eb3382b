//! Moves a group to a time (222): that is committed at once, and its members, if it has any, are told to go on there
//! (220).

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use protocol::body::json;
use protocol::body::offset::{ResetOffset, ResetOffsetList, ResetOffsets};
use protocol::body::stats::key;
use protocol::remoting::code::{request as code, response};
use protocol::remoting::{Command, Language};

use super::with_commits;
use crate::serve::Served;
use crate::serve::answer::{Answer, Refusal, refuse};
use crate::serve::pull::unreadable;
use crate::state::{Commit, Topic};
use crate::vb::{Bound, Effect};

struct Wanted {
    group: String,
    topic: String,
    /// -1: the end.
    timestamp: i64,
    /// Forward, too.
    force: bool,
    /// Of one queue, to this offset.
    exact: Option<(u16, i64)>,
}

fn read(request: &Command) -> Result<Wanted, Refusal> {
    let fields = &request.fields;
    let queue = u16::try_from(fields.number_or("queueId", -1)?).ok();
    let exact = queue.zip(fields.maybe::<i64>("offset")?.filter(|offset| *offset >= 0));
    Ok(Wanted {
        group: fields.text("group")?.into(),
        topic: fields.text("topic")?.into(),
        timestamp: fields.number("timestamp")?,
        force: fields.is_true("isForce"),
        exact,
    })
}

/// 222
pub(super) fn reset(served: &Arc<Served>, request: &Command, answer: Answer) {
    let wanted = match read(request) {
        Ok(wanted) => wanted,
        Err(refusal) => return answer.refuse(refusal),
    };
    with_commits(served, answer, move |served, answer| {
        let served = served.clone();
        tokio::spawn(async move {
            match targets(&served, &wanted).await {
                Ok((topic, offsets)) => settle(&served, wanted, topic, offsets, answer),
                Err(refusal) => answer.refuse(refusal),
            }
            served.vb.drive();
        });
    });
}

/// Commits the new offsets; members are told once they are acknowledged.
fn settle(
    served: &Arc<Served>,
    wanted: Wanted,
    topic: Arc<Topic>,
    offsets: BTreeMap<u16, i64>,
    answer: Answer,
) {
    let group: Arc<str> = wanted.group.as_str().into();
    let commit = |(queue, offset): (&u16, &i64)| Commit {
        group: group.clone(),
        topic: topic.id,
        queue: *queue,
        offset: *offset,
    };
    let commits: Vec<Commit> = offsets.iter().map(commit).collect();
    let now = served.vb.now();
    let mut waiting = served.commits.lock();
    let mut core = served.vb.core();
    if let Err(refused) = waiting.hand_over(&mut core, &commits, now) {
        return answer.refuse(refused.into());
    }
    drop(waiting);
    let served = served.clone();
    core.then(
        Effect::call(move |outcome| {
            answer.if_stored(outcome, |answer| {
                tell(&served, &wanted, &topic, &offsets);
                let reply = answer.draft(response::SUCCESS).body(told(&served, &topic, &offsets, false));
                answer.reply(reply);
            });
        }),
        now,
    );
}

/// Where each queue shall go on.
async fn targets(served: &Served, wanted: &Wanted) -> Result<(Arc<Topic>, BTreeMap<u16, i64>), Refusal> {
    let Wanted { group, topic: name, .. } = wanted;
    let topic = served.vb.core().state().topic(name).cloned();
    let Some(topic) = topic else {
        let remark = format!("[reset-offset] reset offset failed, no topic in this broker. topic={name}");
        return refuse(response::SYSTEM_ERROR, remark);
    };
    // A group that is to begin somewhere may be told so before its first member comes.
    let now = served.vb.now();
    served.group(&mut served.vb.core(), group, now)?;
    let mut offsets = BTreeMap::new();
    for queue in 0..topic.write_queues {
        let (committed, min, max) = {
            let core = served.vb.core();
            let committed = core.state().offsets().get(group, topic.id, queue);
            (committed, core.min_offset(topic.id, queue) as i64, core.max_offset(topic.id, queue) as i64)
        };
        let target = match wanted.exact {
            Some((only, offset)) if only == queue => offset.clamp(min, max),
            Some(_) => continue,
            None if wanted.timestamp == -1 => max,
            None => {
                let at = served.vb.offset_at(topic.id, queue, wanted.timestamp, Bound::Lower).await;
                at.map_err(|error| unreadable(&error))? as i64
            }
        };
        let stays = committed.filter(|committed| !wanted.force && target >= *committed);
        offsets.insert(queue, stays.unwrap_or(target));
    }
    Ok((topic, offsets))
}

fn tell(served: &Served, wanted: &Wanted, topic: &Topic, offsets: &BTreeMap<u16, i64>) {
    let Wanted { group, timestamp, .. } = wanted;
    let members = served.members.lock();
    let Some(consumers) = members.consumers(group) else { return };
    let cpp = Language::from_name("CPP");
    for member in consumers.members.values() {
        let request = Command::one_way(code::RESET_CONSUMER_CLIENT_OFFSET)
            .with("topic", &topic.name)
            .with("group", group)
            .with("timestamp", timestamp)
            .with("isForce", wanted.force)
            .body(told(served, topic, offsets, member.language == cpp));
        member.handle.tell(request);
    }
}

/// Clients in C++ read a list, all others a map by queue.
fn told(served: &Served, topic: &Topic, offsets: &BTreeMap<u16, i64>, as_list: bool) -> Bytes {
    if as_list {
        let row = |(queue, offset): (&u16, &i64)| ResetOffset {
            broker_name: served.vb.name.to_string(),
            offset: *offset,
            queue_id: i32::from(*queue),
            topic: topic.name.to_string(),
        };
        return json::write(&ResetOffsetList { offset_table: offsets.iter().map(row).collect() });
    }
    let row = |(queue, offset): (&u16, &i64)| (key(&served.vb.name, &topic.name, i32::from(*queue)), *offset);
    json::write_keyed(&ResetOffsets { offset_table: offsets.iter().map(row).collect() })
}
