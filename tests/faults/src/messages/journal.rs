//! What producers were told and consumers were given, and what it must come to. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use client::Queue;

use crate::entry::Name;

/// A queue, and an offset in it.
pub type Place = (Queue, i64);

/// What is in a topic's queues, by offset; `None` is a message that no producer of this test sent.
pub type Log = BTreeMap<Queue, Vec<(i64, Option<Name>)>>;

#[derive(Default)]
pub struct Journal {
    /// By producer, in order.
    acknowledged: BTreeMap<u32, Vec<Told>>,
    /// By group, in the order in which they were handed out.
    given: BTreeMap<String, Given>,
    pub refused: u64,
}

struct Told {
    name: Name,
    place: Place,
    at: Duration,
}

#[derive(Default)]
struct Given {
    first: BTreeMap<Place, (Option<Name>, Duration)>,
    /// In queues, the order in which offsets came for the first time.
    order: BTreeMap<Queue, Vec<i64>>,
    again: u64,
}

/// What a run came to, besides having been right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub messages: usize,
    /// Messages that are in the log more than once, because their producer did not hear of the first.
    pub copies: usize,
    /// Messages that were handed out more than once.
    pub again: u64,
}

impl Journal {
    pub fn acknowledged(&mut self, name: Name, place: Place, at: Duration) {
        self.acknowledged.entry(name.writer).or_default().push(Told { name, place, at });
    }

    pub fn given(&mut self, group: &str, place: Place, name: Option<Name>, at: Duration) {
        let given = self.given.entry(group.to_owned()).or_default();
        if given.first.contains_key(&place) {
            given.again += 1;
            return;
        }
        given.order.entry(place.0.clone()).or_default().push(place.1);
        given.first.insert(place, (name, at));
    }

    /// How many messages each producer has had acknowledged.
    pub fn told(&self) -> BTreeMap<u32, usize> {
        self.acknowledged.iter().map(|(producer, told)| (*producer, told.len())).collect()
    }

    /// How many messages each group was given.
    pub fn taken(&self) -> BTreeMap<String, usize> {
        self.given.iter().map(|(group, given)| (group.clone(), given.first.len())).collect()
    }

    /// The longest time for which a producer had nothing acknowledged, since it began, and which.
    pub fn longest_silence(&self, since: Duration, until: Duration) -> (Duration, u32) {
        let silence = |told: &Vec<Told>| {
            let times = told.iter().map(|told| told.at).filter(|at| *at > since).chain([until]);
            let mut before = since;
            times.map(|at| at.saturating_sub(std::mem::replace(&mut before, at))).max().unwrap_or_default()
        };
        let all = self.acknowledged.iter().map(|(producer, told)| (silence(told), *producer));
        all.max().unwrap_or_default()
    }

    /// The longest time from an acknowledgement after `since` until a group was given the message.
    pub fn longest_wait(&self, group: &str, since: Duration) -> Duration {
        let Some(given) = self.given.get(group) else { return Duration::MAX };
        let told = self.acknowledged.values().flatten().filter(|told| told.at > since);
        let waits = told.filter_map(|told| Some(given.first.get(&told.place)?.1.saturating_sub(told.at)));
        waits.max().unwrap_or_default()
    }

    /// Fails unless everything that was acknowledged is where it was said to be and was given to every group, every
    /// queue has its messages in the order of their producers and no holes, and the groups `in_order` saw them so.
    pub fn judge(&self, log: &Log, in_order: &str) -> Result<Tally> {
        let mut tally = self.judge_log(log)?;
        ensure!(!self.given.is_empty(), "no group was given anything");
        for (group, given) in &self.given {
            tally.again += given.again;
            given.judge(log).map_err(|error| error.context(format!("group {group}")))?;
            if group == in_order {
                given.judge_order().map_err(|error| error.context(format!("group {group}")))?;
            }
        }
        Ok(tally)
    }

    fn judge_log(&self, log: &Log) -> Result<Tally> {
        let mut tally = Tally::default();
        let mut names = BTreeSet::new();
        for (queue, messages) in log {
            let (mut last, mut here): (BTreeMap<u32, u64>, _) = (BTreeMap::new(), BTreeSet::new());
            for (expected, (offset, name)) in messages.iter().enumerate() {
                ensure!(*offset == expected as i64, "{queue}: a hole: {offset} follows {expected} messages");
                let Some(name) = name else { bail!("{queue} at {offset}: nobody sent that") };
                tally.messages += 1;
                if !names.insert(*name) {
                    tally.copies += 1;
                }
                if !here.insert(*name) {
                    continue;
                }
                if let Some(before) =
                    last.insert(name.writer, name.number).filter(|before| *before > name.number)
                {
                    bail!(
                        "OUT OF ORDER: {queue} at {offset} has {name:?} after {before} of the same producer"
                    );
                }
            }
        }
        ensure!(!self.acknowledged.is_empty(), "nothing was acknowledged");
        for Told { name, place: (queue, offset), .. } in self.acknowledged.values().flatten() {
            let at = usize::try_from(*offset).ok().and_then(|at| log.get(queue)?.get(at));
            match at {
                None => {
                    bail!("LOST: {name:?} was acknowledged in {queue} at {offset}, where its queue has ended")
                }
                Some((_, Some(found))) if found == name => {}
                Some((_, found)) => {
                    bail!("LOST: {name:?} was acknowledged in {queue} at {offset}, where {found:?} is")
                }
            }
        }
        Ok(tally)
    }
}

