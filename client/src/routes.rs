//! Where topics are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::RwLock;
use protocol::body::route::{MASTER, PERM_READ, PERM_WRITE, TopicRoute};

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

    /// Where to send to, and to manage.
    pub fn master(&self, broker: &str) -> Option<&str> {
        self.brokers.get(broker)?.get(&MASTER).map(String::as_str)
    }

    /// The master, or else whoever has a copy.
    pub fn any(&self, broker: &str) -> Option<&str> {
        self.master(broker).or_else(|| self.brokers.get(broker)?.values().next().map(String::as_str))
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

/// Routes that were asked for.
#[derive(Default)]
pub(crate) struct Routes(RwLock<BTreeMap<String, Arc<Route>>>);

impl Routes {
    pub fn get(&self, topic: &str) -> Option<Arc<Route>> {
        self.0.read().get(topic).cloned()
    }

    /// Keeps a route. Whether it says anything new.
    pub fn put(&self, topic: &str, route: Arc<Route>) -> bool {
        let mut routes = self.0.write();
        let before = routes.insert(topic.to_owned(), route.clone());
        before.is_none_or(|before| *before != *route)
    }

    pub fn topics(&self) -> Vec<String> {
        self.0.read().keys().cloned().collect()
    }

    /// The address of a broker's master, by any route.
    pub fn master(&self, broker: &str) -> Option<String> {
        self.0.read().values().find_map(|route| route.master(broker)).map(str::to_owned)
    }

    /// Every address of every broker that is known; only masters if no replica is wanted.
    pub fn addresses(&self, replicas: bool) -> BTreeSet<String> {
        let routes = self.0.read();
        let brokers = routes.values().flat_map(|route| route.brokers.values()).flatten();
        brokers.filter(|(id, _)| replicas || **id == MASTER).map(|(_, address)| address.clone()).collect()
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
        assert_eq!((route.master("b"), route.any("b")), (None, Some("h:2")));
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
