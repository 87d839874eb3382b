//! Consumers that ask for messages themselves.

use std::time::Duration;

use bytes::Bytes;
use protocol::remoting::Command;
use protocol::remoting::code::{request, response};
use protocol::remoting::header::{Pull, PullReply, Suspend};

use super::wanted;
use crate::connect::now_ms;
use crate::{Client, Error, Outcome, Queue, Received};
use protocol::body::heartbeat::Subscription;

/// What a pull brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    pub messages: Vec<Received>,
    /// Where to go on.
    pub next: i64,
    /// The queue's oldest offset, and the one after its newest.
    pub min: i64,
    pub max: i64,
    /// The offset asked for is not in the queue: `next` is where the broker would go on.
    pub moved: bool,
}

/// What a pull brought, uncounted and unread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    pub messages: u64,
    pub bytes: u64,
    pub next: i64,
}

/// ```no_run
/// # async fn run(client: client::Client) -> client::Outcome {
/// use std::time::Duration;
/// let consumer = client.pull_consumer("reports");
/// for queue in consumer.queues("orders").await? {
///     let mut offset = match consumer.committed(&queue).await? {
///         Some(offset) => offset,
///         None => consumer.min(&queue).await?,
///     };
///     loop {
///         let pulled = consumer.pull(&queue, "*", offset, 32, Duration::ZERO).await?;
///         if pulled.next == offset {
///             break;
///         }
///         offset = pulled.next;
///     }
///     consumer.commit(&queue, offset).await?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PullConsumer {
    client: Client,
    group: String,
}

impl PullConsumer {
    pub(crate) fn new(client: Client, group: &str) -> PullConsumer {
        PullConsumer { client, group: group.to_owned() }
    }

    /// The queues of a topic that can be read.
    pub async fn queues(&self, topic: &str) -> Outcome<Vec<Queue>> {
        Ok(self.client.shared.route(topic).await?.readable.clone())
    }

    /// Asks for at most `count` messages from `offset` on with one of the tags (`a || b`, or `*`). If there is
    /// nothing, the broker holds the request for `wait`.
    pub async fn pull(
        &self,
        queue: &Queue,
        tags: &str,
        offset: i64,
        count: i32,
        wait: Duration,
    ) -> Outcome<Pulled> {
        let subscription =
            Subscription::by_tags(&queue.topic, tags).map_err(|error| Error::Usage(error.to_string()))?;
        let subscription = Subscription { sub_version: now_ms() as i64, ..subscription };
        let pull = Pull {
            group: &self.group,
            topic: &queue.topic,
            queue: queue.id,
            offset,
            max_messages: count,
            suspend: if wait.is_zero() { Suspend::No } else { Suspend::For(wait.as_millis() as u64) },
            subscription: Some(&subscription.sub_string),
            sub_version: subscription.sub_version,
            expression_type: Some("TAG"),
            broker: Some(&queue.broker),
            ..Pull::default()
        };
        pull_once(&self.client, queue, &subscription, &pull, wait).await
    }

    /// Pulls and only counts what comes: for those who measure.
    pub async fn count(&self, queue: &Queue, offset: i64, count: i32) -> Outcome<Counted> {
        let pull = Pull {
            group: &self.group,
            topic: &queue.topic,
            queue: queue.id,
            offset,
            max_messages: count,
            subscription: Some("*"),
            expression_type: Some("TAG"),
            broker: Some(&queue.broker),
            ..Pull::default()
        };
        let (header, body, _) = answer(&self.client, queue, &pull, Duration::ZERO).await?;
        let (mut messages, mut rest) = (0, &body[..]);
        while let Some(size) = rest.first_chunk::<4>() {
            messages += 1;
            rest = rest.get((u32::from_be_bytes(*size) as usize).max(4)..).unwrap_or_default();
        }
        Ok(Counted { messages, bytes: body.len() as u64, next: header.next })
    }

    /// The offset that the group has committed, if any.
    pub async fn committed(&self, queue: &Queue) -> Outcome<Option<i64>> {
        committed(&self.client, &self.group, queue).await
    }

    /// Commits that everything before `offset` is done.
    pub async fn commit(&self, queue: &Queue, offset: i64) -> Outcome {
        let request = commit(&self.group, queue, offset);
        ask(&self.client, queue, request).await.map(|_| ())
    }

    pub async fn min(&self, queue: &Queue) -> Outcome<i64> {
        edge(&self.client, queue, request::GET_MIN_OFFSET).await
    }

