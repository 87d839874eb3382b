//! What clients of a virtual broker were told. Q1: offsets without holes, each given once. Q2: an acknowledged message
//! is delivered, from where it was acknowledged, unless as much as is to be kept was stored behind it. Q3: what was
//! committed, created or decided stays so. Q4: a unit is there whole or not at all. Q5: store times never fall. O1: who
//! has lost a virtual broker closes its doors. O2: who serves it claims it again only while nobody else has owned it since.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use broker::serve::CERTAIN;
use broker::vb::Core;
use bytes::Bytes;
use metadata::Scope;
use tokio::time::Instant;

use super::{Model, Value};
use crate::brokers::consumers::Progress;
use crate::brokers::owner::LOG;
use crate::brokers::requests::{Outgoing, topic_name};
use crate::process::ProcessId;

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub topic: usize,
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
    /// It is of the topic that was asked for.
    pub fits: bool,
}

impl Seen {
    pub fn unreadable() -> Seen {
        let place = Place { topic: usize::MAX, queue: 0, offset: 0, position: 0 };
        Seen { place, id: 0, value: Value::of(b""), store_time: 0, fits: false }
    }
}

type Queue = (usize, u16);

/// For so long an owner that was robbed may be sure that it still owns, and a little longer its answer is on its way.
const STALE: Duration = Duration::from_secs(CERTAIN.as_secs() + 1);

#[derive(Default)]
pub struct Brokers {
    ids: u64,
    /// What was sent, where to, and the end that its queue had then.
    sent: BTreeMap<u64, (Value, Queue, u64)>,
    /// Messages that were sent together.
    units: Vec<Vec<u64>>,
    /// Who is where, as anybody was told; and where each is.
    places: BTreeMap<(Queue, u64), (u64, u64)>,
    seen: BTreeMap<u64, Place>,
    acknowledged: BTreeMap<u64, Place>,
    /// For each queue, one more than the highest offset that anybody was told of.
    ends: BTreeMap<Queue, u64>,
    /// For each queue, the highest offset at which anybody was told that it begins.
    begins: BTreeMap<Queue, u64>,
    times: BTreeMap<u64, i64>,
    /// Topics that messages were acknowledged in, with their numbers once known.
    topics: BTreeMap<usize, Option<u32>>,
    /// What was sent since the last acknowledged one, that included.
    commits: BTreeMap<Progress, Vec<u64>>,
    acknowledged_commits: BTreeSet<Progress>,
    /// What was acknowledged, or not committed at all, until then: an owner that was robbed may still say so for a
    /// moment.
    past: BTreeMap<Progress, Vec<(Instant, Option<u64>)>>,
    /// Half messages, by number, and their offsets among half messages.
    halves: BTreeMap<u64, u64>,
    transactions: BTreeSet<u64>,
    /// Half messages of which somebody tried to decide, and what was confirmed: whether they were committed.
    perhaps_decided: BTreeSet<u64>,
    decided: BTreeMap<u64, bool>,
    newest: (u64, u64),
    /// Whose doors are open, in which epoch.
    serving: BTreeMap<ProcessId, u64>,
    /// In which metadata says that it is owned.
    owned: u64,
}

impl Brokers {
    pub fn closed(&mut self, process: ProcessId) {
        self.serving.remove(&process);
    }

    pub fn next_id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    pub fn sent(&mut self, unit: &Outgoing, half: bool) {
        let (queue, end) = ((unit.topic, unit.queue), self.end(unit.topic, unit.queue));
        for (id, body) in &unit.messages {
            self.sent.insert(*id, (Value::of(body), queue, end));
            if half {
                self.transactions.insert(*id);
            }
        }
        if unit.messages.len() > 1 {
            self.units.push(unit.messages.iter().map(|(id, _)| *id).collect());
        }
    }

    pub fn end(&self, topic: usize, queue: u16) -> u64 {
        self.ends.get(&(topic, queue)).copied().unwrap_or(0)
    }

