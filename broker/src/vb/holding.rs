//! What of the log is still needed, and by whom: rows that checkpoints have, added up by link.

use std::collections::BTreeMap;

use ledger::log::Link;
use rustc_hash::FxHashMap;
use tokio::time::Instant;

use super::Vb;
use crate::checkpoint::block::{Group, queue_of};
use crate::checkpoint::run::Cursor;
use crate::error::Error;
use crate::index::queue::Queue;
use crate::state::{State, TopicId};

/// Rows that are looked at. Of more, some blocks stand for all, evenly spread.
const MOST_ROWS: u64 = 512 << 10;
/// Blocks of merged runs may be given up while they are looked at: then it begins again.
const TRIES: u32 = 3;

/// Who needs bytes of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// A topic, until its retention is over.
    Topic(TopicId),
    /// Delayed messages that are not due.
    Delays,
    /// Half messages without a decision.
    Halves,
    /// The next owner, who reads again what no checkpoint has.
    Recovery,
}

/// A link, and how much of it is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldLink {
    pub link: Link,
    /// Where it ends at present.
    pub end: u64,
    pub by: BTreeMap<Holder, u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    pub links: Vec<HeldLink>,
    /// One in so many blocks of the index was looked at.
    pub one_in: u64,
}

/// What a queue needs: messages from `min` on, and from an offset on because they wait.
#[derive(Clone, Copy)]
struct Needs {
    min: u64,
    waiting: Option<(Holder, u64)>,
}

impl Needs {
    fn of(queue: &Queue, state: &State) -> Needs {
        let holder = match state.delay_topic() == Some(queue.topic) {
            true => Holder::Delays,
            false => Holder::Halves,
        };
        let waiting = state.needed_from(queue.topic, queue.queue).map(|from| (holder, from));
        Needs { min: queue.min(), waiting }
    }
}

/// Adds rows up.
struct Tally {
    links: Vec<HeldLink>,
    needs: FxHashMap<u64, Needs>,
}

impl Tally {
    /// Links of a log that ends at `end`, of which checkpoints have everything before `covered`.
    fn new(links: Vec<Link>, covered: u64, end: u64, needs: FxHashMap<u64, Needs>) -> Tally {
        let held = |link: Link| {
            let end = link.end.map_or(end.max(link.base.0), |end| end.0);
            let uncovered = end.saturating_sub(covered.max(link.base.0));
            let by = (uncovered > 0).then_some((Holder::Recovery, uncovered)).into_iter().collect();
            HeldLink { link, end, by }
        };
        Tally { links: links.into_iter().map(held).collect(), needs }
    }

    /// Counts each of these rows so many times.
    fn add(&mut self, group: &Group, times: u64) {
        let Some(&Needs { min, waiting }) = self.needs.get(&group.queue) else { return };
        let topic = Holder::Topic(queue_of(group.queue).0);
        for row in group.rows_from(min) {
            let at = self.links.partition_point(|held| held.link.base.0 <= row.position);
            let Some(held) = at.checked_sub(1).and_then(|at| self.links.get_mut(at)) else { continue };
            let holder = waiting.filter(|(_, from)| row.offset >= *from).map_or(topic, |(holder, _)| holder);
            *held.by.entry(holder).or_default() += u64::from(row.len) * times;
        }
    }
}

impl Vb {
    /// What of each link is needed, and by whom. Looks at a bounded number of rows, below the core's lock.
    pub async fn holding(&self) -> Result<Holding, Error> {
        for _ in 1..TRIES {
            match self.tally().await {
                Err(Error::Log(ledger::Error::Trimmed { .. })) => {}
                told => return told,
            }
        }
        self.tally().await
    }

    async fn tally(&self) -> Result<Holding, Error> {
        let _alone = self.looking.lock().await;
        let (manifest, links) = (self.cold().manifest(), self.log.links().await?);
        let end = self.core().acknowledged();
        let mut tally = Tally::new(links, manifest.covered, end, self.by_queue(Needs::of));
        let rows: u64 = manifest.rows.iter().map(|run| run.rows).sum();
        let one_in = rows.div_ceil(MOST_ROWS).max(1);
        let store = &self.cold().store;
        let (mut leaves, mut since) = (0, Instant::now());
        for run in &manifest.rows {
            let Some(mut cursor) = Cursor::first(store, run).await? else { continue };
            loop {
                if leaves % one_in == 0 {
                    cursor.rows_once().await?.groups.iter().for_each(|group| tally.add(group, one_in));
                    since = store.pace.rest(since).await;
                }
                leaves += 1;
                if !cursor.advance().await? {
                    break;
                }
            }
        }
        Ok(Holding { links: tally.links, one_in })
    }
}

#[cfg(test)]
mod tests {
    use ledger::log::{Epoch, Position};
    use protocol::LedgerId;

    use super::*;
    use crate::checkpoint::block::queue_key;
    use crate::index::queue::HotRow;

    const ORDERS: TopicId = TopicId(1);
    const DELAY: TopicId = TopicId(2);

    fn link(base: u64, end: Option<u64>) -> Link {
        let (end, ledger) = (end.map(Position), LedgerId(base as i64));
        Link { base: Position(base), end, ledger, epoch: Epoch(1), sparse: None }
    }

    /// Rows of 10 bytes from an offset on.
    fn group(topic: TopicId, first: u64, positions: &[u64]) -> Group {
        let row = |&position| HotRow { position, tag: 0, store_time: 0, len: 10, crc: 1 };
        Group { queue: queue_key(topic, 0), first, rows: positions.iter().map(row).collect() }
    }

    fn tally() -> Tally {
        let links = vec![link(100, Some(200)), link(200, Some(300)), link(300, None)];
        let delays = Some((Holder::Delays, 7));
        let needs = [(ORDERS, Needs { min: 2, waiting: None }), (DELAY, Needs { min: 5, waiting: delays })];
        let needs = needs.map(|(topic, needs)| (queue_key(topic, 0), needs));
        Tally::new(links, 250, 340, needs.into_iter().collect())
    }

    #[test]
    fn what_no_checkpoint_has_is_needed_whole_and_nothing_else_by_itself() {
        let by = tally().links.into_iter().map(|held| held.by.into_iter().collect::<Vec<_>>());
        let recovery = |bytes| vec![(Holder::Recovery, bytes)];
        assert_eq!(by.collect::<Vec<_>>(), [vec![], recovery(50), recovery(40)]);
    }

    #[test]
    fn rows_count_for_their_topic_unless_they_are_given_up_or_wait() {
        let mut tally = tally();
        tally.add(&group(ORDERS, 0, &[100, 110, 120, 199, 200]), 1);
        tally.add(&group(DELAY, 4, &[130, 140, 150, 160, 210]), 3);
        tally.add(&group(TopicId(9), 0, &[170]), 1);
        tally.add(&group(ORDERS, 9, &[0]), 1);
        let first = [(Holder::Topic(ORDERS), 20), (Holder::Topic(DELAY), 60), (Holder::Delays, 30)];
        assert_eq!(tally.links[0].by, first.into_iter().collect());
        let second = [(Holder::Topic(ORDERS), 10), (Holder::Delays, 30), (Holder::Recovery, 50)];
        assert_eq!(tally.links[1].by, second.into_iter().collect());
    }
}
