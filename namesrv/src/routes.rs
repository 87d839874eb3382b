//! What is answered about topics and brokers, always in the same order: name servers that hold the same say the same.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use protocol::body::cluster::{ClusterInfo, MemberGroup};
use protocol::body::route::{BrokerData, PERM_WRITE, QueueData, TopicRoute};

use crate::registry::{Broker, Queues, Registry};

/// `unit` and `unit subscription` in a topic's flags.
const UNIT: i32 = 1;
const UNIT_SUB: i32 = 2;

/// Lists of topics by their flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Units {
    Unit,
    Subscribed,
    SubscribedOnly,
}

impl Registry {
    /// Where the queues of a topic are, for somebody at `asker`; nothing if nobody has it.
    pub fn route(&self, topic: &str, asker: IpAddr) -> Option<TopicRoute> {
        let mut route = TopicRoute::default();
        for (name, row) in self.topics.get(topic)? {
            let Some(broker) = self.brokers.get(name) else { continue };
            route.queue_datas.push(queue_data(name, broker, row));
            route.broker_datas.push(broker_data(name, broker, asker));
        }
        (!route.queue_datas.is_empty()).then_some(route)
    }

    pub fn cluster_info(&self, asker: IpAddr) -> ClusterInfo {
        let mut info = ClusterInfo::default();
        for (name, broker) in &self.brokers {
            info.broker_addr_table.insert(name.clone(), broker_data(name, broker, asker));
            info.cluster_addr_table.entry(broker.cluster.clone()).or_default().insert(name.clone());
        }
        info
    }

    pub fn member_group(&self, cluster: &str, name: &str, asker: IpAddr) -> MemberGroup {
        let broker_addrs = self.brokers.get(name).map(|broker| addresses(broker, asker)).unwrap_or_default();
        MemberGroup { broker_addrs, broker_name: name.into(), cluster: cluster.into() }
    }

    pub fn all_topics(&self) -> Vec<String> {
        self.topics.keys().cloned().collect()
    }

    pub fn topics_of(&self, cluster: &str) -> Vec<String> {
        let in_cluster =
            |name: &String| self.brokers.get(name).is_some_and(|broker| broker.cluster == cluster);
        self.names(|rows| rows.keys().any(in_cluster))
    }

    pub fn unit_topics(&self, which: Units) -> Vec<String> {
        let fits = |row: &Queues| match which {
            Units::Unit => row.sys_flag & UNIT != 0,
            Units::Subscribed => row.sys_flag & UNIT_SUB != 0,
            Units::SubscribedOnly => row.sys_flag & (UNIT | UNIT_SUB) == UNIT_SUB,
        };
        self.names(|rows| rows.values().next().is_some_and(fits))
    }

    /// Topics that bear the name of a cluster or a broker, and the address of some broker.
    pub fn system_topics(&self, asker: IpAddr) -> (Vec<String>, Option<String>) {
        let clusters: BTreeSet<&String> = self.brokers.values().map(|broker| &broker.cluster).collect();
        let names = clusters.into_iter().chain(self.brokers.keys()).cloned().collect();
        let some = self.brokers.values().find_map(|broker| broker.members.values().next());
        (names, some.map(|member| member.address_for(asker)))
    }

    fn names(&self, fits: impl Fn(&BTreeMap<String, Queues>) -> bool) -> Vec<String> {
        self.topics.iter().filter(|(_, rows)| fits(rows)).map(|(topic, _)| topic.clone()).collect()
    }
}

fn queue_data(name: &str, broker: &Broker, row: &Queues) -> QueueData {
    QueueData {
        broker_name: name.into(),
        perm: if broker.read_only { row.perm & !PERM_WRITE } else { row.perm },
        read_queue_nums: row.read,
        topic_sys_flag: row.sys_flag,
        write_queue_nums: row.write,
    }
}

fn broker_data(name: &str, broker: &Broker, asker: IpAddr) -> BrokerData {
    BrokerData {
        broker_addrs: addresses(broker, asker),
        broker_name: name.into(),
        cluster: broker.cluster.clone(),
        enable_acting_master: broker.acting_master,
        zone_name: broker.zone.clone(),
    }
}

fn addresses(broker: &Broker, asker: IpAddr) -> BTreeMap<i64, String> {
    broker.members.iter().map(|(id, member)| (*id, member.address_for(asker))).collect()
}
