//! Subscription groups: what 200 and 225 bring, and 201 and 352 answer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::heartbeat::or_nothing;
use super::topic::DataVersion;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupConfig {
    #[serde(deserialize_with = "or_nothing")]
    pub attributes: BTreeMap<String, String>,
    pub broker_id: i64,
    pub consume_broadcast_enable: bool,
    pub consume_enable: bool,
    pub consume_from_min_enable: bool,
    pub consume_message_orderly: bool,
    pub consume_timeout_minute: i32,
    #[serde(deserialize_with = "or_nothing")]
    pub group_name: String,
    /// Kept as it comes.
    pub group_retry_policy: Value,
    pub group_sys_flag: i32,
    pub notify_consumer_ids_changed_enable: bool,
    pub retry_max_times: i32,
    pub retry_queue_nums: i32,
    /// Kept as it comes.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub subscription_data_set: Value,
    pub which_broker_when_consume_slowly: i64,
}

impl Default for GroupConfig {
    fn default() -> GroupConfig {
        GroupConfig {
            attributes: BTreeMap::new(),
            broker_id: 0,
            consume_broadcast_enable: true,
            consume_enable: true,
            consume_from_min_enable: true,
            consume_message_orderly: false,
            consume_timeout_minute: 15,
            group_name: String::new(),
            group_retry_policy: serde_json::json!({ "type": "CUSTOMIZED" }),
            group_sys_flag: 0,
            notify_consumer_ids_changed_enable: true,
            retry_max_times: 16,
            retry_queue_nums: 1,
            subscription_data_set: Value::Null,
            which_broker_when_consume_slowly: 1,
        }
    }
}

/// The body of 225.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupConfigs {
    pub group_config_list: Vec<GroupConfig>,
}

/// All groups of a broker: the answer to 201.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupTable {
    pub data_version: DataVersion,
    pub forbidden_table: BTreeMap<String, BTreeMap<String, i32>>,
    pub subscription_group_table: BTreeMap<String, GroupConfig>,
}

/// Names of groups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupList {
    pub group_list: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::json;

    #[test]
    fn a_group_is_read_as_mqadmin_writes_it() {
        let text = br#"{"attributes":{},"brokerId":0,"consumeBroadcastEnable":false,"consumeEnable":true,"consumeFromMinEnable":true,"consumeMessageOrderly":false,"consumeTimeoutMinute":15,"groupName":"g","groupRetryPolicy":{"type":"CUSTOMIZED"},"groupSysFlag":0,"notifyConsumerIdsChangedEnable":true,"retryMaxTimes":16,"retryQueueNums":1,"whichBrokerWhenConsumeSlowly":1}"#;
        let read: GroupConfig = json::read(text).unwrap();
        assert_eq!((&*read.group_name, read.consume_broadcast_enable), ("g", false));
        assert_eq!(&json::write(&read)[..], text);
        let old: GroupConfig = json::read(br#"{"groupName":"g","retryMaxTimes":3}"#).unwrap();
        assert_eq!((old.retry_max_times, old.consume_enable), (3, true));
    }
}
