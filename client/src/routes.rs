//! Where topics are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use protocol::body::route::{MASTER, PERM_READ, PERM_WRITE, TopicRoute};

use tokio::time::Instant;

use crate::Queue;

/// A topic's queues, and the brokers that have them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Route {
    pub writable: Vec<Queue>,
    pub readable: Vec<Queue>,
    /// Addresses by broker and id.
    pub brokers: BTreeMap<String, BTreeMap<i64, String>>,
}

impl Route {
    pub fn of(topic: &str, route: &TopicRoute) -> Route {
        let mut brokers = BTreeMap::new();
        for data in &route.broker_datas {
            brokers.insert(data.broker_name.clone(), data.broker_addrs.clone());
        }
        let ordered = route.order_topic_conf.as_deref().filter(|conf| !conf.is_empty());
        let mut all = Route { brokers, ..Route::default() };
        for data in &route.queue_datas {
            let queues = |count: i32| {
                // No broker has more; a number of millions would be nonsense.
                let count = count.clamp(0, 65_536);
                (0..count).map(|id| Queue { topic: topic.to_owned(), broker: data.broker_name.clone(), id })
            };
            if data.perm & PERM_READ != 0 {
                all.readable.extend(queues(data.read_queue_nums));
            }
            let has_master =
                all.brokers.get(&data.broker_name).is_some_and(|addresses| addresses.contains_key(&MASTER));
            if data.perm & PERM_WRITE != 0 && has_master && ordered.is_none() {
                all.writable.extend(queues(data.write_queue_nums));
            }
        }
        if let Some(conf) = ordered {
            all.writable = ordered_queues(topic, conf);
        }
        all.writable.sort();
        all.readable.sort();
        all
    }
}

/// `broker-0:8;broker-1:8`: an ordered topic has exactly these queues.
fn ordered_queues(topic: &str, conf: &str) -> Vec<Queue> {
    let mut queues = Vec::new();
    for part in conf.split(';') {
        let Some((broker, count)) = part.split_once(':') else { continue };
        let count = count.trim().parse().unwrap_or(0).clamp(0, 65_536);
        queues.extend((0..count).map(|id| Queue { topic: topic.to_owned(), broker: broker.to_owned(), id }));
    }
    queues
}

/// Routes that were asked for, and where brokers are.
#[derive(Default)]
pub(crate) struct Routes(RwLock<Known>);

#[derive(Default)]
struct Known {
    topics: BTreeMap<String, Arc<Route>>,
    /// By what was heard last, whatever topic it was about: a broker that has moved has moved for all of them.
    brokers: BTreeMap<String, BTreeMap<i64, String>>,
    /// When a topic's route was asked for, or whether somebody at an address answers.
    asked: BTreeMap<String, Instant>,
    /// Topics whose routes lack a broker that they had, and since when.
    lacking: BTreeMap<String, Instant>,
}

/// A broker that is in no route any more keeps its readers for so long: it is changing hands, mostly, and queues that
/// went from consumer to consumer meanwhile would be consumed twice.
const GRACE: Duration = Duration::from_secs(30);

impl Routes {
    pub fn get(&self, topic: &str) -> Option<Arc<Route>> {
        self.0.read().topics.get(topic).cloned()
    }

    /// Keeps a route. Whether it says anything new.
    pub fn put(&self, topic: &str, route: Route, now: Instant) -> bool {
        self.learn(&route);
        let mut known = self.0.write();
        let route = Arc::new(known.with_absent(topic, route, now));
        let before = known.topics.insert(topic.to_owned(), route.clone());
        before.is_none_or(|before| *before != *route)
    }

    /// Whether brokers are missing that may be back soon.
    pub fn are_lacking(&self) -> bool {
        !self.0.read().lacking.is_empty()
    }

    /// Takes in only where brokers are.
    pub fn learn(&self, route: &Route) {
        let mut known = self.0.write();
        for (broker, addresses) in &route.brokers {
            if known.brokers.get(broker) != Some(addresses) {
                known.brokers.insert(broker.clone(), addresses.clone());
            }
        }
    }

    pub fn topics(&self) -> Vec<String> {
        self.0.read().topics.keys().cloned().collect()
    }

    /// Whether nobody has asked about a topic or an address in the last `while_ago`: then it counts as asked now.
    pub fn may_ask(&self, what: &str, now: Instant, while_ago: Duration) -> bool {
        let mut known = self.0.write();
        if known.asked.get(what).is_some_and(|asked| now.saturating_duration_since(*asked) < while_ago) {
            return false;
        }
        known.asked.insert(what.to_owned(), now);
        true
    }

    /// The address of a broker's master: where to send to, and to manage.
    pub fn master(&self, broker: &str) -> Option<String> {
        self.0.read().brokers.get(broker)?.get(&MASTER).cloned()
    }

    /// The master, or else whoever has a copy.
    pub fn any(&self, broker: &str) -> Option<String> {
        let known = self.0.read();
        let addresses = known.brokers.get(broker)?;
        addresses.get(&MASTER).or_else(|| addresses.values().next()).cloned()
    }

    /// Every address of every broker that has a topic; only masters if no replica is wanted.
    pub fn addresses(&self, replicas: bool) -> BTreeSet<String> {
        let known = self.0.read();
        let names: BTreeSet<&String> = known.topics.values().flat_map(|route| route.brokers.keys()).collect();
        let brokers = names.into_iter().filter_map(|name| known.brokers.get(name)).flatten();
        brokers.filter(|(id, _)| replicas || **id == MASTER).map(|(_, address)| address.clone()).collect()
    }
}