    pub fn commit_sent(&mut self, at: &Progress, offset: u64) {
        self.commits.entry(at.clone()).or_default().push(offset);
    }

    /// Whatever was sent before it does not count any more: a consumer sends one after the other.
    pub fn commit_acknowledged(&mut self, at: &Progress, offset: u64) {
        let sent = self.commits.entry(at.clone()).or_default();
        let past = self.past.entry(at.clone()).or_default();
        if let Some(found) = sent.iter().rposition(|one| *one == offset) {
            past.extend(sent.drain(..found).map(|offset| (Instant::now(), Some(offset))));
        }
        if self.acknowledged_commits.insert(at.clone()) {
            past.push((Instant::now(), None));
        }
        past.retain(|(until, _)| until.elapsed() < STALE);
    }

    pub fn half_acknowledged(&mut self, id: u64, at: &Place) {
        self.halves.insert(id, at.offset);
        self.topics.entry(at.topic).or_default();
    }

    pub fn perhaps_decided(&mut self, id: u64) {
        self.perhaps_decided.insert(id);
    }

    fn note(&mut self, id: u64, place: Place) -> Option<String> {
        let queue = (place.topic, place.queue);
        let end = self.ends.entry(queue).or_default();
        *end = (*end).max(place.offset + 1);
        let before = *self.places.entry((queue, place.offset)).or_insert((id, place.position));
        (before != (id, place.position))
            .then(|| format!("{place:?} holds message {id}, and held {} at {}", before.0, before.1))
    }

    /// Whether a message may have been given up unseen: its queue begins later than it can be.
    fn may_be_gone(&self, id: &u64) -> bool {
        let at = match (self.acknowledged.get(id), self.sent.get(id)) {
            (Some(place), _) => Some(((place.topic, place.queue), place.offset)),
            (None, sent) => sent.map(|(_, queue, end)| (*queue, *end)),
        };
        at.is_some_and(|(queue, offset)| self.begins.get(&queue).is_some_and(|begins| offset < *begins))
    }

    /// A message that an owner has given up, although it lies among the last bytes, so many, that are kept; or one that
    /// it has not given up, although its link is deleted: the log begins at `first`.
    fn wrongly_given_up(&self, core: &Core, kept: u64, first: u64) -> Option<String> {
        let kept_from = if kept == 0 { 0 } else { core.acknowledged().saturating_sub(kept) };
        self.acknowledged.iter().find_map(|(id, place)| {
            let topic = core.state().topic(&topic_name(place.topic));
            let min = topic.map_or(0, |topic| core.min_offset(topic.id, place.queue));
            let is = |what: String| Some(format!("message {id} at {place:?} is {what}"));
            match place.offset < min {
                true if place.position >= kept_from => {
                    is(format!("given up, but all from {kept_from} on is kept"))
                }
                false if place.position < first => is(format!("not given up, but the log begins at {first}")),
                _ => None,
            }
        })
    }

    /// What an owner that has just taken over does not know, and must.
    fn lacks(&mut self, core: &Core) -> Option<(&'static str, String)> {
        for (topic, number) in &mut self.topics {
            let Some(found) = core.state().topic(&topic_name(*topic)) else {
                return Some(("Q3", format!("topic {topic} is not there")));
            };
            if *number.get_or_insert(found.id.0) != found.id.0 {
                return Some(("Q3", format!("topic {topic} has number {}, and had {number:?}", found.id.0)));
            }
        }
        for ((topic, queue), end) in &self.ends {
            let found = core.state().topic(&topic_name(*topic));
            let max = found.map_or(0, |topic| core.max_offset(topic.id, *queue));
            if max < *end {
                let text = format!("topic {topic} queue {queue} ends at {max}, and had come to {end}");
                return Some(("Q2", text));
            }
        }
        for at in &self.acknowledged_commits {
            let topic = core.state().topic(&topic_name(at.1)).map(|topic| topic.id);
            let found = topic.and_then(|topic| core.state().offsets().get(&at.0, topic, at.2));
            if let Some(wrong) = self.wrong_progress(at, found.map(|offset| offset as u64)) {
                return Some(("Q3", wrong));
            }
        }
        self.wrong_halves(core).map(|text| ("Q3", text))
    }

