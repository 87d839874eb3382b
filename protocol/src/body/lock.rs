//! Locks on queues: the bodies of 41 and 42, and the answer to 41.

use serde::{Deserialize, Serialize};

/// A queue as clients name it. RocketMQ prints maps by queue with the fields in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Queue {
    pub broker_name: String,
    pub queue_id: i32,
    pub topic: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LockRequest {
    pub consumer_group: String,
    pub client_id: String,
    pub only_this_broker: bool,
    pub mq_set: Vec<Queue>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LockReply {
    #[serde(rename = "lockOKMQSet")]
    pub locked: Vec<Queue>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::json;

    #[test]
    fn a_lock_is_asked_for_and_granted_in_rocketmqs_words() {
        let text = br#"{"clientId":"c","consumerGroup":"g","mqSet":[{"brokerName":"b","queueId":3,"topic":"t"}],"onlyThisBroker":false}"#;
        let read: LockRequest = json::read(text).unwrap();
        assert_eq!((read.mq_set[0].queue_id, &*read.client_id), (3, "c"));
        let reply = json::write(&LockReply { locked: read.mq_set });
        assert_eq!(&reply[..], br#"{"lockOKMQSet":[{"brokerName":"b","queueId":3,"topic":"t"}]}"#);
    }
}
