//! How much happens: totals and commits, looked at every ten seconds. Kept for a minute, an hour and a day, each as
//! coarse as it may be.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use protocol::body::stats::{BrokerStats, Spell};

use crate::serve::Served;
use crate::state::{State, TopicId};

/// Seconds.
pub(super) const MINUTE: u32 = 60;
pub(super) const HOUR: u32 = 3_600;
pub(super) const DAY: u32 = 86_400;
const EVERY: Duration = Duration::from_secs(10);
const MILLIS_A_DAY: i64 = 86_400_000;

/// By group and topic: the sum of all committed offsets.
type Committed = BTreeMap<Arc<str>, BTreeMap<TopicId, i64>>;

/// Messages that came in and went out since this owner began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub put: u64,
    pub got: u64,
}

#[derive(Debug, Default)]
pub struct Rates(Mutex<Seen>);

#[derive(Debug)]
struct Seen {
    totals: Ring<Totals>,
    minute: Ring<Committed>,
    hour: Ring<Committed>,
    day: Ring<Committed>,
    /// Of all groups when this owner began; later looks leave out those without members.
    began: Option<Committed>,
    /// The day that it is, since 1970, and the totals when it and the one before it began.
    today: i64,
    this_morning: Totals,
    yesterday_morning: Totals,
}

impl Default for Seen {
    fn default() -> Seen {
        Seen {
            totals: Ring::new(10, 600),
            minute: Ring::new(10, MINUTE),
            hour: Ring::new(600, HOUR),
            day: Ring::new(14_400, DAY),
            began: None,
            today: 0,
            this_morning: Totals::default(),
            yesterday_morning: Totals::default(),
        }
    }
}

/// Looks of the last `span` seconds, at least `every` seconds apart.
#[derive(Debug)]
struct Ring<T> {
    every: Duration,
    most: usize,
    looks: VecDeque<(Duration, T)>,
}

impl<T> Ring<T> {
    fn new(every: u32, span: u32) -> Ring<T> {
        let every_secs = Duration::from_secs(every.into());
        Ring { every: every_secs, most: (span / every) as usize + 1, looks: VecDeque::new() }
    }

    fn note(&mut self, at: Duration, look: impl FnOnce() -> T) {
        if self.looks.back().is_none_or(|(last, _)| at >= *last + self.every) {
            self.looks.push_back((at, look()));
            if self.looks.len() > self.most {
                self.looks.pop_front();
            }
        }
    }

    /// How much `of` grew within the last `seconds`, or for as long as there are looks.
    fn grown(&self, seconds: u32, of: impl Fn(&T) -> i64) -> Spell {
        match self.looks.back() {
            Some((at, last)) => self.grown_to((*at, of(last)), seconds, of),
            None => Spell::default(),
        }
    }

    /// The same, up to what it is at some later time.
    fn grown_to(&self, (at, is): (Duration, i64), seconds: u32, of: impl Fn(&T) -> i64) -> Spell {
        let from = at.saturating_sub(Duration::from_secs(seconds.into()));
        let Some((first_at, first)) = self.looks.iter().find(|(at, _)| *at >= from) else {
            return Spell::default();
        };
        let took = at.saturating_sub(*first_at).as_secs_f64();
        // Offsets that were reset made no progress.
        let sum = (is - of(first)).max(0);
        Spell { avgpt: 0.0, sum, tps: if took > 0.0 { sum as f64 / took } else { 0.0 } }
    }
}

fn sum(topics: &BTreeMap<TopicId, i64>, topic: Option<TopicId>) -> i64 {
    topics.iter().filter(|(id, _)| topic.is_none_or(|topic| topic == **id)).map(|(_, sum)| sum).sum()
}

/// What a group has committed, by topic.
fn committed_by(state: &State, group: &str) -> BTreeMap<TopicId, i64> {
    let mut topics = BTreeMap::new();
    for (topic, _, offset) in state.offsets().of_group(group) {
        *topics.entry(topic).or_insert(0) += offset;
    }
    topics
}

impl Seen {
    /// How far a group had come at a look. Groups without members commit nothing.
    fn was(&self, look: &Committed, group: &str, topic: Option<TopicId>) -> i64 {
        let began = || self.began.as_ref().and_then(|began| began.get(group));
        look.get(group).or_else(began).map_or(0, |topics| sum(topics, topic))
    }
}

impl Rates {
    fn note(&self, at: Duration, wall: i64, totals: Totals, committed: &Committed) {
        let mut seen = self.0.lock();
        if seen.began.is_none() {
            seen.began = Some(committed.clone());
        }
        seen.totals.note(at, || totals);
        seen.minute.note(at, || committed.clone());
        seen.hour.note(at, || committed.clone());
        seen.day.note(at, || committed.clone());
        let today = wall.div_euclid(MILLIS_A_DAY);
        if seen.today != today {
            if seen.today != 0 {
                seen.yesterday_morning = seen.this_morning;
                seen.this_morning = totals;
            }
            seen.today = today;
        }
    }

    /// How fast a group that has committed `is` consumes a topic, or all of its topics.
    fn consumed(
        &self,
        at: Duration,
        is: &BTreeMap<TopicId, i64>,
        group: &str,
        topic: Option<TopicId>,
    ) -> Spell {
        let seen = self.0.lock();
        seen.minute.grown_to((at, sum(is, topic)), MINUTE, |look| seen.was(look, group, topic))
    }

