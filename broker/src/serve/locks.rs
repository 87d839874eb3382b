//! The right to read queues in order (41), and giving it back (42).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use protocol::body::json;
use protocol::body::lock::{LockReply, LockRequest, Queue as Named};
use protocol::remoting::Command;
use protocol::remoting::code::response;

use super::Served;
use super::answer::{Answer, Refusal, refuse};
use super::held::Queue;
use crate::members::Granted;
use crate::state::Change;
use crate::vb::{Core, Effect, Now, Outcome, Record};

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
    let granted = match grant(served, &mut core, &asked, now) {
        Ok(granted) => granted,
        Err(refusal) => return answer.refuse(refusal),
    };
    let held = asked.queues.into_iter().filter(|(queue, _)| granted.held.contains(queue));
    let list = LockReply { locked: held.map(|(_, named)| named).collect() };
    let reply = answer.draft(response::SUCCESS).body(json::write(&list));
    // Who asks again while his lock is on its way waits for it as before.
    if !served.unsettled(&core) {
        drop(core);
        return answer.reply(reply);
    }
    core.then(
        Effect::call(move |outcome| match outcome {
            Outcome::Fenced => answer.refuse(super::offsets::moved()),
            _ => answer.reply(reply),
        }),
        now,
    );
}

/// Gives a client what nobody else holds, and writes it down: otherwise the next owner would not know it.
fn grant(served: &Served, core: &mut Core, asked: &Asked, now: Now) -> Result<Granted, Refusal> {
    let Asked { group, client, queues } = asked;
    served.group(core, group, now)?;
    let wanted: Vec<Queue> = queues.iter().map(|(queue, _)| *queue).collect();
    let granted = served.locks.lock().lock(group, client, &wanted, now.at);
    if granted.new.is_empty() {
        return Ok(granted);
    }
    let change = Change::Locked { group: group.clone(), client: client.clone(), queues: granted.new.clone() };
    match core.stage(&[Record::Change(&change)], now) {
        Ok(staged) => served.made.fetch_max(staged.end, Ordering::Relaxed),
        Err(refused) => {
            served.locks.lock().unlock(group, client, &granted.new);
            return Err(refused.into());
        }
    };
    Ok(granted)
}

/// Takes back what was not renewed in time: neither here nor in the log it is kept for ever.
pub(super) fn sweep(served: &Served) {
    let now = served.vb.now();
    let mut core = served.vb.core();
    let mut locks = served.locks.lock();
    for (group, client, queue) in locks.run_out(now.at) {
        let change = Change::Unlocked { group: group.clone(), client: client.clone(), queues: vec![queue] };
        match core.stage(&[Record::Change(&change)], now) {
            Ok(_) => drop(locks.unlock(&group, &client, &[queue])),
            Err(refused) => return tracing::debug!("locks that ran out stay for now: {refused}"),
        }
    }
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
