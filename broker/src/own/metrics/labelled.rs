//! What there are many of: by topic, by group, by class of size or time.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Page;
use crate::serve::Served;
use crate::serve::counts::{MOST, SIZES, Split, Traffic, WAITS};
use crate::state::TopicId;

/// The topic of what is not told apart. No topic can be called that.
const OTHERS: &str = "(others)";

pub(super) fn write(page: &mut Page, all: &[&Served]) {
    traffic(page, all);
    dead_letters(page, all);
    lags(page, all);
    oldest(page, all);
    sizes(page, all);
    waits(page, all);
}

fn by_topic(topic: &str) -> String {
    format!(",topic=\"{topic}\"")
}

fn by_group(topic: &str, group: &str) -> String {
    format!(",consumer_group=\"{group}\",topic=\"{topic}\"")
}

fn traffic(page: &mut Page, all: &[&Served]) {
    let parts: Vec<_> = all.iter().map(|served| (*served, sent(served), read(served))).collect();
    let mut write = |name, about, of: fn(&Traffic) -> u64, is_in: bool| {
        page.about(name, "counter", about);
        for (served, sent, read) in &parts {
            let rows = if is_in { sent } else { read };
            rows.iter().for_each(|(labels, traffic)| page.row(name, served, labels, of(traffic)));
        }
    };
    let (messages, bytes) = (|traffic: &Traffic| traffic.messages, |traffic: &Traffic| traffic.bytes);
    write("rocketmq_messages_in_total", "Messages that came in since this owner began", messages, true);
    write("rocketmq_messages_out_total", "Messages that were handed out since it began", messages, false);
    write("rocketmq_throughput_in_total", "Bytes of messages that came in", bytes, true);
    write("rocketmq_throughput_out_total", "Bytes of messages that were handed out", bytes, false);
}

/// Labels, and what they count.
type Rows = Vec<(String, Traffic)>;

fn sent(served: &Served) -> Rows {
    let counts = &served.counts;
    let rows = named(served, &counts.sent, |id| *id, |topic, _| by_topic(topic));
    with_others(rows, by_topic(OTHERS), (&counts.messages_in, &counts.bytes_in))
}

fn read(served: &Served) -> Rows {
    let counts = &served.counts;
    let rows = named(served, &counts.read, |(id, _)| *id, |topic, (_, group)| by_group(topic, group));
    with_others(rows, by_group(OTHERS, OTHERS), (&counts.messages_out, &counts.bytes_out))
}

/// Of topics that are still there.
fn named<K: Hash + Ord + Clone>(
    served: &Served,
    split: &Split<K>,
    topic: impl Fn(&K) -> TopicId,
    labels: impl Fn(&str, &K) -> String,
) -> Rows {
    let core = served.vb.core();
    let name = |key: &K| core.state().topic_of(topic(key)).map(|topic| topic.name.clone());
    let list = split.list(|key| name(key).is_some());
    list.iter().filter_map(|(key, traffic)| Some((labels(&name(key)?, key), *traffic))).collect()
}

/// All rows together come to the total.
fn with_others(mut rows: Rows, labels: String, (messages, bytes): (&AtomicU64, &AtomicU64)) -> Rows {
    let [messages, bytes] = [messages, bytes].map(|total| total.load(Ordering::Relaxed));
    let mut rest = Traffic { messages, bytes };
    for (_, traffic) in &rows {
        rest.messages = rest.messages.saturating_sub(traffic.messages);
        rest.bytes = rest.bytes.saturating_sub(traffic.bytes);
    }
    if rest.messages > 0 {
        rows.push((labels, rest));
    }
    rows
}

fn dead_letters(page: &mut Page, all: &[&Served]) {
    let name = "rocketmq_send_to_dlq_messages_total";
    page.about(name, "counter", "Messages that were given up for a group");
    for served in all {
        for (group, traffic) in served.counts.dead.list(|_| true) {
            page.row(name, served, &format!(",consumer_group=\"{group}\""), traffic.messages);
        }
    }
}

fn lags(page: &mut Page, all: &[&Served]) {
    let name = "rocketmq_consumer_lag_messages";
    page.about(name, "gauge", "Messages that wait for a group");
    for served in all {
        let groups: Vec<Arc<str>> = served.vb.core().state().offsets().groups().cloned().collect();
        let lags =
            groups.iter().flat_map(|group| lag_of(served, group).into_iter().map(move |lag| (group, lag)));
        for (group, (topic, lag)) in lags.take(MOST) {
            page.row(name, served, &by_group(&topic, group), lag);
        }
    }
}

/// By topic. The lock is taken for one group at a time.
fn lag_of(served: &Served, group: &str) -> Vec<(Arc<str>, u64)> {
    let core = served.vb.core();
    let mut lags: BTreeMap<TopicId, u64> = BTreeMap::new();
    for (topic, queue, committed) in core.state().offsets().of_group(group) {
        let max = core.max_offset(topic, queue);
        *lags.entry(topic).or_default() += max.saturating_sub(u64::try_from(committed).unwrap_or(0));
    }
    let named = lags.into_iter().filter_map(|(id, lag)| Some((core.state().topic_of(id)?.name.clone(), lag)));
    named.collect()
}

fn oldest(page: &mut Page, all: &[&Served]) {
    let name = "rocketmq_storage_message_reserve_time";
    page.about(
        name,
        "gauge",
        "For how long the oldest message is kept, in ms, once a checkpoint has seen it",
    );
    for served in all {
        if let Some(stored) = served.vb.kept_from().1 {
            page.row(name, served, "", served.vb.now().wall.saturating_sub(stored).max(0));
        }
    }
}

fn sizes(page: &mut Page, all: &[&Served]) {
    let name = "rocketmq_message_size";
    page.about(name, "histogram", "Bytes of the messages that came in; of a batch, on average");
    for served in all {
        let sum = served.counts.bytes_in.load(Ordering::Relaxed);
        histogram(page, name, served, &SIZES, (served.counts.sizes.counts(), sum));
    }
}

fn waits(page: &mut Page, all: &[&Served]) {
    let name = "rocketmq_finish_message_latency";
    page.about(name, "histogram", "Seconds from a transactional message to its decision");
    for served in all {
        let sum = served.counts.waited.load(Ordering::Relaxed);
        histogram(page, name, served, &WAITS, (served.counts.waits.counts(), sum));
    }
}

fn histogram(
    page: &mut Page,
    name: &str,
    served: &Served,
    bounds: &[u64; 6],
    (counts, sum): ([u64; 7], u64),
) {
    let mut bounds = bounds.iter().map(|bound| bound as &dyn Display).chain([&"+Inf" as &dyn Display]);
    let mut all = 0;
    for count in counts {
        all += count;
        if let Some(bound) = bounds.next() {
            page.row(&format!("{name}_bucket"), served, &format!(",le=\"{bound}\""), all);
        }
    }
    page.row(&format!("{name}_sum"), served, "", sum);
    page.row(&format!("{name}_count"), served, "", all);
}
