//! How far queues and groups have come: the answers to 202, 208, 303, 315, 317 and 321.
//!
//! Maps by queue have the text of a [`Queue`] as their key; [`super::json::write_keyed`] writes them as RocketMQ does.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::heartbeat::Subscription;
use super::json;
use super::lock::Queue;

/// A queue as the key of a map.
pub fn key(broker_name: &str, topic: &str, queue_id: i32) -> String {
    let queue = Queue { broker_name: broker_name.into(), queue_id, topic: topic.into() };
    String::from_utf8_lossy(&json::write(&queue)).into_owned()
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicStats {
    pub offset_table: BTreeMap<String, QueueBounds>,
    pub topic_put_tps: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueBounds {
    pub last_update_timestamp: i64,
    pub max_offset: i64,
    pub min_offset: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumeStats {
    pub consume_tps: f64,
    pub offset_table: BTreeMap<String, Progress>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Progress {
    pub broker_offset: i64,
    pub consumer_offset: i64,
    pub last_timestamp: i64,
    pub pull_offset: i64,
}

impl ConsumeStats {
    pub fn lag(&self) -> i64 {
        self.offset_table.values().map(|queue| (queue.broker_offset - queue.consumer_offset).max(0)).sum()
    }
}

/// The answer to 317: of each group, its progress by topic.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumeStatsList {
    pub broker_addr: String,
    pub consume_stats_list: Vec<BTreeMap<String, Vec<ConsumeStats>>>,
    pub total_diff: i64,
    pub total_inflight_diff: i64,
}

/// The answer to 315.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BrokerStats {
    pub stats_day: Spell,
    pub stats_hour: Spell,
    pub stats_minute: Spell,
}

/// What happened within a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spell {
    pub avgpt: f64,
    pub sum: i64,
    pub tps: f64,
}

/// The answer to 303.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TimeSpans {
    pub consume_time_span_set: Vec<TimeSpan>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TimeSpan {
    #[serde(rename = "consumeTimeStamp")]
    pub consumed: i64,
    #[serde(rename = "delayTime")]
    pub delay: i64,
    #[serde(rename = "maxTimeStamp")]
    pub max: i64,
    #[serde(rename = "messageQueue")]
    pub queue: Queue,
    #[serde(rename = "minTimeStamp")]
    pub min: i64,
}

/// The answer to 321.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueRows {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter_data: Option<String>,
    pub max_queue_index: i64,
    pub min_queue_index: i64,
    pub queue_data: Vec<QueueRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription_data: Option<Subscription>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueRow {
    /// Whether the group of the request gets the message.
    pub eval: bool,
    pub physic_offset: i64,
    pub physic_size: i32,
    pub tags_code: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_by_queue_are_written_as_rocketmq_prints_them() {
        let bounds = QueueBounds { last_update_timestamp: 7, max_offset: 5, min_offset: 1 };
        let stats =
            TopicStats { offset_table: BTreeMap::from([(key("b", "t", 0), bounds)]), topic_put_tps: 0.5 };
        let text = br#"{"offsetTable":{{"brokerName":"b","queueId":0,"topic":"t"}:{"lastUpdateTimestamp":7,"maxOffset":5,"minOffset":1}},"topicPutTps":0.5}"#;
        assert_eq!(&json::write_keyed(&stats)[..], text);
        assert_eq!(json::read::<TopicStats>(text), Ok(stats));
    }
}