    fn wrong_progress(&self, at: &Progress, found: Option<u64>) -> Option<String> {
        let possible = self.commits.get(at).map(Vec::as_slice).unwrap_or_default();
        let none_yet = found.is_none() && !self.acknowledged_commits.contains(at);
        let right = none_yet || found.is_some_and(|found| possible.contains(&found));
        (!right).then(|| format!("{at:?} is at {found:?}, and was committed at {possible:?}"))
    }

    fn wrong_halves(&self, core: &Core) -> Option<String> {
        let waits =
            |id: &u64| self.halves.get(id).is_some_and(|offset| core.state().halves().get(*offset).is_some());
        let again = self.decided.keys().find(|id| waits(id));
        let lost = self.halves.keys().find(|id| !self.perhaps_decided.contains(id) && !waits(id));
        again
            .map(|id| format!("half message {id} waits, and was decided"))
            .or_else(|| lost.map(|id| format!("half message {id} does not wait, and nobody decided it")))
    }

    /// What is wrong once everything was read.
    fn wrong_at_the_end(&self) -> Option<(&'static str, String)> {
        let seen = |id: &u64| self.seen.contains_key(id);
        let lost = |id: &u64| !seen(id) && !self.may_be_gone(id);
        if let Some((id, place)) = self.acknowledged.iter().find(|(id, _)| lost(id)) {
            return Some(("Q2", format!("message {id}, acknowledged at {place:?}, is never delivered")));
        }
        let torn = self.units.iter().find(|unit| {
            let there = unit.iter().filter(|id| seen(id)).count();
            there != 0 && there != unit.len() && !unit.iter().any(|id| self.may_be_gone(id))
        });
        if let Some(unit) = torn {
            return Some(("Q4", format!("of the unit {unit:?} only a part is there")));
        }
        let other = self.decided.iter().find(|(id, committed)| match committed {
            true => lost(id),
            false => seen(id),
        });
        if let Some((id, committed)) = other {
            return Some((
                "Q3",
                format!("half message {id}: committed: {committed}, delivered: {}", seen(id)),
            ));
        }
        let early = self.transactions.iter().find(|id| seen(id) && !self.perhaps_decided.contains(id));
        early.map(|id| ("Q3", format!("half message {id} is delivered, and nobody decided it")))
    }
}

impl Model {
    /// An owner serves.
    pub fn broker_opened(&mut self, process: ProcessId, epoch: u64, core: &Core, kept: u64) {
        self.brokers.serving.insert(process, epoch);
        self.count("brokers opened");
        let begins = core.acknowledged();
        self.brokers.newest = self.brokers.newest.max((epoch, begins));
        if self.brokers.newest.0 > epoch {
            // It was slow to open, and has been robbed meanwhile.
            return;
        }
        if let Some((rule, text)) = self.brokers.lacks(core) {
            self.violation(rule, format!("the owner of epoch {epoch}: {text}"));
        }
        let first = self.metadata.log.first().copied().unwrap_or(0);
        if let Some(text) = self.brokers.wrongly_given_up(core, kept, first) {
            self.violation("Q2", format!("the owner of epoch {epoch}: {text}"));
        }
        let newest_time = self.brokers.times.values().next_back().copied();
        if newest_time.is_some_and(|time| core.last_time() < time) {
            let text =
                format!("the owner of epoch {epoch} begins at {}, after {newest_time:?}", core.last_time());
            self.violation("Q5", text);
        }
    }

