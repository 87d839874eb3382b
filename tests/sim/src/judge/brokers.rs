//! What clients of a virtual broker were told. Q1: offsets without holes, each given once. Q2: an acknowledged message
//! is delivered, from where it was acknowledged. Q3: what was committed, created or decided stays so. Q4: a unit is
//! there whole or not at all. Q5: store times never fall.

use std::collections::{BTreeMap, BTreeSet};

use broker::state::{Topic, TopicId};
use broker::vb::Core;

use super::{Model, Value};
use crate::brokers::requests::Outgoing;

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub topic: TopicId,
    pub queue: u16,
    pub offset: u64,
    pub position: u64,
}

/// A message that a consumer was given.
#[derive(Clone, Debug)]
pub struct Seen {
    pub place: Place,
    pub id: u64,
    pub value: Value,
    pub store_time: i64,
    /// Its bytes agree with its row.
    pub fits: bool,
}

type Queue = (TopicId, u16);
type Progress = (String, TopicId, u16);

#[derive(Default)]
pub struct Brokers {
    ids: u64,
    sent: BTreeMap<u64, Value>,
    /// Messages that were sent together.
    units: Vec<Vec<u64>>,
    /// Who is where, as anybody was told.
    places: BTreeMap<(Queue, u64), (u64, u64)>,
    seen: BTreeSet<u64>,
    acknowledged: BTreeMap<u64, Place>,
    /// For each queue, one more than the highest offset that anybody was told of.
    ends: BTreeMap<Queue, u64>,
    times: BTreeMap<u64, i64>,
    topics: BTreeMap<String, Topic>,
    /// What was staged since the last acknowledged one, that included.
    commits: BTreeMap<Progress, Vec<(u64, i64)>>,
    acknowledged_commits: BTreeSet<Progress>,
    halves: BTreeSet<u64>,
    /// By half: the real message, if it was committed.
    decided: BTreeMap<u64, Option<u64>>,
    /// Halves of which somebody tried to decide.
    perhaps_decided: BTreeSet<u64>,
    newest: (u64, u64),
}

impl Brokers {
    pub fn next_id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    pub fn sent(&mut self, unit: &[Outgoing]) {
        self.sent.extend(unit.iter().map(|outgoing| (outgoing.id, Value::of(&outgoing.body))));
        if unit.len() > 1 {
            self.units.push(unit.iter().map(|outgoing| outgoing.id).collect());
        }
    }

    pub fn topic_acknowledged(&mut self, topic: Topic) {
        self.topics.insert(topic.name.to_string(), topic);
    }

    /// A commit entered an owner's core.
    pub fn commit_staged(&mut self, at: Progress, epoch: u64, offset: i64) {
        self.commits.entry(at).or_default().push((epoch, offset));
    }

    pub fn commit_acknowledged(&mut self, at: Progress, epoch: u64, offset: i64) {
        let staged = self.commits.entry(at.clone()).or_default();
        // Whatever was staged before it, and by owners before this one, does not count any more.
        if let Some(found) = staged.iter().position(|one| *one == (epoch, offset)) {
            staged.drain(..found);
        }
        staged.retain(|(other, _)| *other >= epoch);
        self.acknowledged_commits.insert(at);
    }

    pub fn half_acknowledged(&mut self, offset: u64) {
        self.halves.insert(offset);
    }

    pub fn perhaps_decided(&mut self, half: u64) {
        self.perhaps_decided.insert(half);
    }

    /// A queue was read from its beginning to here.
    pub fn read_whole(&mut self, topic: TopicId, queue: u16, end: u64) {
        let known = self.ends.entry((topic, queue)).or_default();
        *known = (*known).max(end);
    }

    fn note(&mut self, id: u64, place: Place) -> Option<String> {
        let queue = (place.topic, place.queue);
        let end = self.ends.entry(queue).or_default();
        *end = (*end).max(place.offset + 1);
        let before = *self.places.entry((queue, place.offset)).or_insert((id, place.position));
        (before != (id, place.position))
            .then(|| format!("{place:?} holds message {id}, and held {} at {}", before.0, before.1))
    }

    /// What an owner that has just taken over does not know, and must.
    fn lacks(&self, core: &Core) -> Option<(&'static str, String)> {
        for ((topic, queue), end) in &self.ends {
            let max = core.max_offset(*topic, *queue);
            if max < *end {
                let text = format!("topic {} queue {queue} ends at {max}, and had come to {end}", topic.0);
                return Some(("Q2", text));
            }
        }
        for (name, topic) in &self.topics {
            if core.state().topic(name).map(|found| &**found) != Some(topic) {
                return Some((
                    "Q3",
                    format!("topic {name} is {:?}, and was {topic:?}", core.state().topic(name)),
                ));
            }
        }
        for at in &self.acknowledged_commits {
            let found = core.state().offsets().get(&at.0, at.1, at.2);
            let possible = self.commits.get(at).into_iter().flatten();
            if !possible.clone().any(|(_, offset)| Some(*offset) == found) {
                let possible: Vec<i64> = possible.map(|(_, offset)| *offset).collect();
                return Some(("Q3", format!("{at:?} is at {found:?}, and was committed at {possible:?}")));
            }
        }
        self.wrong_halves(core).map(|text| ("Q3", text))
    }

