//! A member of a group: what it wants, and which queues it has.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::body::heartbeat::{ConsumerData, ConsumerList, Subscription};
use protocol::body::{json, lock};
use protocol::remoting::Command;
use protocol::remoting::code::{request, response};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::feed::Feed;
use super::hand::Listener;
use super::{Consumed, From, hand, pull, share};
use crate::connect::{Client, now_ms};
use crate::{Error, Outcome, Queue};

/// Queues are shared out anew this often; and locks renewed, which brokers keep for 60 s and we trust for 30.
const REBALANCE: Duration = Duration::from_secs(20);
/// While something could not be found out.
const AGAIN: Duration = Duration::from_secs(1);
/// Offsets are told to brokers this often.
const COMMIT: Duration = Duration::from_secs(5);
pub(super) const TRUST: Duration = Duration::from_secs(30);
/// Messages in hand are waited for so long when we stop.
const FAREWELL: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Concurrent,
    Orderly,
    Broadcast,
}

/// How a group consumes; the same for all of its members.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub group: String,
    pub mode: Mode,
    pub from: From,
    pub subscriptions: Vec<Subscription>,
    /// Messages that are handed out at once.
    pub threads: usize,
    /// Messages in one call of the listener, at most.
    pub batch: usize,
    /// After so many vain attempts a message goes to the dead letters.
    pub max_reconsume: i32,
}

pub(crate) struct Group {
    pub(super) terms: Terms,
    pub(super) client: Client,
    pub(super) listener: Listener,
    pub(super) permits: Arc<tokio::sync::Semaphore>,
    feeds: Mutex<BTreeMap<Queue, Arc<Feed>>>,
    bell: Notify,
    started: u64,
}

impl Group {
    pub(super) fn new(terms: Terms, client: Client, listener: Listener) -> Arc<Group> {
        Arc::new(Group {
            permits: Arc::new(tokio::sync::Semaphore::new(terms.threads)),
            terms,
            client,
            listener,
            feeds: Mutex::default(),
            bell: Notify::new(),
            started: now_ms(),
        })
    }

    pub fn name(&self) -> &str {
        &self.terms.group
    }

    /// What heartbeats say of us.
    pub fn data(&self) -> ConsumerData {
        let from = match self.terms.from {
            From::First => "CONSUME_FROM_FIRST_OFFSET",
            From::Last => "CONSUME_FROM_LAST_OFFSET",
            From::Time(_) => "CONSUME_FROM_TIMESTAMP",
        };
        let model = if self.terms.mode == Mode::Broadcast { "BROADCASTING" } else { "CLUSTERING" };
        ConsumerData {
            group_name: self.terms.group.clone(),
            consume_type: "CONSUME_PASSIVELY".to_owned(),
            message_model: model.to_owned(),
            consume_from_where: from.to_owned(),
            subscription_data_set: self.terms.subscriptions.clone(),
            ..ConsumerData::default()
        }
    }

    pub fn rebalance_soon(&self) {
        self.bell.notify_one();
    }

    /// Brokers may be elsewhere now: whoever waits for an answer from where one was asks again.
    pub fn routes_changed(&self) {
        self.rebalance_soon();
        self.feeds.lock().values().for_each(|feed| feed.changed.notify_one());
    }

