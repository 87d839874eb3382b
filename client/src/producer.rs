//! Sending.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use net::remoting::{Connection, Unanswered};
use protocol::message::{Batched, properties};
use protocol::remoting::Command;
use protocol::remoting::code::response;
use protocol::remoting::header::{Send, SendReply};
use tokio::time::{Instant, sleep};

use crate::connect::{Client, DEFAULT_TOPIC, now_ms};
use crate::routes::Route;
use crate::{Error, Message, Outcome, Queue, SendStatus, Sent};

/// While a virtual broker changes hands a send is tried this often.
const PAUSE: Duration = Duration::from_millis(50);
/// An answer that takes so long makes one look where the broker is.
const SLOW: Duration = Duration::from_secs(1);

/// Sends messages. Cheap to share by reference; many sends may be under way at once.
///
/// ```no_run
/// # async fn run(client: client::Client) -> client::Outcome {
/// use client::Message;
/// let producer = client.producer("orders-out");
/// // One, and wait: it is tried again with another broker if need be.
/// producer.send(Message::new("orders", "a")).await?;
/// // Messages with the same key go to the same queue, and are consumed in order.
/// producer.send_ordered(Message::new("orders", "b"), "order-7").await?;
/// // Many in one request.
/// producer.send_batch(vec![Message::new("orders", "c"), Message::new("orders", "d")]).await?;
/// // Without waiting: it may be lost.
/// producer.send_one_way(Message::new("orders", "e")).await?;
/// # Ok(())
/// # }
/// ```
pub struct Producer {
    client: Client,
    group: String,
    turn: AtomicUsize,
}

/// A message as it goes out.
#[derive(Clone)]
pub(crate) struct Parcel {
    pub topic: String,
    pub body: Bytes,
    pub flag: i32,
    pub sys_flag: i32,
    pub properties: String,
    pub message_id: String,
    pub batch: bool,
}

impl Producer {
    pub(crate) fn new(client: Client, group: &str) -> Producer {
        // Producers that send little, all of them, begin at different queues.
        Producer { client, group: group.to_owned(), turn: AtomicUsize::new(now_ms() as usize) }
    }

    pub fn group(&self) -> &str {
        &self.group
    }

    /// Sends and waits until the broker has it. If one broker fails, others are tried; so a message may be stored
    /// twice.
    pub async fn send(&self, message: Message) -> Outcome<Sent> {
        let parcel = self.pack(message);
        self.send_parcel(&parcel, None).await
    }

    /// As [`Producer::send`], to the queue that `key` belongs to: of one key all go to the same, in order. No other
    /// broker is tried.
    pub async fn send_ordered(&self, message: Message, key: &str) -> Outcome<Sent> {
        let hash = protocol::body::heartbeat::java_hash(key).unsigned_abs() as usize;
        self.send_selected(message, |queues| hash % queues.len().max(1)).await
    }

    /// As [`Producer::send`], to the queue that `select` chooses among those that can be written to.
    pub async fn send_selected(
        &self,
        message: Message,
        select: impl FnOnce(&[Queue]) -> usize,
    ) -> Outcome<Sent> {
        let route = self.client.shared.route_for_sending(&message.topic).await?;
        let queue = route.writable.get(select(&route.writable)).cloned();
        let queue = queue.ok_or_else(|| Error::NoQueue(message.topic.clone(), "written to"))?;
        self.send_to(&queue, message).await
    }

    /// As [`Producer::send`], to this queue.
    pub async fn send_to(&self, queue: &Queue, message: Message) -> Outcome<Sent> {
        let parcel = self.pack(message);
        self.send_parcel(&parcel, Some(queue)).await
    }

    /// Sends several of one topic in one request, to one queue: all are stored or none. Their bodies together must be
    /// within what a broker takes as one message (4 MiB).
    pub async fn send_batch(&self, messages: Vec<Message>) -> Outcome<Sent> {
        let parcel = self.pack_batch(messages)?;
        self.send_parcel(&parcel, None).await
    }

    /// Sends without waiting for an answer: whether it arrives is never known.
    pub async fn send_one_way(&self, message: Message) -> Outcome {
        let parcel = self.pack(message);
        let route = self.client.shared.route_for_sending(&parcel.topic).await?;
        let queue =
            self.choose(&route, None).ok_or_else(|| Error::NoQueue(parcel.topic.clone(), "written to"))?;
        let address = self.client.shared.master(&queue.broker, &parcel.topic).await?;
        let mut request = self.request(&parcel, queue);
        request.flag = Command::one_way(0).flag;
        Ok(self.client.shared.net.tell(&address, request).await?)
    }

    /// The queues of a topic that can be written to.
    pub async fn queues(&self, topic: &str) -> Outcome<Vec<Queue>> {
        Ok(self.client.shared.route_for_sending(topic).await?.writable.clone())
    }

