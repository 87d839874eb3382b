//! What Prometheus is told of the virtual brokers that are served here: RocketMQ's names where it has one for the
//! thing, with a virtual broker as the `node_id`.

mod labelled;

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::sync::atomic::Ordering;

use super::Serving;
use crate::serve::Served;

/// What is read of one virtual broker, in the order of [`NAMES`].
type Values = [u64; NAMES.len()];

/// Name, kind, and what it is.
const NAMES: [(&str, &str, &str); 16] = [
    ("rocketmq_broker_permission", "gauge", "What clients may do here: 4 read, 2 write"),
    ("rocketmq_topic_number", "gauge", "Topics"),
    ("rocketmq_consumer_group_number", "gauge", "Subscription groups"),
    ("rocketmq_producer_connections", "gauge", "Connections of producers"),
    ("rocketmq_consumer_connections", "gauge", "Connections of consumers"),
    ("rocketmq_half_messages", "gauge", "Transactional messages that wait for their decision"),
    ("rocketmq_commit_messages_total", "counter", "Transactions that were committed"),
    ("rocketmq_rollback_messages_total", "counter", "Transactions that were rolled back"),
    ("rocketmq_timing_messages", "gauge", "Messages that wait for the end of their delay"),
    ("rocketmq_storage_size", "gauge", "Bytes of the log from where it is kept on"),
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
    let mut page = Page(String::with_capacity(4096 + 4096 * all.len()));
    for (at, (name, kind, about)) in NAMES.iter().enumerate() {
        page.about(name, kind, about);
        for (served, values) in &all {
            page.row(name, served, "", values.get(at).copied().unwrap_or_default());
        }
    }
    let all: Vec<&Served> = all.into_iter().map(|(served, _)| served).collect();
    labelled::write(&mut page, &all);
    page.about("stratamq_vbs_served", "gauge", "Virtual brokers that this process serves");
    let Page(mut text) = page;
    let _ = writeln!(
        text,
        "stratamq_vbs_served {}\n\
         # HELP stratamq_clock_in_doubt 1: this machine's clock is far off; nothing is trimmed, no timer fires\n\
         # TYPE stratamq_clock_in_doubt gauge\nstratamq_clock_in_doubt {}",
        all.len(),
        u8::from(clock.is_some())
    );
    text
}

/// Text as Prometheus reads it. Writing to a text cannot fail.
struct Page(String);

impl Page {
    fn about(&mut self, name: &str, kind: &str, about: &str) {
        let _ = writeln!(self.0, "# HELP {name} {about}\n# TYPE {name} {kind}");
    }

    /// `labels` are those beside the virtual broker's, each behind a comma.
    fn row(&mut self, name: &str, served: &Served, labels: &str, value: impl Display) {
        let (cluster, node) = (&served.cluster, &served.vb.name);
        let _ = writeln!(
            self.0,
            "{name}{{cluster=\"{cluster}\",node_type=\"broker\",node_id=\"{node}\"{labels}}} {value}"
        );
    }
}

fn read(served: &Served) -> Values {
    let now = served.vb.now();
    let (state, log, certain) = {
        let core = served.vb.core();
        let state = core.state();
        let sizes = (state.topics().len(), state.groups().len(), state.halves().len());
        let delayed: u64 = state.delay_topic().map_or(0, |topic| {
            let levels = 1..=state.topic_of(topic).map_or(0, |topic| topic.queues());
            levels.map(|level| core.max_offset(topic, level - 1).saturating_sub(state.delivered(level))).sum()
        });
        let permission = state.settings().permission;
        let log = (core.unconfirmed(now), core.acknowledged());
        ((sizes, delayed, permission), log, served.certain(&core, now))
    };
    let ((topics, groups, halves), delayed, permission) = state;
    let ((waiting, oldest), end) = log;
    let (producers, consumers) = {
        let members = served.members.lock();
        let producers: usize = members.all_producers().map(|(_, group)| group.len()).sum();
        let consumers: usize = members.all_consumers().map(|(_, group)| group.members.len()).sum();
        (producers, consumers)
    };
    let counts = &served.counts;
    [
        u64::from(permission),
        topics as u64,
        groups as u64,
        producers as u64,
        consumers as u64,
        halves as u64,
        counts.commits.load(Ordering::Relaxed),
        counts.rollbacks.load(Ordering::Relaxed),
        delayed,
        end.saturating_sub(served.vb.kept_from().0),
        waiting as u64,
        end,
        served.vb.epoch(),
        oldest.as_millis() as u64,
        u64::from(certain),
        served.age(now).as_secs(),
    ]
}
