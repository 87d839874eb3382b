//! Which queue a message is for, and whether it may go there.

use std::sync::Arc;

use protocol::remoting::code::response;
use protocol::remoting::header::Send;

use crate::serve::Served;
use crate::serve::answer::{Refusal, refuse};
use crate::serve::put::{derived_topic, make_topic};
use crate::state::Topic;
use crate::state::topic::{self, AUTO_CREATE, DLQ_PREFIX, MAX_QUEUES, RETRY_PREFIX, perm};
use crate::vb::{Core, Now};

pub(super) struct Target {
    pub topic: Arc<Topic>,
    pub queue: u16,
    /// The message was tried often enough, and goes where nobody tries it again.
    pub dead_letter: bool,
}

/// The first release whose retries say how often they may be tried.
const SAYS_MOST_RETRIES: i32 = 121;

pub(super) fn find(
    served: &Served,
    core: &mut Core,
    send: &Send<'_>,
    version: i32,
    now: Now,
) -> Result<Target, Refusal> {
    if let Some(why) = topic::wrong_name(send.topic) {
        return refuse(response::INVALID_PARAMETER, why);
    }
    if !topic::sendable(send.topic) {
        let remark = format!("Sending message to topic[{}] is forbidden.", send.topic);
        return refuse(response::INVALID_PARAMETER, remark);
    }
    let topic = match core.state().topic(send.topic) {
        Some(topic) => topic.clone(),
        None => served.topic_made(core, |core| make(core, send, now))?,
    };
    // Clients that do not know yet that nothing more is to be sent here go on; only order would suffer from it.
    if topic.order && core.state().settings().permission & perm::WRITE == 0 {
        let remark = format!("the broker[{}] sending message is forbidden", served.vb.address);
        return refuse(response::NO_PERMISSION, remark);
    }
    if !topic.writable() {
        let remark = format!("the topic[{}] sending message is forbidden", topic.name);
        return refuse(response::NO_PERMISSION, remark);
    }
    if send.queue >= i32::from(topic.queues()) {
        let remark = format!(
            "request queueId[{}] is illegal: topic {} has {} queues to read and {} to write",
            send.queue, topic.name, topic.read_queues, topic.write_queues
        );
        return refuse(response::INVALID_PARAMETER, remark);
    }
    if let Some(group) = topic.name.strip_prefix(RETRY_PREFIX)
        && tried_enough(served, core, group, send, version, now)?
    {
        let name = format!("{DLQ_PREFIX}{group}");
        let topic = match core.state().topic(&name) {
            Some(topic) => topic.clone(),
            None => served.topic_made(core, |core| derived_topic(core, &name, 1, now))?,
        };
        return Ok(Target { topic, queue: 0, dead_letter: true });
    }
    let queue = match u16::try_from(send.queue) {
        Ok(queue) => queue,
        Err(_) => served.any_queue(&topic),
    };
    Ok(Target { topic, queue, dead_letter: false })
}

/// A topic that is sent to for the first time: a group's retry topic, or one like the topic that the sender names.
fn make(core: &mut Core, send: &Send<'_>, now: Now) -> Result<Arc<Topic>, Refusal> {
    let missing = || Refusal {
        code: response::TOPIC_NOT_EXIST,
        remark: format!("topic[{}] not exist, apply first please!", send.topic),
    };
    if send.topic.starts_with(RETRY_PREFIX) {
        return derived_topic(core, send.topic, 1, now);
    }
    let settings = core.state().settings();
    let may_inherit = send.default_topic != AUTO_CREATE || settings.auto_create_topic;
    let like =
        core.state().topic(send.default_topic).filter(|like| like.perm & perm::INHERIT != 0 && may_inherit);
    let like = like.ok_or_else(missing)?.clone();
    let most = if send.default_topic == AUTO_CREATE { settings.default_queues } else { like.write_queues };
    if !(1..=i32::from(MAX_QUEUES)).contains(&send.default_queues) {
        let remark =
            format!("a topic cannot have {} queues: 1 to {MAX_QUEUES} are taken", send.default_queues);
        return refuse(response::INVALID_PARAMETER, remark);
    }
    let queues = most.clamp(1, MAX_QUEUES).min(send.default_queues as u16);
    let id = core.state().next_topic();
    make_topic(core, Topic::new(id, send.topic, queues, like.perm & !perm::INHERIT), now)
}

/// Whether a message that its consumer sends again has been tried often enough, or its group reads in order: then
/// its consumer has tried it by itself.
fn tried_enough(
    served: &Served,
    core: &Core,
    group: &str,
    send: &Send<'_>,
    version: i32,
    now: Now,
) -> Result<bool, Refusal> {
    let Some(config) = core.state().group(group) else {
        let remark = format!("subscription group not exist, {group}");
        return refuse(response::SUBSCRIPTION_GROUP_NOT_EXIST, remark);
    };
    let told = send.max_reconsume_times.filter(|_| version >= SAYS_MOST_RETRIES);
    let most = told.unwrap_or(config.retry_max);
    Ok(send.reconsume_times > most || served.locks.lock().any(group, now.at))
}