    /// A way to one queue for those who send very much.
    pub async fn lane(&self, queue: &Queue) -> Outcome<Lane> {
        let address = self.client.shared.master(&queue.broker, &queue.topic).await?;
        let conn = self.client.shared.connection(&address).await?;
        let timeout = self.client.shared.settings.timeout;
        Ok(Lane {
            client: self.client.clone(),
            group: self.group.clone(),
            queue: Arc::new(queue.clone()),
            conn,
            timeout,
            properties: String::new(),
        })
    }

    fn pack(&self, message: Message) -> Parcel {
        pack(&self.client, message)
    }

    fn pack_batch(&self, messages: Vec<Message>) -> Outcome<Parcel> {
        let topic = messages.first().map(|first| first.topic.clone());
        let topic = topic.ok_or_else(|| Error::Usage("a batch has at least one message".to_owned()))?;
        if messages.iter().any(|message| message.topic != topic || message.get(properties::DELAY).is_some()) {
            let text = "the messages of a batch are of one topic, and none is delayed";
            return Err(Error::Usage(text.to_owned()));
        }
        let mut body = BytesMut::new();
        let mut ids = Vec::new();
        for message in messages {
            let one = self.pack(message);
            Batched { flag: one.flag, body: one.body, properties: one.properties.into() }.encode(&mut body);
            ids.push(one.message_id);
        }
        let mut properties = String::new();
        properties::push(&mut properties, properties::WAIT, "true");
        Ok(Parcel {
            topic,
            body: body.freeze(),
            flag: 0,
            sys_flag: 0,
            properties,
            message_id: ids.join(","),
            batch: true,
        })
    }

    /// The next queue in turn; after a failure one of another broker, if there is any.
    fn choose<'a>(&self, route: &'a Route, failed: Option<&str>) -> Option<&'a Queue> {
        let count = route.writable.len();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let in_turn = || (0..count).filter_map(|step| route.writable.get((turn + step) % count));
        in_turn().find(|queue| Some(queue.broker.as_str()) != failed).or_else(|| in_turn().next())
    }

    fn request(&self, parcel: &Parcel, queue: &Queue) -> Command {
        let default_queues = self.client.shared.settings.default_queues;
        request(&self.group, default_queues, parcel, queue)
    }

    pub(crate) async fn send_parcel(&self, parcel: &Parcel, to: Option<&Queue>) -> Outcome<Sent> {
        let shared = &self.client.shared;
        let mut failed: Option<String> = None;
        let (mut tries, until) = (0, Instant::now() + shared.settings.timeout);
        loop {
            let route = shared.route_for_sending(&parcel.topic).await?;
            let queue = match to {
                Some(queue) => queue,
                None => self
                    .choose(&route, failed.as_deref())
                    .ok_or_else(|| Error::NoQueue(parcel.topic.clone(), "written to"))?,
            };
            let error = match self.send_once(parcel, queue).await {
                Ok(sent) => return Ok(sent),
                Err(error) => error,
            };
            tries += 1;
            let more = tries <= shared.settings.retries;
            if !error.is_passing() || !(more || error.is_moving() && Instant::now() < until) {
                return Err(error);
            }
            tracing::debug!("sending to {queue} again: {error}");
            failed = Some(queue.broker.clone());
            if !more {
                sleep(PAUSE).await;
            }
            shared.suspect(&parcel.topic).await;
        }
    }

    async fn send_once(&self, parcel: &Parcel, queue: &Queue) -> Outcome<Sent> {
        let shared = &self.client.shared;
        let address = shared.master(&queue.broker, &parcel.topic).await?;
        let mut asking =
            std::pin::pin!(shared.net.ask(&address, self.request(parcel, queue), shared.settings.timeout));
        loop {
            tokio::select! {
                biased;
                reply = &mut asking => return sent(reply?, queue, parcel.message_id.clone()),
                () = sleep(SLOW) => {}
            }
            // A broker that is only paused does not close connections; by now another may have its queues.
            shared.suspect(&parcel.topic).await;
            if shared.routes.master(&queue.broker).is_some_and(|now| now != address) {
                return Err(Unanswered::TimedOut.into());
            }
        }
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        let shared = self.client.shared.clone();
        if !shared.callbacks.remove_producer(&self.group) {
            return;
        }
        let group = self.group.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { shared.leave(Some(&group), None).await });
        }
    }
}

pub(crate) fn pack(client: &Client, message: Message) -> Parcel {
    let mut properties = message.properties;
    let message_id = match properties::get(&properties, properties::UNIQ_KEY) {
        Some(id) => id.to_owned(),
        None => {
            let id = client.shared.keys.lock().next(now_ms());
            properties::push(&mut properties, properties::UNIQ_KEY, &id);
            id
        }
    };
    if properties::get(&properties, properties::WAIT).is_none() {
        properties::push(&mut properties, properties::WAIT, "true");
    }
    let Message { topic, body, flag, .. } = message;
    Parcel { topic, body, flag, sys_flag: 0, properties, message_id, batch: false }
}

