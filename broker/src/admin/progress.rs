//! How far groups have come: one (208), or all (317).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::body::stats::{ConsumeStats, ConsumeStatsList, Progress, key};
use protocol::remoting::Command;

use super::rates::consumed;
use super::subscriptions::committed_topics;
use super::{keyed, with_commits};
use crate::error::Error;
use crate::index::Rows;
use crate::serve::Served;
use crate::serve::answer::Answer;
use crate::serve::pull::unreadable;
use crate::state::{Topic, TopicId};

/// 208
pub(super) fn of_group(served: &Arc<Served>, request: &Command, answer: Answer) {
    let group = match request.fields.text("consumerGroup") {
        Ok(group) => group.to_owned(),
        Err(bad) => return answer.refuse(bad.into()),
    };
    let topic = request.fields.get("topic").filter(|topic| !topic.is_empty()).map(str::to_owned);
    with_commits(served, answer, move |served, answer| {
        let served = served.clone();
        tokio::spawn(async move {
            let topics =
                topic.map_or_else(|| committed_topics(&served, &group), |topic| BTreeSet::from([topic]));
            let mut all =
                ConsumeStats { consume_tps: consumed(&served, &group, None).tps, ..Default::default() };
            for topic in topics {
                match of_topic(&served, &group, &topic).await {
                    Ok(part) => all.offset_table.extend(part),
                    Err(error) => return answer.refuse(unreadable(&error)),
                }
            }
            let reply = keyed(&answer, &all);
            answer.reply(reply);
        });
    });
}

/// By queue; nothing of a topic that is not there, or that the group has given up.
async fn of_topic(served: &Served, group: &str, name: &str) -> Result<BTreeMap<String, Progress>, Error> {
    let given_up = served
        .members
        .lock()
        .consumers(group)
        .is_some_and(|group| !group.subscriptions.is_empty() && !group.subscriptions.contains_key(name));
    let topic = served.vb.core().state().topic(name).cloned();
    let Some(topic) = topic.filter(|_| !given_up) else { return Ok(BTreeMap::new()) };
    let mut table = BTreeMap::new();
    for queue in 0..topic.write_queues {
        let (max, committed) = {
            let core = served.vb.core();
            (core.max_offset(topic.id, queue), core.state().offsets().get(group, topic.id, queue))
        };
        let committed = committed.unwrap_or(0);
        let last = match committed.checked_sub(1).and_then(|last| u64::try_from(last).ok()) {
            Some(last) => time_of(served, topic.id, queue, last).await?,
            None => None,
        };
        let progress = Progress {
            broker_offset: max as i64,
            consumer_offset: committed,
            last_timestamp: last.unwrap_or(0),
            pull_offset: committed,
        };
        table.insert(key(&served.vb.name, name, i32::from(queue)), progress);
    }
    Ok(table)
}

/// When the message at an offset was stored, if it is there.
pub(super) async fn time_of(
    served: &Served,
    topic: TopicId,
    queue: u16,
    offset: u64,
) -> Result<Option<i64>, Error> {
    Ok(match served.vb.rows(topic, queue, offset, 1, usize::MAX).await? {
        Rows::Found(rows) => rows.first().filter(|row| row.offset == offset).map(|row| row.store_time),
        _ => None,
    })
}

/// 317
pub(super) fn of_all(served: &Arc<Served>, request: &Command, answer: Answer) {
    let ordered = request.fields.is_true("isOrder");
    with_commits(served, answer, move |served, answer| {
        let served = served.clone();
        tokio::spawn(async move {
            match all(&served, ordered).await {
                Ok(list) => {
                    let reply = keyed(&answer, &list);
                    answer.reply(reply);
                }
                Err(error) => answer.refuse(unreadable(&error)),
            }
        });
    });
}

async fn all(served: &Served, ordered: bool) -> Result<ConsumeStatsList, Error> {
    let groups: Vec<Arc<str>> = served.vb.core().state().groups().map(|group| group.name.clone()).collect();
    let mut list = ConsumeStatsList { broker_addr: served.vb.address.to_string(), ..Default::default() };
    for group in groups {
        let mut of_group = Vec::new();
        for name in committed_topics(served, &group) {
            let wanted = |topic: &Arc<Topic>| !ordered || topic.order;
            let Some(topic) = served.vb.core().state().topic(&name).filter(|topic| wanted(topic)).cloned()
            else {
                continue;
            };
            let stats = ConsumeStats {
                consume_tps: consumed(served, &group, Some(topic.id)).tps,
                offset_table: of_topic(served, &group, &name).await?,
            };
            if !stats.offset_table.is_empty() {
                list.total_diff += stats.lag();
                of_group.push(stats);
            }
        }
        list.consume_stats_list.push(BTreeMap::from([(group.to_string(), of_group)]));
    }
    Ok(list)
}
