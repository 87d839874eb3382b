//! The right to read queues in order (41), and giving it back (42).

use std::sync::Arc;

use protocol::body::json;
use protocol::body::lock::{LockReply, LockRequest, Queue as Named};
use protocol::remoting::Command;
use protocol::remoting::code::response;

use super::Served;
use super::answer::{Answer, Refusal, refuse};
use super::held::Queue;
use crate::state::Change;
use crate::vb::{Core, Effect, Outcome, Record};

/// The queues of a request that are this virtual broker's, and who wants them.
struct Asked {
    group: Arc<str>,
    client: Arc<str>,
    queues: Vec<(Queue, Named)>,
}

fn read(served: &Served, core: &Core, request: &Command) -> Result<Asked, Refusal> {
    let body: LockRequest = json::read(&request.body)?;
    if body.consumer_group.is_empty() || body.client_id.is_empty() {
        return refuse(response::SYSTEM_ERROR, "the request needs consumerGroup and clientId");
    }
    let ours = body.mq_set.into_iter().filter(|queue| *queue.broker_name == *served.vb.name);
    let known = ours.filter_map(|queue| {
        let topic = core.state().topic(&queue.topic)?;
        let id = u16::try_from(queue.queue_id).ok().filter(|id| *id < topic.queues())?;
        Some(((topic.id, id), queue))
    });
    Ok(Asked { group: body.consumer_group.into(), client: body.client_id.into(), queues: known.collect() })
}

/// 41
pub(super) fn lock(served: &Arc<Served>, request: &Command, answer: Answer) {
    let now = served.vb.now();
    let mut core = served.vb.core();
    let asked = match read(served, &core, request) {
        Ok(asked) => asked,
        Err(refusal) => return answer.refuse(refusal),
    };
    let wanted: Vec<Queue> = asked.queues.iter().map(|(queue, _)| *queue).collect();
    let granted = served.locks.lock().lock(&asked.group, &asked.client, &wanted, now.at);
    let held = asked.queues.into_iter().filter(|(queue, _)| granted.held.contains(queue));
    let list = LockReply { locked: held.map(|(_, named)| named).collect() };
    let reply = answer.draft(response::SUCCESS).body(json::write(&list));
    if granted.new.is_empty() {
        drop(core);
        return answer.reply(reply);
    }
    let change = Change::Locked {
        group: asked.group.clone(),
        client: asked.client.clone(),
        queues: granted.new.clone(),
    };
    if let Err(refused) = core.stage(&[Record::Change(&change)], now) {
        // A lock that is not written down would be forgotten by the next owner.
        served.locks.lock().unlock(&asked.group, &asked.client, &granted.new);
        return answer.refuse(refused.into());
    }
    core.then(
        Effect::call(move |outcome| match outcome {
            Outcome::Fenced => answer.refuse(super::offsets::moved()),
            _ => answer.reply(reply),
        }),
        now,
    );
}

/// 42
pub(super) fn unlock(served: &Arc<Served>, request: &Command, answer: Answer) {
    let now = served.vb.now();
    let mut core = served.vb.core();
    let asked = match read(served, &core, request) {
        Ok(asked) => asked,
        Err(refusal) => return answer.refuse(refusal),
    };
    let wanted: Vec<Queue> = asked.queues.iter().map(|(queue, _)| *queue).collect();
    let given = served.locks.lock().unlock(&asked.group, &asked.client, &wanted);
    if !given.is_empty() {
        let change = Change::Unlocked { group: asked.group, client: asked.client, queues: given };
        if let Err(refused) = core.stage(&[Record::Change(&change)], now) {
            tracing::debug!("an unlock was not recorded and runs out by itself: {refused}");
        }
    }
    drop(core);
    answer.done();
}