fn request(group: &str, default_queues: i32, parcel: &Parcel, queue: &Queue) -> Command {
    let retry = parcel.topic.starts_with("%RETRY%");
    let number = |name| properties::get(&parcel.properties, name).and_then(|value| value.parse().ok());
    let header = Send {
        group,
        topic: &parcel.topic,
        default_topic: DEFAULT_TOPIC,
        default_queues,
        queue: queue.id,
        sys_flag: parcel.sys_flag,
        born_timestamp: now_ms() as i64,
        flag: parcel.flag,
        properties: &parcel.properties,
        reconsume_times: number(properties::RECONSUME_TIME).filter(|_| retry).unwrap_or(0),
        unit_mode: false,
        max_reconsume_times: number(properties::MAX_RECONSUME_TIMES).filter(|_| retry),
        batch: parcel.batch,
        broker: Some(&queue.broker),
    };
    header.write().body(parcel.body.clone())
}

/// What a reply to a send says.
fn sent(reply: Command, queue: &Queue, message_id: String) -> Outcome<Sent> {
    let status = match reply.code {
        response::SUCCESS => SendStatus::Ok,
        response::FLUSH_DISK_TIMEOUT | response::SLAVE_NOT_AVAILABLE | response::FLUSH_SLAVE_TIMEOUT => {
            SendStatus::Unconfirmed
        }
        _ => return Err(Error::refused(&queue.broker, &reply)),
    };
    let header = SendReply::read(&reply.fields)?;
    Ok(Sent {
        status,
        message_id,
        offset_id: header.message_id.to_owned(),
        queue: Queue { id: header.queue, ..queue.clone() },
        offset: header.queue_offset,
    })
}

/// Sends to one queue over one connection, without a task or a wait for each message: for loads of many thousand
/// messages per second. Nothing is tried again.
pub struct Lane {
    client: Client,
    group: String,
    queue: Arc<Queue>,
    conn: Arc<Connection>,
    timeout: Duration,
    /// Of messages that have nothing but a body.
    properties: String,
}

impl Lane {
    /// Messages that have nothing but a body wait at the broker for as long as a delay level says.
    pub fn delayed(mut self, level: u16) -> Lane {
        self.properties.clear();
        properties::push(&mut self.properties, properties::DELAY, &level.to_string());
        self
    }

    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    pub fn is_open(&self) -> bool {
        self.conn.is_open()
    }

    /// Sends. `then` runs once, on the connection's task, with what became of it.
    pub fn send_then(
        &self,
        message: Message,
        then: impl FnOnce(Outcome<Sent>) + std::marker::Send + 'static,
    ) {
        let parcel = pack(&self.client, message);
        let request = request(&self.group, 4, &parcel, &self.queue);
        let queue = self.queue.clone();
        self.conn.ask_then(
            request,
            Instant::now() + self.timeout,
            move |reply: Result<Command, Unanswered>| {
                then(reply.map_err(Error::from).and_then(|reply| sent(reply, &queue, parcel.message_id)));
            },
        );
    }
}

impl Lane {
    /// Sends a message that has nothing but a body. `then` runs once, on the connection's task, with whether it is
    /// stored.
    pub fn send_body_then(&self, body: Bytes, then: impl FnOnce(Outcome) + std::marker::Send + 'static) {
        let now = now_ms();
        let mut properties = String::with_capacity(96);
        properties.push_str("UNIQ_KEY\u{1}");
        self.client.shared.keys.lock().write(now, &mut properties);
        properties.push_str("\u{2}WAIT\u{1}true\u{2}");
        properties.push_str(&self.properties);
        let header = Send {
            group: &self.group,
            topic: &self.queue.topic,
            default_topic: DEFAULT_TOPIC,
            default_queues: 4,
            queue: self.queue.id,
            born_timestamp: now as i64,
            properties: &properties,
            broker: Some(&self.queue.broker),
            ..Send::default()
        };
        let queue = self.queue.clone();
        self.conn.ask_then(header.write().body(body), Instant::now() + self.timeout, move |reply| {
            then(match reply {
                Ok(reply) if reply.code == response::SUCCESS => Ok(()),
                Ok(reply) => Err(Error::refused(&queue.broker, &reply)),
                Err(error) => Err(error.into()),
            });
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_that_is_stored_but_not_confirmed_is_no_error() {
        let queue = Queue { topic: "t".into(), broker: "b".into(), id: -1 };
        let reply = |code| {
            let reply = Command::request(310).reply(code);
            reply.with("msgId", "7F").with("queueId", 3).with("queueOffset", 9)
        };
        let ok = sent(reply(0), &queue, "id".into()).unwrap();
        assert_eq!((ok.status, ok.queue.id, ok.offset, ok.offset_id.as_str()), (SendStatus::Ok, 3, 9, "7F"));
        assert_eq!(sent(reply(10), &queue, "id".into()).unwrap().status, SendStatus::Unconfirmed);
        let refused = sent(reply(13), &queue, "id".into()).unwrap_err();
        assert_eq!((refused.code(), refused.is_passing()), (Some(13), false));
        assert!(sent(reply(14), &queue, "id".into()).unwrap_err().is_passing());
        assert!(sent(Command::request(310).reply(0), &queue, "id".into()).is_err());
    }
}
