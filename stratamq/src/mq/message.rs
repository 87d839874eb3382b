//! `stratamq message`

use std::time::Duration;

use clap::{Args, Subcommand};
use client::{Admin, Client, Message, PullConsumer, Queue, Received, SendStatus};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::{Arguments, Where, failed, time};
use crate::error::{Error, Outcome};
use crate::output::say;

#[derive(Subcommand)]
pub enum Command {
    /// Send a message
    Send(Send),
    /// Show messages as they come, with -f without end
    Tail {
        topic: String,
        /// Go on with what comes
        #[arg(short, long)]
        follow: bool,
        /// Messages of each queue to begin with
        #[arg(short = 'n', value_name = "N", default_value_t = 10)]
        last: i64,
        /// Only with one of these tags: 'a || b'
        #[arg(long, default_value = "*")]
        tags: String,
    },
    /// Show the oldest messages of a topic, or of a queue from an offset on; nothing is committed
    Peek(Peek),
    /// Where a message is, who has consumed it and who has not: by its id, or by a key
    Find {
        /// An offsetMsgId; or, with --topic, a unique key or a key
        what: String,
        #[arg(long)]
        topic: Option<String>,
    },
}

#[derive(Args)]
pub struct Send {
    topic: String,
    body: String,
    #[arg(long)]
    tag: Option<String>,
    /// A key by which it can be found; may be given several times
    #[arg(long)]
    key: Vec<String>,
    /// A delay level: 1 is 1 s, 18 is 2 h
    #[arg(long, value_name = "LEVEL")]
    delay: Option<u32>,
    /// May be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    property: Vec<String>,
}

#[derive(Args)]
pub struct Peek {
    topic: String,
    /// Only this queue
    #[arg(long, value_name = "N")]
    queue: Option<i32>,
    /// Only queues of this broker
    #[arg(long)]
    broker: Option<String>,
    /// The first one; without it the oldest
    #[arg(long, requires = "queue")]
    offset: Option<i64>,
    #[arg(short = 'n', value_name = "N", default_value_t = 10)]
    count: usize,
}

pub async fn run(Arguments { at, command }: Arguments<Command>) -> Outcome {
    let client = at.client()?;
    match command {
        Command::Send(message) => send(&at, &client, message).await,
        Command::Tail { topic, follow, last, tags } => tail(&at, &client, &topic, follow, last, &tags).await,
        Command::Peek(wanted) => peek(&at, &client, wanted).await,
        Command::Find { what, topic } => find(&at, &client, &what, topic.as_deref()).await,
    }
}

async fn send(at: &Where, client: &Client, given: Send) -> Outcome {
    let mut message = Message::new(given.topic, given.body);
    if let Some(tag) = &given.tag {
        message = message.tag(tag);
    }
    for key in &given.key {
        message = message.key(key);
    }
    if let Some(level) = given.delay {
        message = message.delay_level(level);
    }
    for property in &given.property {
        let (name, value) = property
            .split_once('=')
            .ok_or_else(|| Error::Usage(format!("--property {property}: it is written NAME=VALUE")))?;
        message = message.property(name, value);
    }
    let sent = client.producer("stratamq-cli").send(message).await.map_err(failed)?;
    let status = if sent.status == SendStatus::Ok { "stored" } else { "unconfirmed" };
    let queue = &sent.queue;
    let row = [
        status.into(),
        queue.broker.as_str().into(),
        queue.id.into(),
        sent.offset.into(),
        sent.message_id.into(),
        sent.offset_id.into(),
    ];
    at.show(["status", "broker", "queue", "offset", "message id", "offset id"], &[row])
}

async fn peek(at: &Where, client: &Client, wanted: Peek) -> Outcome {
    let Peek { topic, queue, broker, offset, count } = wanted;
    let consumer = client.pull_consumer("stratamq-cli");
    let mut queues = consumer.queues(&topic).await.map_err(failed)?;
    queues.retain(|found| queue.is_none_or(|queue| queue == found.id));
    queues.retain(|found| broker.as_ref().is_none_or(|broker| *broker == found.broker));
    if queues.is_empty() {
        return Err(Error::Failed(format!(
            "topic '{topic}' has no such queue: see 'topic describe {topic}'"
        )));
    }
    if offset.is_some() && queues.len() > 1 {
        return Err(Error::Usage(
            "--offset: several brokers have this queue, say which with --broker".into(),
        ));
    }
    let mut oldest = Vec::new();
    for queue in &queues {
        let first = match offset {
            Some(offset) => offset,
            None => consumer.min(queue).await.map_err(failed)?,
        };
        oldest.extend(from(&consumer, queue, first, count).await.map_err(failed)?);
    }
    oldest.sort_by_key(|message| message.store_time);
    for message in oldest.iter().take(count) {
        if !show(at, message, &[]) {
            break;
        }
    }
    Ok(())
}