    /// A key that is no ledger's was changed: an owner's, or a claim, perhaps.
    pub fn ownership_changed(
        &mut self,
        scope: &Scope,
        key: &str,
        value: Option<&Bytes>,
        by: Option<ProcessId>,
    ) {
        let Some(value) = value else { return };
        if key == scope.vb_owner(LOG) {
            match metadata::schema::Owner::decode(LOG, value) {
                Ok(owner) => self.brokers.owned = owner.epoch,
                Err(error) => self.violation("O2", error.to_string()),
            }
        }
        let serves =
            by.filter(|_| scope.claimed_vb(key).is_some()).and_then(|by| self.brokers.serving.get(&by));
        if let Some(epoch) = serves.copied().filter(|epoch| *epoch < self.brokers.owned) {
            let owned = self.brokers.owned;
            self.violation("O2", format!("who serves epoch {epoch} has claimed what epoch {owned} owns"));
        }
    }

    /// A sender was told that its message is stored there.
    pub fn message_acknowledged(&mut self, epoch: u64, id: u64, place: Place) {
        self.count("messages acknowledged");
        self.brokers.topics.entry(place.topic).or_default();
        if let Some(before) = self.brokers.acknowledged.insert(id, place).filter(|before| *before != place) {
            self.violation("Q2", format!("message {id} was acknowledged at {before:?} and at {place:?}"));
        }
        let before = self.brokers.sent.get(&id).map_or(0, |(.., end)| *end);
        if place.offset < before {
            let text =
                format!("message {id} is at {place:?}: its queue had come to {before} before it was sent");
            self.violation("Q2", text);
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

    /// Who asked for an offset of a queue was told that it begins behind that.
    pub fn queue_begins(&mut self, at: &Progress, asked: u64, begins: u64) {
        self.count("pulls from before a queue's beginning");
        if begins <= asked {
            let text = format!("a pull of {at:?} from {asked} is told that its offset moved, to {begins}");
            self.violation("Q1", text);
        }
        let known = self.brokers.begins.entry((at.1, at.2)).or_default();
        *known = begins.max(*known);
    }

    /// A consumer was given a message.
    pub fn message_seen(&mut self, seen: &Seen) {
        self.count("messages consumed");
        let Seen { place, id, value, store_time, fits } = seen;
        if !fits {
            return self.violation("Q2", format!("what is at {place:?} is not of the topic asked for"));
        }
        if self.brokers.sent.get(id).map(|(sent, ..)| sent) != Some(value) {
            self.violation("Q2", format!("{place:?} holds message {id}, which nobody sent so"));
        }
        if let Some(wrong) = self.brokers.note(*id, *place) {
            self.violation("Q1", wrong);
        }
        if let Some(before) = self.brokers.seen.insert(*id, *place).filter(|before| before != place) {
            self.violation("Q1", format!("message {id} is at {before:?} and at {place:?}"));
        }
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

    /// A consumer was told how far its group has come.
    pub fn progress_told(&mut self, at: &Progress, offset: Option<u64>) {
        let past = self.brokers.past.get(at).map(Vec::as_slice).unwrap_or_default();
        if past.iter().any(|(until, past)| *past == offset && until.elapsed() < STALE) {
            return;
        }
        if let Some(wrong) = self.brokers.wrong_progress(at, offset) {
            self.violation("Q3", format!("a consumer was told: {wrong}"));
        }
    }

    /// Somebody was told that his decision holds.
    pub fn half_decided(&mut self, id: u64, committed: bool) {
        self.count("transactions decided");
        if self.brokers.decided.insert(id, committed).is_some_and(|before| before != committed) {
            self.violation("Q3", format!("half message {id} was decided both ways"));
        }
    }

    /// Everything has been read.
    pub fn brokers_end(&mut self) {
        if let Some((rule, text)) = self.brokers.wrong_at_the_end() {
            self.violation(rule, text);
        }
    }
}
