//! Bounds of a topic's queues (202), and how much happened of late (315).

use std::sync::Arc;

use protocol::body::stats::{BrokerStats, QueueBounds, Spell, TopicStats, key};
use protocol::remoting::Command;
use protocol::remoting::code::response;

use super::progress::time_of;
use super::rates::{DAY, HOUR, MINUTE, of_group};
use super::{body, keyed, topic_of};
use crate::error::Error;
use crate::serve::Served;
use crate::serve::answer::{Answer, Refusal, refuse};
use crate::serve::pull::unreadable;
use crate::state::Topic;
use crate::vb::Bound;

/// 202
pub(super) fn of_topic(served: &Arc<Served>, request: &Command, answer: Answer) {
    let topic = request
        .fields
        .text("topic")
        .map_err(Refusal::from)
        .and_then(|name| topic_of(&served.vb.core(), name));
    let topic = match topic {
        Ok(topic) => topic,
        Err(refusal) => return answer.refuse(refusal),
    };
    let served = served.clone();
    tokio::spawn(async move {
        match bounds(&served, &topic).await {
            Ok(stats) => {
                let reply = keyed(&answer, &stats);
                answer.reply(reply);
            }
            Err(error) => answer.refuse(unreadable(&error)),
        }
    });
}

async fn bounds(served: &Served, topic: &Topic) -> Result<TopicStats, Error> {
    let mut stats =
        TopicStats { topic_put_tps: stored(served, topic, MINUTE).await?.tps, ..TopicStats::default() };
    for queue in 0..topic.queues() {
        let (min, max) = {
            let core = served.vb.core();
            (core.min_offset(topic.id, queue), core.max_offset(topic.id, queue))
        };
        let last = if max > min { time_of(served, topic.id, queue, max - 1).await? } else { None };
        let bounds = QueueBounds {
            last_update_timestamp: last.unwrap_or(0),
            max_offset: max as i64,
            min_offset: min as i64,
        };
        stats.offset_table.insert(key(&served.vb.name, &topic.name, i32::from(queue)), bounds);
    }
    Ok(stats)
}

/// Messages that came to a topic within the last so many seconds: their store times tell.
async fn stored(served: &Served, topic: &Topic, seconds: u32) -> Result<Spell, Error> {
    let since = served.vb.now().wall - i64::from(seconds) * 1000;
    let mut sum = 0;
    for queue in 0..topic.queues() {
        let max = served.vb.core().max_offset(topic.id, queue);
        if max > 0 {
            let before = served.vb.offset_at(topic.id, queue, since, Bound::Lower).await?;
            sum += max.saturating_sub(before) as i64;
        }
    }
    Ok(Spell { avgpt: 0.0, sum, tps: sum as f64 / f64::from(seconds) })
}

/// 315
pub(super) fn of_key(served: &Arc<Served>, request: &Command, answer: Answer) {
    let fields = &request.fields;
    let asked = || -> Result<(String, String), Refusal> {
        Ok((fields.text("statsName")?.into(), fields.text("statsKey")?.into()))
    };
    let (name, of) = match asked() {
        Ok(asked) => asked,
        Err(refusal) => return answer.refuse(refusal),
    };
    let served = served.clone();
    tokio::spawn(async move {
        let found = match &*name {
            "TOPIC_PUT_NUMS" => put_numbers(&served, &of).await,
            "GROUP_GET_NUMS" => Ok(get_numbers(&served, &of)),
            _ => Ok(None),
        };
        match found {
            Ok(Some(stats)) => {
                let reply = body(&answer, &stats);
                answer.reply(reply);
            }
            Ok(None) => {
                let remark = format!("The stats <{name}> <{of}> not exist");
                answer.give(refuse(response::SYSTEM_ERROR, remark));
            }
            Err(error) => answer.refuse(unreadable(&error)),
        }
    });
}

async fn put_numbers(served: &Served, topic: &str) -> Result<Option<BrokerStats>, Error> {
    let topic = served.vb.core().state().topic(topic).cloned();
    let Some(topic) = topic else { return Ok(None) };
    Ok(Some(BrokerStats {
        stats_day: stored(served, &topic, DAY).await?,
        stats_hour: stored(served, &topic, HOUR).await?,
        stats_minute: stored(served, &topic, MINUTE).await?,
    }))
}

/// What a group has committed: its key is `topic@group`.
fn get_numbers(served: &Served, of: &str) -> Option<BrokerStats> {
    let (topic, group) = of.split_once('@')?;
    let topic = served.vb.core().state().topic(topic)?.id;
    of_group(served, group, topic)
}
