//! Pulls that wait for messages, by queue. An idle one costs its memory and nothing else; it ends at its deadline
//! exactly, with its connection, or with the first message that it wants. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use rustc_hash::FxHashMap;

use crate::members::Channel;
use crate::state::TopicId;

pub type Queue = (TopicId, u16);
/// A waiting pull's name.
pub type Ticket = u64;

#[derive(Debug)]
struct Waiting<T> {
    queue: Queue,
    channel: Channel,
    until: Duration,
    pull: T,
}

#[derive(Debug)]
pub struct Held<T> {
    next: Ticket,
    waiting: FxHashMap<Ticket, Waiting<T>>,
    by_queue: FxHashMap<Queue, BTreeSet<Ticket>>,
    by_channel: FxHashMap<Channel, BTreeSet<Ticket>>,
    by_deadline: BTreeSet<(Duration, Ticket)>,
}

impl<T> Default for Held<T> {
    fn default() -> Held<T> {
        Held {
            next: 0,
            waiting: FxHashMap::default(),
            by_queue: FxHashMap::default(),
            by_channel: FxHashMap::default(),
            by_deadline: BTreeSet::new(),
        }
    }
}

impl<T> Held<T> {
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Holds a pull; says whether its deadline is the next one.
    pub fn hold(&mut self, queue: Queue, channel: Channel, until: Duration, pull: T) -> bool {
        let ticket = self.next;
        self.next += 1;
        self.by_queue.entry(queue).or_default().insert(ticket);
        self.by_channel.entry(channel).or_default().insert(ticket);
        self.by_deadline.insert((until, ticket));
        self.waiting.insert(ticket, Waiting { queue, channel, until, pull });
        self.by_deadline.first() == Some(&(until, ticket))
    }

    pub fn next_deadline(&self) -> Option<Duration> {
        self.by_deadline.first().map(|(until, _)| *until)
    }

    /// Pulls of a queue, oldest first, for which `wants` says yes; the others go on waiting, and `wants` may take a
    /// note in them.
    pub fn arrived(&mut self, queue: Queue, mut wants: impl FnMut(&mut T) -> bool) -> Vec<T> {
        let Some(tickets) = self.by_queue.get(&queue) else { return Vec::new() };
        let mut woken = Vec::new();
        for ticket in tickets {
            if self.waiting.get_mut(ticket).is_some_and(|waiting| wants(&mut waiting.pull)) {
                woken.push(*ticket);
            }
        }
        woken.into_iter().filter_map(|ticket| self.take(ticket)).collect()
    }

    /// Pulls whose time is over.
    pub fn expired(&mut self, now: Duration) -> Vec<T> {
        let mut over = Vec::new();
        while let Some(&(until, ticket)) = self.by_deadline.first()
            && until <= now
        {
            over.extend(self.take(ticket));
        }
        over
    }

    /// Drops what a connection that is gone had asked.
    pub fn gone(&mut self, channel: Channel) {
        for ticket in self.by_channel.remove(&channel).unwrap_or_default() {
            self.take(ticket);
        }
    }

    /// All of them, to be answered now.
    pub fn end(&mut self) -> Vec<T> {
        let mut tickets: Vec<Ticket> = self.waiting.keys().copied().collect();
        tickets.sort_unstable();
        tickets.into_iter().filter_map(|ticket| self.take(ticket)).collect()
    }

    fn take(&mut self, ticket: Ticket) -> Option<T> {
        let waiting = self.waiting.remove(&ticket)?;
        self.by_deadline.remove(&(waiting.until, ticket));
        remove(&mut self.by_queue, waiting.queue, ticket);
        remove(&mut self.by_channel, waiting.channel, ticket);
        Some(waiting.pull)
    }
}

fn remove<K: std::hash::Hash + Eq>(from: &mut FxHashMap<K, BTreeSet<Ticket>>, key: K, ticket: Ticket) {
    if let Some(tickets) = from.get_mut(&key) {
        tickets.remove(&ticket);
        if tickets.is_empty() {
            from.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const Q: Queue = (TopicId(1), 0);
    const R: Queue = (TopicId(1), 1);

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_message_wakes_the_pulls_of_its_queue_that_want_it() {
        let mut held = Held::default();
        for (queue, pull) in [(Q, 1), (Q, 2), (R, 3), (Q, 4)] {
            held.hold(queue, 9, at(15_000), pull);
        }
        assert_eq!(held.arrived(Q, |pull| *pull != 2), [1, 4]);
        assert_eq!(held.arrived(Q, |_| true), [2]);
        assert_eq!(held.arrived(Q, |_| true), [0; 0]);
        assert_eq!(held.len(), 1);
    }

    #[test]
    fn pulls_end_at_their_deadlines_and_not_before() {
        let mut held = Held::default();
        assert!(held.hold(Q, 1, at(20), "late"));
        assert!(held.hold(Q, 1, at(10), "soon"));
        assert!(!held.hold(R, 1, at(10), "too"));
        assert_eq!(held.next_deadline(), Some(at(10)));
        assert_eq!(held.expired(at(9)), [""; 0]);
        assert_eq!(held.expired(at(10)), ["soon", "too"]);
        assert_eq!(held.expired(at(100)), ["late"]);
        assert_eq!(held.next_deadline(), None);
    }

    #[test]
    fn a_connection_takes_its_pulls_along_and_leaves_nothing_behind() {
        let mut held = Held::default();
        held.hold(Q, 1, at(10), 'a');
        held.hold(Q, 2, at(10), 'b');
        held.gone(1);
        held.gone(1);
        assert_eq!(held.end(), ['b']);
        assert!(held.by_queue.is_empty() && held.by_channel.is_empty() && held.by_deadline.is_empty());
    }
}