    fn of_group(
        &self,
        at: Duration,
        is: &BTreeMap<TopicId, i64>,
        group: &str,
        topic: TopicId,
    ) -> BrokerStats {
        let seen = self.0.lock();
        let topic = Some(topic);
        let was = |look: &Committed| seen.was(look, group, topic);
        let is = (at, sum(is, topic));
        BrokerStats {
            stats_day: seen.day.grown_to(is, DAY, was),
            stats_hour: seen.hour.grown_to(is, HOUR, was),
            stats_minute: seen.minute.grown_to(is, MINUTE, was),
        }
    }

    /// Messages per second within the last 10, 60 and 600 seconds, in RocketMQ's form.
    pub(super) fn per_second(&self, of: impl Fn(&Totals) -> u64) -> String {
        let seen = self.0.lock();
        let rate = |seconds| seen.totals.grown(seconds, |totals| of(totals) as i64).tps;
        format!("{} {} {}", rate(10), rate(60), rate(600))
    }

    /// Totals when yesterday and today began; counted from this owner's beginning.
    pub(super) fn mornings(&self) -> (Totals, Totals) {
        let seen = self.0.lock();
        (seen.yesterday_morning, seen.this_morning)
    }
}

pub(super) fn totals(served: &Served) -> Totals {
    Totals {
        put: served.counts.messages_in.load(Ordering::Relaxed),
        got: served.counts.messages_out.load(Ordering::Relaxed),
    }
}

/// How fast a group consumes a topic, or all of its topics.
pub(super) fn consumed(served: &Served, group: &str, topic: Option<TopicId>) -> Spell {
    let is = committed_by(served.vb.core().state(), group);
    served.rates.consumed(served.vb.now().at, &is, group, topic)
}

/// How much a group consumed of a topic of late; `None` if it never committed anything in it.
pub(super) fn of_group(served: &Served, group: &str, topic: TopicId) -> Option<BrokerStats> {
    let is = committed_by(served.vb.core().state(), group);
    is.get(&topic)?;
    Some(served.rates.of_group(served.vb.now().at, &is, group, topic))
}

/// Looks for ever.
pub(crate) async fn watch(served: Arc<Served>) {
    let mut groups: Vec<Arc<str>> = served.vb.core().state().offsets().groups().cloned().collect();
    loop {
        let mut committed = Committed::new();
        for group in groups {
            let topics = committed_by(served.vb.core().state(), &group);
            committed.insert(group, topics);
        }
        let now = served.vb.now();
        served.rates.note(now.at, now.wall, totals(&served), &committed);
        tokio::time::sleep(EVERY).await;
        groups = served.members.lock().all_consumers().map(|(group, _)| group.clone()).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_within_a_time_is_what_grew_in_it() {
        let rates = Rates::default();
        let group: Arc<str> = "g".into();
        for look in 0..100u32 {
            let committed =
                Committed::from([(group.clone(), BTreeMap::from([(TopicId(1), i64::from(look) * 50)]))]);
            let totals = Totals { put: u64::from(look) * 1_000, got: 0 };
            rates.note(EVERY * look, i64::from(look) * 10_000, totals, &committed);
        }
        let now = EVERY * 100;
        let is = |sum| BTreeMap::from([(TopicId(1), sum)]);
        assert_eq!(rates.consumed(now, &is(5_000), "g", None), Spell { avgpt: 0.0, sum: 300, tps: 5.0 });
        assert_eq!(rates.consumed(now, &is(5_000), "g", Some(TopicId(2))).sum, 0);
        assert_eq!(rates.per_second(|totals| totals.put), "100 100 100");
        assert_eq!(rates.of_group(now, &is(5_000), "g", TopicId(1)).stats_day.sum, 5_000);
        assert_eq!(rates.of_group(now, &is(7), "h", TopicId(1)).stats_minute.sum, 7, "a group that is new");
        assert_eq!(rates.consumed(now, &is(0), "g", None).sum, 0, "offsets that go back are no consumption");
    }

    #[test]
    fn a_group_begins_where_this_owner_found_it() {
        let rates = Rates::default();
        let found = Committed::from([("g".into(), BTreeMap::from([(TopicId(1), 1_000)]))]);
        rates.note(EVERY, 0, Totals::default(), &found);
        rates.note(EVERY * 2, 0, Totals::default(), &Committed::new());
        let is = BTreeMap::from([(TopicId(1), 1_010)]);
        let stats = rates.of_group(EVERY * 3, &is, "g", TopicId(1));
        assert_eq!((stats.stats_minute.sum, stats.stats_day.sum), (10, 10));
    }

    #[test]
    fn a_new_day_begins_with_what_was_counted_by_then() {
        let rates = Rates::default();
        let note =
            |day: i64, put| rates.note(EVERY, day * MILLIS_A_DAY, Totals { put, got: 0 }, &Committed::new());
        note(20_000, 5);
        note(20_001, 7);
        note(20_002, 11);
        let (yesterday, today) = rates.mornings();
        assert_eq!((yesterday.put, today.put), (7, 11));
    }
}
