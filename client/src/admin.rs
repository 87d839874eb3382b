//! Administration: topics, groups, offsets, and where messages are.

use std::collections::{BTreeMap, BTreeSet};

use protocol::body::cluster::ClusterInfo;
use protocol::body::log::LogLinks;
use protocol::body::route::{BrokerData, PERM_READ, PERM_WRITE, TopicRoute};
use protocol::body::topic::{KvTable, TopicList};
use protocol::body::{json, lock};
use protocol::message::{Message as Stored, OffsetId, properties};
use protocol::remoting::Command;
use protocol::remoting::code::{request, response};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::{Client, Error, Outcome, Queue, Received};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicSettings {
    /// On each broker.
    pub read_queues: i32,
    pub write_queues: i32,
    /// 4: may be read, 2: may be written to.
    pub perm: i32,
    /// When senders are answered; without it what the topic has, or else what brokers are configured to do. Apache's
    /// brokers do not take it.
    pub durability: Option<Durability>,
}

impl Default for TopicSettings {
    fn default() -> TopicSettings {
        TopicSettings { read_queues: 8, write_queues: 8, perm: PERM_READ | PERM_WRITE, durability: None }
    }
}

impl TopicSettings {
    fn asked_for(&self, topic: &str) -> Command {
        let mut request = Command::request(request::UPDATE_AND_CREATE_TOPIC)
            .with("topic", topic)
            .with("defaultTopic", "TBW102")
            .with("readQueueNums", self.read_queues)
            .with("writeQueueNums", self.write_queues)
            .with("perm", self.perm)
            .with("topicFilterType", "SINGLE_TAG")
            .with("topicSysFlag", 0)
            .with("order", false);
        let durability = self.durability.map(|durability| match durability {
            Durability::Sync => "+durability=sync",
            Durability::Async => "+durability=async",
        });
        request.fields.push_some("attributes", durability);
        request
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// When enough bookies have the message on disk.
    Sync,
    /// When it is on its way there: it is lost if its broker dies in that moment.
    Async,
}

/// How far a queue goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Extent {
    pub min_offset: i64,
    /// One more than the newest.
    pub max_offset: i64,
    /// ms since 1970; 0 if there was never a message.
    pub last_update_timestamp: i64,
}

/// How far a group is in a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Place {
    /// One more than the queue's newest.
    pub broker_offset: i64,
    pub consumer_offset: i64,
    /// When the last message was stored that the group has consumed, in ms since 1970.
    pub last_timestamp: i64,
}

impl Place {
    /// Messages that wait for the group.
    pub fn lag(&self) -> i64 {
        (self.broker_offset - self.consumer_offset).max(0)
    }
}

/// One member of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Member {
    pub client_id: String,
    pub client_addr: String,
    pub language: String,
    pub version: i32,
}

/// ```no_run
/// # async fn run(client: client::Client) -> client::Outcome {
/// use client::TopicSettings;
/// let admin = client.admin();
/// admin.create_topic("orders", &TopicSettings::default()).await?;
/// for (queue, extent) in admin.extents("orders").await? {
///     println!("{queue}: {} to {}", extent.min_offset, extent.max_offset);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Admin {
    client: Client,
}

/// A table by queue, as RocketMQ prints it: objects as keys.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ByQueue<T> {
    #[serde(default = "BTreeMap::new")]
    offset_table: BTreeMap<String, T>,
}

impl<T: DeserializeOwned> ByQueue<T> {
    fn read(body: &[u8]) -> Outcome<BTreeMap<Queue, T>> {
        let table: ByQueue<T> = json::read(body)?;
        let mut all = BTreeMap::new();
        for (key, value) in table.offset_table {
            let queue: lock::Queue = json::read(key.as_bytes())?;
            let queue = Queue { topic: queue.topic, broker: queue.broker_name, id: queue.queue_id };
            all.insert(queue, value);
        }
        Ok(all)
    }
}

impl Admin {
    pub(crate) fn new(client: Client) -> Admin {
        Admin { client }
    }

