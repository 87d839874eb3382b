//! What Prometheus is told of the virtual brokers that are served here: RocketMQ's names where it has one for the
//! thing, with a virtual broker as the `node_id`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Serving;
use crate::serve::Served;
use crate::state::TopicId;

/// More lags of one virtual broker are not listed: a scrape must stay small.
const MOST_LAGS: usize = 2_000;

/// What is read of one virtual broker, in the order of [`NAMES`].
type Values = [u64; NAMES.len()];

/// Name, kind, and what it is.
const NAMES: [(&str, &str, &str); 15] = [
    ("rocketmq_messages_in_total", "counter", "Messages that came in since this owner began"),
    ("rocketmq_messages_out_total", "counter", "Messages that were handed out since this owner began"),
    ("rocketmq_throughput_in_total", "counter", "Bytes of messages that came in"),
    ("rocketmq_throughput_out_total", "counter", "Bytes of messages that were handed out"),
    ("rocketmq_topic_number", "gauge", "Topics"),
    ("rocketmq_consumer_group_number", "gauge", "Subscription groups"),
    ("rocketmq_producer_connections", "gauge", "Connections of producers"),
    ("rocketmq_consumer_connections", "gauge", "Connections of consumers"),
    ("rocketmq_half_messages", "gauge", "Transactional messages that wait for their decision"),
    ("rocketmq_storage_flush_behind_bytes", "gauge", "Bytes that are not acknowledged yet"),
    ("stratamq_vb_log_end_bytes", "gauge", "Where its log ends, in bytes since it began"),
    ("stratamq_vb_epoch", "gauge", "How often it has changed hands"),
    ("stratamq_vb_oldest_unacknowledged_ms", "gauge", "For how long the oldest of them waits"),
    ("stratamq_vb_certain", "gauge", "1: it is sure that nobody else owns it"),
    ("stratamq_vb_age_seconds", "gauge", "For how long it has been served here"),
];

/// `clock` says why this machine's clock is in doubt, if it is.
pub fn text(serving: &BTreeMap<u32, Serving>, clock: Option<String>) -> String {
    let all: Vec<(&Served, Values)> = serving.values().map(|one| (&*one.served, read(&one.served))).collect();
    let mut text = String::with_capacity(1024 + 2048 * all.len());
    for (at, (name, kind, about)) in NAMES.iter().enumerate() {
        let _ = writeln!(text, "# HELP {name} {about}\n# TYPE {name} {kind}");
        for (served, values) in &all {
            let (cluster, node) = (&served.cluster, &served.vb.name);
            let value = values.get(at).copied().unwrap_or_default();
            let _ = writeln!(
                text,
                "{name}{{cluster=\"{cluster}\",node_type=\"broker\",node_id=\"{node}\"}} {value}"
            );
        }
    }
    lags(&mut text, &all);
    let _ = writeln!(
        text,
        "# HELP stratamq_vbs_served Virtual brokers that this process serves\n\
         # TYPE stratamq_vbs_served gauge\nstratamq_vbs_served {}\n\
         # HELP stratamq_clock_in_doubt 1: this machine's clock is far off; nothing is trimmed, no timer fires\n\
         # TYPE stratamq_clock_in_doubt gauge\nstratamq_clock_in_doubt {}",
        all.len(),
        u8::from(clock.is_some())
    );
    text
}

fn lags(text: &mut String, all: &[(&Served, Values)]) {
    let name = "rocketmq_consumer_lag_messages";
    let _ = writeln!(text, "# HELP {name} Messages that wait for a group\n# TYPE {name} gauge");
    for (served, _) in all {
        let (cluster, node) = (&served.cluster, &served.vb.name);
        let groups: Vec<Arc<str>> = served.vb.core().state().offsets().groups().cloned().collect();
        let lags =
            groups.iter().flat_map(|group| lag_of(served, group).into_iter().map(move |lag| (group, lag)));
        for (group, (topic, lag)) in lags.take(MOST_LAGS) {
            let _ = writeln!(
                text,
                "{name}{{cluster=\"{cluster}\",node_type=\"broker\",node_id=\"{node}\",\
                 consumer_group=\"{group}\",topic=\"{topic}\"}} {lag}"
            );
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

fn read(served: &Served) -> Values {
    let now = served.vb.now();
    let counts = &served.counts;
    let (topics, groups, halves, waiting, oldest, end, certain) = {
        let core = served.vb.core();
        let state = core.state();
        let (waiting, oldest) = core.unconfirmed(now);
        let sizes = (state.topics().len(), state.groups().len(), state.halves().len());
        (sizes.0, sizes.1, sizes.2, waiting, oldest, core.acknowledged(), served.certain(&core, now))
    };
    let (producers, consumers) = {
        let members = served.members.lock();
        let producers: usize = members.all_producers().map(|(_, group)| group.len()).sum();
        let consumers: usize = members.all_consumers().map(|(_, group)| group.members.len()).sum();
        (producers, consumers)
    };
    [
        counts.messages_in.load(Ordering::Relaxed),
        counts.messages_out.load(Ordering::Relaxed),
        counts.bytes_in.load(Ordering::Relaxed),
        counts.bytes_out.load(Ordering::Relaxed),
        topics as u64,
        groups as u64,
        producers as u64,
        consumers as u64,
        halves as u64,
        waiting as u64,
        end,
        served.vb.epoch(),
        oldest.as_millis() as u64,
        u64::from(certain),
        served.age(now).as_secs(),
    ]
}
