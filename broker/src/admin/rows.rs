//! Rows of a queue's index (321).

use std::sync::Arc;

use protocol::body::heartbeat::Subscription;
use protocol::body::stats::{QueueRow, QueueRows};
use protocol::remoting::Command;
use protocol::remoting::code::response;

use super::{body, topic_of};
use crate::index::Rows;
use crate::serve::Served;
use crate::serve::answer::{Answer, Refusal, refuse};
use crate::serve::pull::unreadable;
use crate::state::TopicId;

/// The most rows of one answer.
const MOST: i32 = 1_000;

struct Wanted {
    topic: TopicId,
    queue: u16,
    from: u64,
    count: usize,
    subscription: Option<Arc<Subscription>>,
}

/// 321
pub(super) fn show(served: &Arc<Served>, request: &Command, answer: Answer) {
    let wanted = match read(served, request) {
        Ok(wanted) => wanted,
        Err(refusal) => return answer.refuse(refusal),
    };
    let served = served.clone();
    tokio::spawn(async move {
        let Wanted { topic, queue, from, count, subscription } = wanted;
        let rows = match served.vb.rows(topic, queue, from, count, usize::MAX).await {
            Ok(Rows::Found(rows)) => rows,
            Ok(_) => Vec::new(),
            Err(error) => return answer.refuse(unreadable(&error)),
        };
        let eval = |tag: i64| {
            subscription.as_ref().is_some_and(|wanted| {
                wanted.code_set.is_empty() || wanted.code_set.iter().any(|code| i64::from(*code) == tag)
            })
        };
        let row = |row: &crate::index::Row| QueueRow {
            eval: eval(row.tag),
            physic_offset: row.position as i64,
            physic_size: row.len as i32,
            tags_code: row.tag,
        };
        let (min, max) = {
            let core = served.vb.core();
            (core.min_offset(topic, queue), core.max_offset(topic, queue))
        };
        let told = QueueRows {
            filter_data: None,
            max_queue_index: max as i64,
            min_queue_index: min as i64,
            queue_data: rows.iter().map(row).collect(),
            subscription_data: subscription.as_deref().cloned(),
        };
        let reply = body(&answer, &told);
        answer.reply(reply);
    });
}

fn read(served: &Served, request: &Command) -> Result<Wanted, Refusal> {
    let fields = &request.fields;
    let name = fields.text("topic")?;
    let (queue, index, count) =
        (fields.number::<i32>("queueId")?, fields.number::<i64>("index")?, fields.number::<i32>("count")?);
    let topic = topic_of(&served.vb.core(), name)?;
    let queue = match u16::try_from(queue) {
        Ok(queue) if queue < topic.queues() => queue,
        _ => return refuse(response::SYSTEM_ERROR, format!("{queue}@{name} is not exist!")),
    };
    let members = served.members.lock();
    let group = fields.get("consumerGroup").and_then(|group| members.consumers(group));
    Ok(Wanted {
        topic: topic.id,
        queue,
        from: u64::try_from(index).unwrap_or(0),
        count: count.clamp(1, MOST) as usize,
        subscription: group.and_then(|group| group.subscriptions.get(name).cloned()),
    })
}
