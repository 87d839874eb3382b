//! Where a topic's queues are: the answer to code 105.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A broker with this id takes writes: the only one that ours have.
pub const MASTER: i64 = 0;

/// May be read, may be written to, inherits from TBW102.
pub const PERM_READ: i32 = 4;
pub const PERM_WRITE: i32 = 2;
pub const PERM_INHERIT: i32 = 1;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicRoute {
    pub broker_datas: Vec<BrokerData>,
    /// Present for every reader that expects it; nothing filters by server any more.
    pub filter_server_table: BTreeMap<String, Vec<String>>,
    /// `broker-0:8;broker-1:8`: an ordered topic's queues.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_topic_conf: Option<String>,
    pub queue_datas: Vec<QueueData>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueData {
    pub broker_name: String,
    pub perm: i32,
    pub read_queue_nums: i32,
    pub topic_sys_flag: i32,
    pub write_queue_nums: i32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BrokerData {
    pub broker_addrs: BTreeMap<i64, String>,
    pub broker_name: String,
    pub cluster: String,
    pub enable_acting_master: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone_name: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::super::json;
    use super::*;

    #[test]
    fn a_route_is_written_compact_with_quoted_ids() {
        let route = TopicRoute {
            broker_datas: vec![BrokerData {
                broker_addrs: BTreeMap::from([(MASTER, "10.0.0.1:10911".into())]),
                broker_name: "broker-0".into(),
                cluster: "DefaultCluster".into(),
                ..BrokerData::default()
            }],
            queue_datas: vec![QueueData {
                broker_name: "broker-0".into(),
                perm: PERM_READ | PERM_WRITE,
                read_queue_nums: 8,
                write_queue_nums: 4,
                topic_sys_flag: 0,
            }],
            ..TopicRoute::default()
        };
        let text = json::write(&route);
        assert_eq!(
            text,
            r#"{"brokerDatas":[{"brokerAddrs":{"0":"10.0.0.1:10911"},"brokerName":"broker-0","cluster":"DefaultCluster","enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"broker-0","perm":6,"readQueueNums":8,"topicSysFlag":0,"writeQueueNums":4}]}"#
        );
        assert_eq!(json::read::<TopicRoute>(&text), Ok(route));
    }

    #[test]
    fn a_route_as_apaches_name_server_writes_it_for_old_clients_is_read() {
        let text = br#"{"brokerDatas":[{"brokerAddrs":{0:"1.2.3.4:10911",1:"1.2.3.5:10911"},"brokerName":"b","cluster":"c","enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"b","perm":6,"readQueueNums":8,"topicSysFlag":0,"writeQueueNums":8}]}"#;
        let route: TopicRoute = json::read(text).unwrap();
        assert_eq!(route.broker_datas[0].broker_addrs.get(&1).map(String::as_str), Some("1.2.3.5:10911"));
        assert_eq!(route.order_topic_conf, None);
    }
}
