//! Who may read a queue in order: one client of a group at a time, for 60 s after it last asked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::state::TopicId;

/// A holder that is silent for this long has lost its lock.
pub const LIVES: Duration = Duration::from_secs(60);

type Queue = (TopicId, u16);

#[derive(Debug)]
struct Held {
    client: Arc<str>,
    renewed: Duration,
}

#[derive(Debug, Default)]
pub struct Locks {
    groups: BTreeMap<Arc<str>, BTreeMap<Queue, Held>>,
}

/// What asking for locks gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Granted {
    /// Queues that the client holds now.
    pub held: Vec<Queue>,
    /// Those of them that it did not hold before: to be recorded before the client hears of them.
    pub new: Vec<Queue>,
}

impl Locks {
    pub fn lock(&mut self, group: &Arc<str>, client: &Arc<str>, queues: &[Queue], now: Duration) -> Granted {
        let mut granted = Granted::default();
        if queues.is_empty() {
            return granted;
        }
        let held = self.groups.entry(group.clone()).or_default();
        for &queue in queues {
            match held.get_mut(&queue) {
                Some(lock) if lock.client == *client => lock.renewed = now,
                Some(lock) if !expired(lock, now) => continue,
                _ => {
                    held.insert(queue, Held { client: client.clone(), renewed: now });
                    granted.new.push(queue);
                }
            }
            granted.held.push(queue);
        }
        granted
    }

    /// Gives back what the client holds of `queues`; what it does not hold changes nothing.
    pub fn unlock(&mut self, group: &str, client: &str, queues: &[Queue]) -> Vec<Queue> {
        let Some(held) = self.groups.get_mut(group) else { return Vec::new() };
        let mut given = Vec::new();
        for queue in queues {
            if held.get(queue).is_some_and(|lock| &*lock.client == client) {
                held.remove(queue);
                given.push(*queue);
            }
        }
        if held.is_empty() {
            self.groups.remove(group);
        }
        given
    }

    /// Locks that ran out, with their holders.
    pub fn run_out(&self, now: Duration) -> Vec<(Arc<str>, Arc<str>, Queue)> {
        let of_group = |(group, held): (&Arc<str>, &BTreeMap<Queue, Held>)| {
            let over = held.iter().filter(|(_, lock)| expired(lock, now));
            over.map(|(queue, lock)| (group.clone(), lock.client.clone(), *queue)).collect::<Vec<_>>()
        };
        self.groups.iter().flat_map(of_group).collect()
    }

    /// All locks of a group are void.
    pub fn forget(&mut self, group: &str) {
        self.groups.remove(group);
    }

    /// Whether anybody of the group reads in order at present.
    pub fn any(&self, group: &str, now: Duration) -> bool {
        self.groups.get(group).is_some_and(|held| held.values().any(|lock| !expired(lock, now)))
    }
}

fn expired(lock: &Held, now: Duration) -> bool {
    now.saturating_sub(lock.renewed) > LIVES
}

#[cfg(test)]
mod tests {
    use super::*;

    const Q: [Queue; 2] = [(TopicId(1), 0), (TopicId(1), 1)];

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_lock_is_one_clients_until_it_is_given_back_or_not_renewed() {
        let (g, a, b): (Arc<str>, Arc<str>, Arc<str>) = ("g".into(), "a".into(), "b".into());
        let mut locks = Locks::default();
        assert_eq!(locks.lock(&g, &a, &Q, at(0)), Granted { held: Q.into(), new: Q.into() });
        assert_eq!(locks.lock(&g, &b, &Q, at(60)), Granted::default());
        assert_eq!(locks.lock(&g, &a, &Q[..1], at(50)), Granted { held: Q[..1].into(), new: vec![] });
        assert_eq!(locks.lock(&g, &b, &Q, at(61)).new, Q[1..]);
        assert_eq!(locks.unlock("g", "b", &Q), Q[1..], "what another holds stays");
        assert_eq!(locks.unlock("g", "a", &Q), Q[..1]);
        assert!(!locks.any("g", at(62)));
    }

    #[test]
    fn nothing_is_kept_of_locks_that_nobody_holds() {
        let (g, a): (Arc<str>, Arc<str>) = ("g".into(), "a".into());
        let mut locks = Locks::default();
        assert_eq!(locks.lock(&g, &a, &[], at(0)), Granted::default());
        assert!(locks.groups.is_empty());
        locks.lock(&g, &a, &Q, at(0));
        locks.lock(&g, &a, &Q[..1], at(50));
        assert_eq!(locks.run_out(at(60)), []);
        assert_eq!(locks.run_out(at(61)), [(g.clone(), a.clone(), Q[1])]);
        assert_eq!(locks.unlock("g", "a", &Q[1..]), Q[1..]);
        locks.forget("g");
        assert!(locks.groups.is_empty());
    }

    #[test]
    fn groups_do_not_lock_each_other_out() {
        let (g, h, a): (Arc<str>, Arc<str>, Arc<str>) = ("g".into(), "h".into(), "a".into());
        let mut locks = Locks::default();
        locks.lock(&g, &a, &Q, at(0));
        assert_eq!(locks.lock(&h, &a, &Q, at(0)).held, Q);
        assert!(locks.any("g", at(60)) && !locks.any("g", at(61)));
    }
}