    /// Takes part until `stop` rings: shares queues out, keeps locks, tells offsets.
    pub(super) async fn run(self: Arc<Group>, stop: Arc<Notify>) {
        let mut commit = tokio::time::interval(COMMIT);
        let mut wait = Duration::ZERO;
        loop {
            tokio::select! {
                biased;
                () = stop.notified() => break,
                _ = commit.tick() => {
                    self.commit_all().await;
                    continue;
                }
                () = self.bell.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
            wait = if self.rebalance().await { REBALANCE } else { AGAIN };
        }
        self.farewell().await;
    }

    /// Whether all could be found out.
    async fn rebalance(self: &Arc<Group>) -> bool {
        let mut sure = true;
        for subscription in &self.terms.subscriptions {
            match self.share_of(&subscription.topic).await {
                Ok(queues) => self.take_up(subscription, queues).await,
                Err(error) => {
                    // A retry topic comes into being when the first member is known.
                    let retry = subscription.topic.starts_with("%RETRY%");
                    if !retry {
                        tracing::warn!(
                            "{}: queues of {} stay as they are: {error}",
                            self.name(),
                            subscription.topic
                        );
                    }
                    sure = false;
                }
            }
        }
        if self.terms.mode == Mode::Orderly {
            // Whoever had a queue gives it back soon, or has died without.
            sure &= self.lock_all().await;
        }
        sure
    }

    async fn share_of(&self, topic: &str) -> Outcome<Vec<Queue>> {
        let shared = &self.client.shared;
        let route = shared.route(topic).await?;
        let queues = route.readable.clone();
        if self.terms.mode == Mode::Broadcast || queues.is_empty() {
            return Ok(queues);
        }
        let mut failed = Error::NoQueue(topic.to_owned(), "read");
        for broker in route.brokers.keys() {
            let Some(address) = shared.routes.any(broker) else { continue };
            let request =
                Command::request(request::GET_CONSUMER_LIST_BY_GROUP).with("consumerGroup", self.name());
            match shared.ask(&address, request).await {
                Ok(reply) => {
                    let members: ConsumerList = json::read(&reply.body)?;
                    let members = members.consumer_id_list;
                    if !members.iter().any(|member| *member == shared.id) {
                        // It does not know us yet: what it says is not for us to act upon.
                        shared.joined.notify_one();
                        return Err(Error::Nonsense("a list of members without us".to_owned()));
                    }
                    return Ok(share::averagely(&shared.id, members, queues));
                }
                Err(error) => failed = error,
            }
        }
        if failed.code() == Some(response::SYSTEM_ERROR) {
            // A broker tells the members only to whom it knows: our heartbeat is due.
            shared.joined.notify_one();
        }
        shared.suspect(topic).await;
        Err(failed)
    }

    /// Gives up what is another's now, and begins with what is ours.
    async fn take_up(self: &Arc<Group>, subscription: &Subscription, queues: Vec<Queue>) {
        let (lost, gained) = {
            let mut feeds = self.feeds.lock();
            let topic = &subscription.topic;
            let lost: Vec<Queue> = feeds
                .keys()
                .filter(|queue| queue.topic == *topic && !queues.contains(queue))
                .cloned()
                .collect();
            let lost: Vec<Arc<Feed>> = lost.iter().filter_map(|queue| feeds.remove(queue)).collect();
            let mut gained = Vec::new();
            for queue in queues {
                if let Entry::Vacant(place) = feeds.entry(queue) {
                    let feed = Feed::new(place.key().clone(), subscription.clone());
                    gained.push(place.insert(feed).clone());
                }
            }
            (lost, gained)
        };
        for feed in lost {
            tracing::info!("{}: {} is another's now", self.name(), feed.queue);
            self.let_go(&feed).await;
        }
        for feed in gained {
            tracing::debug!("{}: {} is ours", self.name(), feed.queue);
            tokio::spawn(feed.run(self.clone()));
        }
    }

    async fn let_go(&self, feed: &Arc<Feed>) {
        feed.stop();
        let idle = timeout(FAREWELL, feed.idle()).await.is_ok();
        if !idle {
            tracing::warn!(
                "{}: messages of {} are still in hand, others may get them too",
                self.name(),
                feed.queue
            );
        }
        self.commit(feed, true).await;
        if self.terms.mode == Mode::Orderly {
            feed.unlocked();
            // Even if we never heard that it was locked: the answer may have been lost.
            let queues = BTreeMap::from([(feed.queue.broker.clone(), vec![feed.queue.clone()])]);
            self.locks(request::UNLOCK_BATCH_MQ, queues).await;
        }
    }

    /// Whether all that we have is locked now.
    async fn lock_all(&self) -> bool {
        let mut by_broker: BTreeMap<String, Vec<Queue>> = BTreeMap::new();
        for queue in self.feeds.lock().keys() {
            by_broker.entry(queue.broker.clone()).or_default().push(queue.clone());
        }
        let since = Instant::now();
        let locked = self.locks(request::LOCK_BATCH_MQ, by_broker).await;
        let feeds = self.feeds.lock();
        locked.iter().filter_map(|queue| feeds.get(queue)).for_each(|feed| feed.locked(since));
        feeds.values().all(|feed| feed.is_locked())
    }

    /// Asks brokers to lock or unlock their queues; what they have locked.
    async fn locks(&self, code: i32, by_broker: BTreeMap<String, Vec<Queue>>) -> Vec<Queue> {
        let shared = &self.client.shared;
        let mut locked = Vec::new();
        for (broker, queues) in by_broker {
            let Some(topic) = queues.first().map(|queue| queue.topic.clone()) else { continue };
            let wire = |queue: Queue| lock::Queue {
                broker_name: queue.broker,
                queue_id: queue.id,
                topic: queue.topic,
            };
            let body = lock::LockRequest {
                consumer_group: self.name().to_owned(),
                client_id: shared.id.clone(),
                mq_set: queues.into_iter().map(wire).collect(),
                ..lock::LockRequest::default()
            };
            let request = Command::request(code).body(json::write(&body));
            let granted = shared.ask_broker(&broker, &topic, request).await.and_then(|reply| {
                if code == request::UNLOCK_BATCH_MQ {
                    return Ok(lock::LockReply::default());
                }
                Ok(json::read::<lock::LockReply>(&reply.body)?)
            });
            match granted {
                Ok(granted) => locked.extend(granted.locked.into_iter().map(|queue| Queue {
                    topic: queue.topic,
                    broker: queue.broker_name,
                    id: queue.queue_id,
                })),
                Err(error) => tracing::debug!("{}: no locks of {broker}: {error}", self.name()),
            }
        }
        locked
    }

    async fn commit_all(&self) {
        let feeds: Vec<Arc<Feed>> = self.feeds.lock().values().cloned().collect();
        for feed in feeds {
            self.commit(&feed, false).await;
        }
    }

    /// Tells the broker how far a queue is consumed, if it has not been told; `surely` waits for its answer.
    pub(super) async fn commit(&self, feed: &Feed, surely: bool) {
        if self.terms.mode == Mode::Broadcast {
            return;
        }
        let Some(offset) = feed.to_commit() else { return };
        let mut request = pull::commit(self.name(), &feed.queue, offset);
        let shared = &self.client.shared;
        let Queue { broker, topic, .. } = &feed.queue;
        let told = match shared.routes.master(broker) {
            Some(address) if !surely => {
                request.flag = Command::one_way(0).flag;
                shared.net.tell(&address, request).await.map_err(Error::from)
            }
            _ => shared.ask_broker(broker, topic, request).await.map(|_| ()),
        };
        match told {
            Ok(()) => feed.committed(offset),
            Err(error) => tracing::debug!("{}: offset of {} not told: {error}", self.name(), feed.queue),
        }
    }

    async fn farewell(self: &Arc<Group>) {
        let feeds = std::mem::take(&mut *self.feeds.lock());
        feeds.values().for_each(|feed| feed.stop());
        for feed in feeds.values() {
            self.let_go(feed).await;
        }
        let shared = &self.client.shared;
        shared.callbacks.remove_consumer(self.name());
        shared.leave(None, Some(self.name())).await;
    }

    /// An administrator has moved the group's offsets.
    pub fn reset(&self, body: &Bytes) -> Outcome {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Reset {
            offset_table: BTreeMap<String, i64>,
        }
        let reset: Reset = json::read(body)?;
        let feeds = self.feeds.lock();
        for (key, offset) in reset.offset_table {
            let queue: lock::Queue = json::read(key.as_bytes())?;
            let queue = Queue { topic: queue.topic, broker: queue.broker_name, id: queue.queue_id };
            if let Some(feed) = feeds.get(&queue) {
                feed.seek(offset);
            }
        }
        Ok(())
    }

    /// Has a message consumed for an administrator, whatever its offset; what came of it.
    pub async fn consume_directly(&self, message: crate::Received) -> Bytes {
        let begun = Instant::now();
        let done = hand::consume(self, vec![hand::restored(message)]).await == Consumed::Done;
        let result = serde_json::json!({
            "autoCommit": true,
            "consumeResult": if done { "CR_SUCCESS" } else { "CR_LATER" },
            "order": self.terms.mode == Mode::Orderly,
            "spentTimeMills": begun.elapsed().as_millis() as u64,
        });
        json::write(&result)
    }

    /// What administrators are shown of us.
    pub fn running(&self) -> Bytes {
        let mut queues = BTreeMap::new();
        for feed in self.feeds.lock().values() {
            let key = lock::Queue {
                broker_name: feed.queue.broker.clone(),
                queue_id: feed.queue.id,
                topic: feed.queue.topic.clone(),
            };
            let key = String::from_utf8_lossy(&json::write(&key)).into_owned();
            queues.insert(key, feed.info());
        }
        let order = self.terms.mode == Mode::Orderly;
        let running = Running {
            mq_table: queues,
            properties: BTreeMap::from([
                ("PROP_CLIENT_VERSION", "V5_5_0".to_owned()),
                ("PROP_CONSUME_ORDERLY", order.to_string()),
                ("PROP_CONSUME_TYPE", "CONSUME_PASSIVELY".to_owned()),
                ("PROP_CONSUMER_START_TIMESTAMP", self.started.to_string()),
                ("PROP_NAMESERVER_ADDR", self.client.shared.name_servers().join(";")),
                ("PROP_THREADPOOL_CORE_SIZE", self.terms.threads.to_string()),
            ]),
            status_table: BTreeMap::new(),
            subscription_set: &self.terms.subscriptions,
            user_consumer_info: BTreeMap::new(),
        };
        json::write_keyed(&running)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Running<'a> {
    mq_table: BTreeMap<String, Info>,
    properties: BTreeMap<&'static str, String>,
    status_table: BTreeMap<String, String>,
    subscription_set: &'a [Subscription],
    user_consumer_info: BTreeMap<String, String>,
}

/// Of one queue.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Info {
    pub cached_msg_count: usize,
    pub commit_offset: i64,
    pub droped: bool,
    pub last_consume_timestamp: u64,
    pub last_pull_timestamp: u64,
    pub locked: bool,
}
