//! From when to when a topic's messages are, and up to when a group has consumed them (303).

use std::sync::Arc;

use protocol::body::lock::Queue;
use protocol::body::stats::{TimeSpan, TimeSpans};
use protocol::remoting::Command;

use super::progress::time_of;
use super::{body, topic_of, with_commits};
use crate::error::Error;
use crate::serve::Served;
use crate::serve::answer::{Answer, Refusal};
use crate::serve::pull::unreadable;
use crate::state::Topic;

/// 303
pub(super) fn of_topic(served: &Arc<Served>, request: &Command, answer: Answer) {
    let read = || -> Result<(Arc<Topic>, String), Refusal> {
        let topic = topic_of(&served.vb.core(), request.fields.text("topic")?)?;
        Ok((topic, request.fields.text("group")?.into()))
    };
    let (topic, group) = match read() {
        Ok(read) => read,
        Err(refusal) => return answer.refuse(refusal),
    };
    with_commits(served, answer, move |served, answer| {
        let served = served.clone();
        tokio::spawn(async move {
            let mut spans = TimeSpans::default();
            for queue in 0..topic.write_queues {
                match of_queue(&served, &topic, queue, &group).await {
                    Ok(span) => spans.consume_time_span_set.push(span),
                    Err(error) => return answer.refuse(unreadable(&error)),
                }
            }
            let reply = body(&answer, &spans);
            answer.reply(reply);
        });
    });
}

async fn of_queue(served: &Served, topic: &Topic, queue: u16, group: &str) -> Result<TimeSpan, Error> {
    let (first, end, committed) = {
        let core = served.vb.core();
        let committed = core.state().offsets().get(group, topic.id, queue).unwrap_or(0);
        (
            core.min_offset(topic.id, queue),
            core.max_offset(topic.id, queue),
            u64::try_from(committed).unwrap_or(0),
        )
    };
    let time = async |offset: u64| time_of(served, topic.id, queue, offset).await;
    let min = if end > first { time(first).await? } else { None }.unwrap_or(0);
    let max = if end > first { time(end - 1).await? } else { None }.unwrap_or(0);
    let consumed = match committed.checked_sub(1) {
        Some(last) => time(last).await?.unwrap_or(min),
        None => min,
    };
    let next = if committed < end { time(committed.max(first)).await? } else { None };
    Ok(TimeSpan {
        consumed,
        delay: next.map_or(0, |next| (served.vb.now().wall - next).max(0)),
        max,
        min,
        queue: Queue {
            broker_name: served.vb.name.to_string(),
            queue_id: i32::from(queue),
            topic: topic.name.to_string(),
        },
    })
}