impl Known {
    /// The route, with readers of brokers that it had and lacks for less than the grace.
    fn with_absent(&mut self, topic: &str, mut route: Route, now: Instant) -> Route {
        let before = self.topics.get(topic).cloned().unwrap_or_default();
        let absent: BTreeMap<_, _> =
            before.brokers.iter().filter(|(name, _)| !route.brokers.contains_key(*name)).collect();
        if absent.is_empty() {
            self.lacking.remove(topic);
            return route;
        }
        let since = *self.lacking.entry(topic.to_owned()).or_insert(now);
        if now.saturating_duration_since(since) >= GRACE {
            self.lacking.remove(topic);
            return route;
        }
        route
            .readable
            .extend(before.readable.iter().filter(|queue| absent.contains_key(&queue.broker)).cloned());
        route.readable.sort();
        route.brokers.extend(absent.into_iter().map(|(name, addresses)| (name.clone(), addresses.clone())));
        route
    }
}

#[cfg(test)]
mod tests {
    use protocol::body::route::{BrokerData, QueueData};

    use super::*;

    fn broker(name: &str, id: i64, address: &str) -> BrokerData {
        BrokerData {
            broker_name: name.into(),
            broker_addrs: BTreeMap::from([(id, address.into())]),
            ..BrokerData::default()
        }
    }

    fn queues(broker: &str, read: i32, write: i32, perm: i32) -> QueueData {
        QueueData {
            broker_name: broker.into(),
            perm,
            read_queue_nums: read,
            write_queue_nums: write,
            topic_sys_flag: 0,
        }
    }

    #[test]
    fn queues_are_counted_by_permission_and_writes_need_a_master() {
        let route = TopicRoute {
            broker_datas: vec![broker("a", 0, "h:1"), broker("b", 1, "h:2"), broker("c", 0, "h:3")],
            queue_datas: vec![queues("b", 2, 2, 6), queues("a", 3, 2, 6), queues("c", 1, 1, 4)],
            ..TopicRoute::default()
        };
        let route = Route::of("t", &route);
        let names =
            |queues: &[Queue]| queues.iter().map(|q| format!("{}{}", q.broker, q.id)).collect::<Vec<_>>();
        assert_eq!(names(&route.writable), ["a0", "a1"]);
        assert_eq!(names(&route.readable), ["a0", "a1", "a2", "b0", "b1", "c0"]);
        let routes = Routes::default();
        assert!(routes.put("t", route, Instant::now()));
        assert_eq!((routes.master("b"), routes.any("b").as_deref()), (None, Some("h:2")));
    }

    #[test]
    fn a_broker_that_moved_has_moved_for_all_topics() {
        let at = |address| {
            let data = vec![broker("a", 0, address)];
            let route = TopicRoute {
                broker_datas: data,
                queue_datas: vec![queues("a", 1, 1, 6)],
                ..TopicRoute::default()
            };
            Route::of("t", &route)
        };
        let (routes, now) = (Routes::default(), Instant::now());
        assert!(routes.put("%RETRY%g", at("h:1"), now) && routes.put("t", at("h:1"), now));
        assert!(!routes.put("t", at("h:1"), now));
        assert!(routes.put("t", at("h:2"), now));
        assert_eq!(routes.master("a").as_deref(), Some("h:2"));
        assert_eq!(routes.addresses(true), BTreeSet::from(["h:2".to_owned()]));
    }

    #[test]
    fn a_broker_that_changes_hands_keeps_its_readers_for_a_while() {
        let of = |brokers: &[&str]| {
            let data = brokers.iter().map(|name| broker(name, 0, "h:1")).collect();
            let queue_datas = brokers.iter().map(|name| queues(name, 1, 1, 6)).collect();
            Route::of("t", &TopicRoute { broker_datas: data, queue_datas, ..TopicRoute::default() })
        };
        let (routes, now) = (Routes::default(), Instant::now());
        let sizes = || routes.get("t").map(|route| (route.readable.len(), route.writable.len()));
        routes.put("t", of(&["a", "b"]), now);
        assert!(routes.put("t", of(&["b"]), now) && routes.are_lacking());
        assert_eq!(sizes(), Some((2, 1)));
        assert!(routes.put("t", of(&["a", "b"]), now + GRACE / 2) && !routes.are_lacking());
        routes.put("t", of(&["b"]), now + GRACE);
        assert!(routes.put("t", of(&["b"]), now + GRACE * 2));
        assert_eq!((sizes(), routes.are_lacking()), (Some((1, 1)), false));
    }

    #[test]
    fn a_route_is_asked_for_once_in_a_while() {
        let (routes, now, long) = (Routes::default(), Instant::now(), Duration::from_secs(1));
        assert!(routes.may_ask("t", now, long) && routes.may_ask("u", now, long));
        assert!(!routes.may_ask("t", now + long / 2, long));
        assert!(routes.may_ask("t", now + long, long));
    }

    #[test]
    fn an_ordered_topic_is_written_to_as_its_order_says() {
        let route = TopicRoute {
            broker_datas: vec![broker("a", 0, "h:1")],
            queue_datas: vec![queues("a", 8, 8, 6)],
            order_topic_conf: Some("a:2;b:1;x".into()),
            ..TopicRoute::default()
        };
        assert_eq!(Route::of("t", &route).writable.len(), 3);
    }

    #[test]
    fn absurd_counts_are_cut() {
        let route = TopicRoute { queue_datas: vec![queues("a", i32::MAX, -1, 6)], ..TopicRoute::default() };
        assert_eq!(Route::of("t", &route).readable.len(), 65_536);
    }
}