/// So many messages of a queue, or fewer if it ends before.
async fn from(
    consumer: &PullConsumer,
    queue: &Queue,
    mut next: i64,
    count: usize,
) -> Result<Vec<Received>, client::Error> {
    let mut messages = Vec::new();
    while messages.len() < count {
        let pulled = consumer.pull(queue, "*", next, 32, Duration::ZERO).await?;
        if pulled.messages.is_empty() && pulled.next <= next {
            break;
        }
        next = pulled.next;
        messages.extend(pulled.messages);
    }
    messages.truncate(count);
    Ok(messages)
}

async fn tail(at: &Where, client: &Client, topic: &str, follow: bool, last: i64, tags: &str) -> Outcome {
    let consumer = client.pull_consumer("stratamq-cli");
    let (found, mut messages) = mpsc::channel(100);
    for queue in consumer.queues(topic).await.map_err(failed)? {
        let max = consumer.max(&queue).await.map_err(failed)?;
        let min = consumer.min(&queue).await.map_err(failed)?;
        let offset = (max - last.max(0)).max(min);
        let end = if follow { i64::MAX } else { max };
        let (consumer, tags, found) = (consumer.clone(), tags.to_owned(), found.clone());
        tokio::spawn(async move {
            if let Err(error) = follow_queue(&consumer, &queue, &tags, offset..end, &found).await {
                // Nobody listens if it fails: the command is over.
                let _ = found.send(Err(error)).await;
            }
        });
    }
    drop(found);
    while let Some(message) = messages.recv().await {
        if !show(at, &message.map_err(failed)?, &[]) {
            return Ok(());
        }
    }
    Ok(())
}

async fn follow_queue(
    consumer: &PullConsumer,
    queue: &Queue,
    tags: &str,
    offsets: std::ops::Range<i64>,
    found: &mpsc::Sender<Result<Received, client::Error>>,
) -> Result<(), client::Error> {
    let mut next = offsets.start;
    while next < offsets.end {
        let wait = if offsets.end == i64::MAX { Duration::from_secs(15) } else { Duration::ZERO };
        let pulled = consumer.pull(queue, tags, next, 32, wait).await?;
        for message in pulled.messages {
            if found.send(Ok(message)).await.is_err() {
                return Ok(());
            }
        }
        if pulled.next <= next && wait.is_zero() {
            return Ok(());
        }
        next = pulled.next;
    }
    Ok(())
}

/// Machines are told everything in one line, with what else is known. False if nobody reads any more.
fn show(at: &Where, message: &Received, also: &[(&str, Value)]) -> bool {
    let body = String::from_utf8_lossy(&message.body);
    if at.json {
        let properties: Map<String, Value> =
            message.properties().map(|(name, value)| (name.to_owned(), value.into())).collect();
        let mut line = json!({
            "topic": message.topic,
            "broker": message.queue.broker,
            "queue": message.queue.id,
            "offset": message.offset,
            "message_id": message.message_id,
            "offset_id": message.offset_id.to_string(),
            "stored": message.store_time,
            "born": message.born_time,
            "born_host": message.born_host.to_string(),
            "reconsumed": message.reconsume_times,
            "properties": properties,
            "body": body,
        });
        also.iter().for_each(|(name, value)| line[*name] = value.clone());
        return say!("{line}");
    }
    let queue = &message.queue;
    let tag = message.tag().map(|tag| format!(" [{tag}]")).unwrap_or_default();
    say!("{} {}/{} {}{tag} {body}", time(message.store_time), queue.broker, queue.id, message.offset)
}

async fn find(at: &Where, client: &Client, what: &str, topic: Option<&str>) -> Outcome {
    let admin = client.admin();
    let messages = match (what.parse(), topic) {
        (_, Some(topic)) => admin.find(topic, what, 32).await.map_err(failed)?,
        (Ok(id), None) => vec![admin.view(id).await.map_err(failed)?],
        (Err(_), None) => {
            return Err(Error::Usage(format!(
                "'{what}' is no offsetMsgId: to look for a key, name its --topic"
            )));
        }
    };
    if messages.is_empty() {
        return Err(Error::Failed(format!("no message has the key '{what}'")));
    }
    for message in &messages {
        let groups = consumed(&admin, message).await?;
        if at.json {
            let group = |(group, consumed)| json!({ "group": group, "consumed": consumed });
            show(at, message, &[("groups", groups.into_iter().map(group).collect())]);
            continue;
        }
        show(at, message, &[]);
        for (name, value) in message.properties() {
            say!("    {name}: {value}");
        }
        say!("    id {} at {}", message.message_id, message.offset_id);
        for (group, consumed) in groups {
            say!("    {group} {}", if consumed { "has consumed it" } else { "has not consumed it" });
        }
    }
    Ok(())
}

/// The groups that consume the message's topic, and whether each is past it.
async fn consumed(admin: &Admin, message: &Received) -> Outcome<Vec<(String, bool)>> {
    let mut all = Vec::new();
    for group in admin.groups(&message.topic).await.map_err(failed)? {
        let places = admin.places(&group, Some(&message.topic)).await.map_err(failed)?;
        let past = places.get(&message.queue).is_some_and(|place| place.consumer_offset > message.offset);
        all.push((group, past));
    }
    Ok(all)
}