    fn wrong_halves(&self, core: &Core) -> Option<String> {
        let waits = |half: &u64| core.state().halves().get(*half).is_some();
        let again = self.decided.keys().find(|half| waits(half));
        let lost = self.halves.difference(&self.perhaps_decided).find(|half| !waits(half));
        again
            .map(|half| format!("half message {half} waits, and was decided"))
            .or_else(|| lost.map(|half| format!("half message {half} does not wait, and nobody decided it")))
    }
}

impl Model {
    /// An owner serves.
    pub fn broker_opened(&mut self, epoch: u64, core: &Core) {
        self.count("brokers opened");
        let begins = core.acknowledged();
        self.brokers.newest = self.brokers.newest.max((epoch, begins));
        if let Some((rule, text)) = self.brokers.lacks(core) {
            self.violation(rule, format!("the owner of epoch {epoch}: {text}"));
        }
        let newest_time = self.brokers.times.values().next_back().copied();
        if newest_time.is_some_and(|time| core.last_time() < time) {
            let text =
                format!("the owner of epoch {epoch} begins at {}, after {newest_time:?}", core.last_time());
            self.violation("Q5", text);
        }
    }

    /// A sender was told that its message is stored there.
    pub fn message_acknowledged(&mut self, epoch: u64, id: u64, place: Place) {
        self.count("messages acknowledged");
        if let Some(before) = self.brokers.acknowledged.insert(id, place).filter(|before| *before != place) {
            self.violation("Q2", format!("message {id} was acknowledged at {before:?} and at {place:?}"));
        }
        if let Some(wrong) = self.brokers.note(id, place) {
            self.violation("Q1", wrong);
        }
        let (newest, begins) = self.brokers.newest;
        if epoch < newest && place.position >= begins {
            let text =
                format!("{place:?} was acknowledged by epoch {epoch}, and {newest} owns it from {begins}");
            self.violation("I10", text);
        }
    }

    /// A consumer was given a message.
    pub fn message_seen(&mut self, seen: &Seen) {
        self.count("messages consumed");
        let Seen { place, id, value, store_time, fits } = seen;
        if !fits {
            self.violation("Q2", format!("the bytes at {place:?} are not those of its row"));
        }
        if self.brokers.sent.get(id) != Some(value) {
            self.violation("Q2", format!("{place:?} holds message {id}, which nobody sent so"));
        }
        if let Some(wrong) = self.brokers.note(*id, *place) {
            self.violation("Q1", wrong);
        }
        self.brokers.seen.insert(*id);
        let times = &mut self.brokers.times;
        times.insert(place.position, *store_time);
        let before = times.range(..place.position).next_back().map(|(_, time)| *time);
        let after = times.range(place.position + 1..).next().map(|(_, time)| *time);
        if before.is_some_and(|before| before > *store_time) || after.is_some_and(|after| after < *store_time)
        {
            let text = format!("{place:?} has store time {store_time}, between {before:?} and {after:?}");
            self.violation("Q5", text);
        }
    }

    /// Somebody was told that his decision holds.
    pub fn half_decided(&mut self, half: u64, real: Option<u64>) {
        self.count("transactions decided");
        if let Some(before) = self.brokers.decided.insert(half, real).filter(|before| *before != real) {
            let text = format!("half message {half} was decided twice: {before:?}, then {real:?}");
            self.violation("Q3", text);
        }
    }

    /// Everything has been read.
    pub fn brokers_end(&mut self) {
        let brokers = &self.brokers;
        let lost = brokers.acknowledged.iter().find(|(id, _)| !brokers.seen.contains(id));
        let torn = brokers.units.iter().find(|unit| {
            let there = unit.iter().filter(|id| brokers.seen.contains(id)).count();
            there != 0 && there != unit.len()
        });
        let wrong = lost
            .map(|(id, place)| ("Q2", format!("message {id}, acknowledged at {place:?}, is never delivered")))
            .or_else(|| torn.map(|unit| ("Q4", format!("of the unit {unit:?} only a part is there"))));
        if let Some((rule, text)) = wrong {
            self.violation(rule, text);
        }
    }
}