    /// One more than the newest offset.
    pub async fn max(&self, queue: &Queue) -> Outcome<i64> {
        edge(&self.client, queue, request::GET_MAX_OFFSET).await
    }

    /// The offset of the first message that was stored at `time` (ms since 1970) or later.
    pub async fn at(&self, queue: &Queue, time: i64) -> Outcome<i64> {
        at(&self.client, queue, time).await
    }
}

/// What a pull is answered: its header, its messages, and whether there is nothing at its offset.
async fn answer(
    client: &Client,
    queue: &Queue,
    pull: &Pull<'_>,
    wait: Duration,
) -> Outcome<(PullReply, Bytes, bool)> {
    let shared = &client.shared;
    shared.route(&queue.topic).await?;
    let address = shared.routes.any(&queue.broker).ok_or_else(|| Error::NoBroker(queue.broker.clone()))?;
    let patience = wait + shared.settings.timeout;
    let asked = shared.net.ask(&address, pull.write(), patience).await;
    if asked.is_err() {
        shared.suspect(&queue.topic).await;
    }
    let reply = match (asked, shared.routes.any(&queue.broker)) {
        (Err(_), Some(now)) if now != address => shared.net.ask(&now, pull.write(), patience).await?,
        (asked, _) => asked?,
    };
    let body = match reply.code {
        response::SUCCESS => reply.body.clone(),
        response::PULL_NOT_FOUND | response::PULL_RETRY_IMMEDIATELY | response::PULL_OFFSET_MOVED => {
            Bytes::new()
        }
        _ => return Err(Error::refused(address, &reply)),
    };
    Ok((PullReply::read(&reply.fields)?, body, reply.code == response::PULL_OFFSET_MOVED))
}

pub(super) async fn pull_once(
    client: &Client,
    queue: &Queue,
    subscription: &Subscription,
    pull: &Pull<'_>,
    wait: Duration,
) -> Outcome<Pulled> {
    let (header, body, moved) = answer(client, queue, pull, wait).await?;
    let mut messages = Received::decode(body, &queue.broker)?;
    messages.retain(|message| wanted(subscription, message));
    Ok(Pulled { messages, next: header.next, min: header.min, max: header.max, moved })
}

async fn ask(client: &Client, queue: &Queue, request: Command) -> Outcome<Command> {
    client.shared.ask_broker(&queue.broker, &queue.topic, request).await
}

pub(crate) fn about(code: i32, queue: &Queue) -> Command {
    let mut request = Command::request(code);
    request.fields.push_text("topic", &queue.topic);
    request.fields.push("queueId", queue.id);
    request.fields.push_text("bname", &queue.broker);
    request
}

async fn edge(client: &Client, queue: &Queue, code: i32) -> Outcome<i64> {
    Ok(ask(client, queue, about(code, queue)).await?.fields.number("offset")?)
}

async fn at(client: &Client, queue: &Queue, time: i64) -> Outcome<i64> {
    let request = about(request::SEARCH_OFFSET_BY_TIMESTAMP, queue).with("timestamp", time);
    Ok(ask(client, queue, request).await?.fields.number("offset")?)
}

pub(super) async fn committed(client: &Client, group: &str, queue: &Queue) -> Outcome<Option<i64>> {
    let request = about(request::QUERY_CONSUMER_OFFSET, queue).with("consumerGroup", group);
    match ask(client, queue, request).await {
        Ok(reply) => Ok(Some(reply.fields.number("offset")?)),
        Err(error) if error.code() == Some(response::QUERY_NOT_FOUND) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn commit(group: &str, queue: &Queue, offset: i64) -> Command {
    about(request::UPDATE_CONSUMER_OFFSET, queue).with("consumerGroup", group).with("commitOffset", offset)
}

/// Where a group begins in a queue.
pub(super) async fn beginning(
    client: &Client,
    group: &str,
    queue: &Queue,
    from: super::From,
) -> Outcome<i64> {
    if let Some(offset) = committed(client, group, queue).await?.filter(|offset| *offset >= 0) {
        return Ok(offset);
    }
    start(client, queue, from).await
}

/// Where one begins who has no offset.
pub(super) async fn start(client: &Client, queue: &Queue, from: super::From) -> Outcome<i64> {
    if queue.topic.starts_with("%RETRY%") {
        return Ok(0);
    }
    match from {
        super::From::First => edge(client, queue, request::GET_MIN_OFFSET).await,
        super::From::Last => edge(client, queue, request::GET_MAX_OFFSET).await,
        super::From::Time(time) => at(client, queue, time).await,
    }
}