impl Given {
    fn judge(&self, log: &Log) -> Result<()> {
        for (queue, messages) in log {
            for (offset, name) in messages {
                match self.first.get(&(queue.clone(), *offset)) {
                    None => bail!("LOST: {name:?}, in {queue} at {offset}, was never handed out"),
                    Some((given, _)) => ensure!(
                        given == name,
                        "{queue} at {offset} is {name:?}, and {given:?} was handed out"
                    ),
                }
            }
        }
        Ok(())
    }

    fn judge_order(&self) -> Result<()> {
        for (queue, offsets) in &self.order {
            if let Some(pair) = offsets.windows(2).find(|pair| pair[0] > pair[1]) {
                bail!("OUT OF ORDER: of {queue} {} came after {}", pair[1], pair[0]);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(id: i32) -> Queue {
        Queue { topic: "t".into(), broker: "b".into(), id }
    }

    fn name(number: u64) -> Name {
        Name { writer: 1, number }
    }

    const AT: Duration = Duration::from_secs(1);

    /// Two messages, told and given; then what `change` makes of it.
    fn judged(change: impl FnOnce(&mut Journal, &mut Log)) -> Result<Tally> {
        let mut journal = Journal::default();
        let mut log = Log::new();
        for (offset, name) in [(0, name(5)), (1, name(6))] {
            journal.acknowledged(name, (queue(0), offset), AT);
            journal.given("g", (queue(0), offset), Some(name), AT);
            log.entry(queue(0)).or_default().push((offset, Some(name)));
        }
        change(&mut journal, &mut log);
        journal.judge(&log, "g")
    }

    fn add(journal: &mut Journal, log: &mut Log, offset: i64, name: Name) {
        log.entry(queue(0)).or_default().push((offset, Some(name)));
        journal.given("g", (queue(0), offset), Some(name), AT);
    }

    #[test]
    fn what_is_right_is_counted() {
        assert_eq!(judged(|_, _| {}).unwrap(), Tally { messages: 2, copies: 0, again: 0 });
        let tally = judged(|journal, log| {
            add(journal, log, 2, name(5));
            journal.given("g", (queue(0), 0), Some(name(5)), AT);
        });
        assert_eq!(tally.unwrap(), Tally { messages: 3, copies: 1, again: 1 });
    }

    #[test]
    fn what_is_lost_moved_or_out_of_order_is_found() {
        let found = |what: &str, change: fn(&mut Journal, &mut Log)| {
            let text = format!("{:#}", judged(change).unwrap_err());
            assert!(text.contains(what), "{text}");
        };
        found("LOST", |journal, _| journal.acknowledged(name(7), (queue(0), 2), AT));
        found("LOST", |journal, _| journal.acknowledged(name(7), (queue(0), 1), AT));
        found("never handed out", |_, log| log.entry(queue(0)).or_default().push((2, Some(name(7)))));
        found("hole", |journal, log| add(journal, log, 3, name(7)));
        found("nobody sent", |_, log| log.entry(queue(0)).or_default().push((2, None)));
        found("OUT OF ORDER", |journal, log| add(journal, log, 2, name(4)));
        found("OUT OF ORDER", |journal, log| {
            add(journal, log, 2, name(7));
            log.entry(queue(1)).or_default().extend([(0, Some(name(8))), (1, Some(name(9)))]);
            journal.given("g", (queue(1), 1), Some(name(9)), AT);
            journal.given("g", (queue(1), 0), Some(name(8)), AT);
        });
    }

    #[test]
    fn the_longest_silence_lasts_until_the_end() {
        let mut journal = Journal::default();
        let at = Duration::from_secs;
        for (number, seconds) in [(0, 1), (1, 2), (2, 5)] {
            journal.acknowledged(name(number), (queue(0), number as i64), at(seconds));
        }
        assert_eq!(journal.longest_silence(at(0), at(6)), (at(3), 1));
        assert_eq!(journal.longest_silence(at(4), at(15)), (at(10), 1));
        journal.given("g", (queue(0), 2), Some(name(2)), at(9));
        assert_eq!((journal.longest_wait("g", at(4)), journal.longest_wait("g", at(5))), (at(4), at(0)));
    }
}