    /// All brokers, by cluster.
    pub async fn cluster(&self) -> Outcome<ClusterInfo> {
        let reply = self.ask_names(Command::request(request::GET_BROKER_CLUSTER_INFO)).await?;
        Ok(json::read(&reply.body)?)
    }

    /// Addresses of all masters, by name of the broker.
    pub async fn masters(&self) -> Outcome<BTreeMap<String, String>> {
        Ok(masters_among(self.cluster().await?.broker_addr_table.into_values()))
    }

    pub async fn topics(&self) -> Outcome<Vec<String>> {
        let reply = self.ask_names(Command::request(request::GET_ALL_TOPIC_LIST_FROM_NAMESERVER)).await?;
        let mut topics = json::read::<TopicList>(&reply.body)?.topic_list;
        topics.sort();
        Ok(topics)
    }

    pub async fn route(&self, topic: &str) -> Outcome<TopicRoute> {
        self.client.shared.fetch_route(topic).await
    }

    /// Makes a topic, or changes it, on every broker.
    pub async fn create_topic(&self, topic: &str, settings: &TopicSettings) -> Outcome {
        for address in self.masters().await?.values() {
            self.create_topic_at(address, topic, settings).await?;
        }
        Ok(())
    }

    pub async fn create_topic_at(&self, address: &str, topic: &str, settings: &TopicSettings) -> Outcome {
        self.client.shared.ask(address, settings.asked_for(topic)).await.map(|_| ())
    }

    /// Deletes a topic and its messages from every broker.
    pub async fn delete_topic(&self, topic: &str) -> Outcome {
        for address in self.masters().await?.values() {
            let request = Command::request(request::DELETE_TOPIC_IN_BROKER).with("topic", topic);
            self.client.shared.ask(address, request).await?;
        }
        for address in self.client.shared.name_servers() {
            let request = Command::request(request::DELETE_TOPIC_IN_NAMESRV).with("topic", topic);
            self.client.shared.ask(address, request).await?;
        }
        Ok(())
    }

    /// How far each queue of a topic goes.
    pub async fn extents(&self, topic: &str) -> Outcome<BTreeMap<Queue, Extent>> {
        let mut all = BTreeMap::new();
        for address in self.masters_of(topic).await?.into_values() {
            let request = Command::request(request::GET_TOPIC_STATS_INFO).with("topic", topic);
            let reply = self.client.shared.ask(&address, request).await?;
            all.extend(ByQueue::<Extent>::read(&reply.body)?);
        }
        Ok(all)
    }

    /// How far a group is, in one topic or in all that it consumes.
    pub async fn places(&self, group: &str, topic: Option<&str>) -> Outcome<BTreeMap<Queue, Place>> {
        let mut all = BTreeMap::new();
        for address in self.masters().await?.values() {
            let mut request = Command::request(request::GET_CONSUME_STATS).with("consumerGroup", group);
            request.fields.push_some("topic", topic);
            let reply = self.client.shared.ask(address, request).await?;
            all.extend(ByQueue::<Place>::read(&reply.body)?);
        }
        Ok(all)
    }

    /// Who consumes as this group. Empty if nobody is online.
    pub async fn members(&self, group: &str) -> Outcome<Vec<Member>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Connections {
            connection_set: Vec<Member>,
        }
        let mut all: BTreeMap<String, Member> = BTreeMap::new();
        for address in self.masters().await?.values() {
            let request =
                Command::request(request::GET_CONSUMER_CONNECTION_LIST).with("consumerGroup", group);
            match self.client.shared.ask(address, request).await {
                Ok(reply) => {
                    let members = json::read::<Connections>(&reply.body)?.connection_set.into_iter();
                    all.extend(members.map(|member| (member.client_id.clone(), member)));
                }
                Err(error) if error.code() == Some(response::CONSUMER_NOT_ONLINE) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(all.into_values().collect())
    }

    /// Groups that consume a topic.
    pub async fn groups(&self, topic: &str) -> Outcome<Vec<String>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Groups {
            group_list: BTreeSet<String>,
        }
        let mut all = BTreeSet::new();
        for address in self.masters_of(topic).await?.into_values() {
            let request = Command::request(request::QUERY_TOPIC_CONSUME_BY_WHO).with("topic", topic);
            let reply = self.client.shared.ask(&address, request).await?;
            all.extend(json::read::<Groups>(&reply.body)?.group_list);
        }
        Ok(all.into_iter().collect())
    }

    /// Makes a group, or changes it, on every broker: a body as RocketMQ's SubscriptionGroupConfig.
    pub async fn create_group(&self, group: &str) -> Outcome {
        let body = serde_json::json!({
            "groupName": group,
            "consumeEnable": true,
            "consumeFromMinEnable": true,
            "consumeBroadcastEnable": true,
            "retryQueueNums": 1,
            "retryMaxTimes": 16,
            "brokerId": 0,
            "whichBrokerWhenConsumeSlowly": 1,
            "notifyConsumerIdsChangedEnable": true,
        });
        for address in self.masters().await?.values() {
            let request =
                Command::request(request::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP).body(body.to_string());
            self.client.shared.ask(address, request).await?;
        }
        Ok(())
    }

    /// Deletes a group, its offsets, and what it was to get again. Its dead letters stay.
    pub async fn delete_group(&self, group: &str) -> Outcome {
        for address in self.masters().await?.values() {
            let request = Command::request(request::DELETE_SUBSCRIPTIONGROUP)
                .with("groupName", group)
                .with("cleanOffset", true);
            self.client.shared.ask(address, request).await?;
        }
        self.delete_topic(&format!("%RETRY%{group}")).await
    }

    /// Moves a group to the messages of `time` (ms since 1970; -1: to the newest). Members that are online go there
    /// at once. Where each queue is now.
    pub async fn reset(&self, group: &str, topic: &str, time: i64) -> Outcome<BTreeMap<Queue, i64>> {
        let mut all = BTreeMap::new();
        for address in self.masters_of(topic).await?.into_values() {
            let request = Command::request(request::INVOKE_BROKER_TO_RESET_OFFSET)
                .with("topic", topic)
                .with("group", group)
                .with("queueId", -1)
                .with("timestamp", time)
                .with("isForce", true);
            match self.client.shared.ask(&address, request).await {
                Ok(reply) => all.extend(ByQueue::<i64>::read(&reply.body)?),
                // Apache's brokers move only those that are online: the offsets are set by hand.
                Err(error) if error.code() == Some(response::CONSUMER_NOT_ONLINE) => {
                    all.extend(self.reset_offline(group, topic, time).await?);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    async fn reset_offline(&self, group: &str, topic: &str, time: i64) -> Outcome<BTreeMap<Queue, i64>> {
        let consumer = self.client.pull_consumer(group);
        let mut all = BTreeMap::new();
        for queue in consumer.queues(topic).await? {
            let offset =
                if time < 0 { consumer.max(&queue).await? } else { consumer.at(&queue, time).await? };
            consumer.commit(&queue, offset).await?;
            all.insert(queue, offset);
        }
        Ok(all)
    }

    /// The message that is stored there. The broker that has it need not be at the host that the id names: virtual
    /// brokers move, and clients may be told other addresses than those in ids.
    pub async fn view(&self, id: OffsetId) -> Outcome<Received> {
        let (host, port) = (id.host.to_string(), format!(":{}", id.host.port()));
        let mut masters: Vec<(String, String)> = self.masters().await?.into_iter().collect();
        masters.sort_by_key(|(_, address)| (*address != host, !address.ends_with(&port)));
        let mut likeliest = None;
        for (broker, address) in masters {
            match self.view_at(&broker, &address, id).await {
                Ok(message) => return Ok(message),
                Err(error) => drop(likeliest.get_or_insert(error)),
            }
        }
        Err(likeliest.unwrap_or(Error::NoMessage(id)))
    }

    async fn view_at(&self, broker: &str, address: &str, id: OffsetId) -> Outcome<Received> {
        let request = Command::request(request::VIEW_MESSAGE_BY_ID).with("offset", id.offset);
        let reply = self.client.shared.ask(address, request).await?;
        let message =
            Stored::take(&mut reply.body.clone()).map_err(|error| Error::Nonsense(error.to_string()))?;
        let message = Received::from_stored(message, broker)?;
        // Another broker has another message there.
        if message.offset_id == id { Ok(message) } else { Err(Error::NoMessage(id)) }
    }

    /// Messages of a topic with this key, or with this unique key; at most `count` of each broker.
    pub async fn find(&self, topic: &str, key: &str, count: i32) -> Outcome<Vec<Received>> {
        let mut found: Vec<Received> = Vec::new();
        for (broker, address) in self.masters_of(topic).await? {
            for unique in [false, true] {
                let mut request = Command::request(request::QUERY_MESSAGE)
                    .with("topic", topic)
                    .with("key", key)
                    .with("maxNum", count)
                    .with("beginTimestamp", 0)
                    .with("endTimestamp", i64::MAX);
                if unique {
                    request.fields.push_text("_UNIQUE_KEY_QUERY", "true");
                }
                let reply = match self.client.shared.ask(&address, request).await {
                    Ok(reply) => reply,
                    Err(error) if error.code() == Some(response::QUERY_NOT_FOUND) => continue,
                    Err(error) => return Err(error),
                };
                // The broker finds by hashes: what it found has to be compared.
                let messages = Received::decode(reply.body, &broker)?.into_iter();
                let messages = messages.filter(|message| {
                    message.topic == topic
                        && (message.get(properties::UNIQ_KEY) == Some(key)
                            || message.keys().any(|word| word == key))
                });
                for message in messages {
                    if !found.iter().any(|other| other.offset_id == message.offset_id) {
                        found.push(message);
                    }
                }
            }
        }
        Ok(found)
    }

    /// What a broker says of itself.
    pub async fn broker_status(&self, address: &str) -> Outcome<BTreeMap<String, String>> {
        let reply =
            self.client.shared.ask(address, Command::request(request::GET_BROKER_RUNTIME_INFO)).await?;
        Ok(json::read::<KvTable>(&reply.body)?.table)
    }

    /// What a virtual broker's log is made of, and what needs how much of it. Apache's brokers do not know.
    pub async fn log(&self, address: &str) -> Outcome<LogLinks> {
        let reply = self.client.shared.ask(address, Command::request(request::STRATA_LOG)).await?;
        Ok(json::read(&reply.body)?)
    }

    /// As [`Admin::masters`], of those that have the topic.
    async fn masters_of(&self, topic: &str) -> Outcome<BTreeMap<String, String>> {
        Ok(masters_among(self.route(topic).await?.broker_datas))
    }

    async fn ask_names(&self, request: Command) -> Outcome<Command> {
        let reply = self.client.shared.ask_name_server(request).await?;
        if reply.code == response::SUCCESS {
            Ok(reply)
        } else {
            Err(Error::refused("the name server", &reply))
        }
    }
}

fn masters_among(brokers: impl IntoIterator<Item = BrokerData>) -> BTreeMap<String, String> {
    let masters = brokers.into_iter().filter_map(|mut broker| {
        let address = broker.broker_addrs.remove(&0)?;
        Some((broker.broker_name, address))
    });
    masters.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_durability_is_an_attribute_of_the_topic_and_none_changes_none() {
        let attributes = |durability| {
            let settings = TopicSettings { durability, ..TopicSettings::default() };
            settings.asked_for("t").fields.get("attributes").map(str::to_owned)
        };
        assert_eq!(attributes(Some(Durability::Async)).as_deref(), Some("+durability=async"));
        assert_eq!(attributes(Some(Durability::Sync)).as_deref(), Some("+durability=sync"));
        assert_eq!(attributes(None), None);
    }

    #[test]
    fn tables_by_queue_are_read_as_java_prints_them() {
        let text = br#"{"consumeTps":0.0,"offsetTable":{{"brokerName":"b","queueId":1,"topic":"t"}:{"brokerOffset":9,"consumerOffset":4,"lastTimestamp":1}}}"#;
        let read = ByQueue::<Place>::read(text).unwrap();
        let queue = Queue { topic: "t".into(), broker: "b".into(), id: 1 };
        assert_eq!(read.get(&queue).map(Place::lag), Some(5));
        assert!(ByQueue::<Place>::read(b"{\"offsetTable\":{\"x\":{}}}").is_err());
    }
}
