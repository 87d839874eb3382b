//! What becomes of messages that are handed out.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use protocol::message::properties;
use protocol::remoting::Command;
use protocol::remoting::code::request;

use super::Consumed;
use super::feed::Feed;
use super::group::{Group, Mode};
use crate::{Outcome, Received};

pub(super) type Consuming = Pin<Box<dyn Future<Output = Consumed> + Send>>;
pub(super) type Listener = Arc<dyn Fn(Vec<Received>) -> Consuming + Send + Sync>;

/// In order, a message is tried again after this.
const AGAIN: Duration = Duration::from_secs(1);
/// A message that the broker did not take back is tried again here after this.
const NOT_TAKEN: Duration = Duration::from_secs(5);

/// Hands messages out. False if it stopped before the last of them, which happens only in order.
pub(super) async fn out(group: &Arc<Group>, feed: &Arc<Feed>, messages: Vec<Received>) -> bool {
    let mut rest = messages.into_iter().peekable();
    while rest.peek().is_some() {
        let some: Vec<Received> = rest.by_ref().take(group.terms.batch).map(restored).collect();
        if group.terms.mode == Mode::Orderly {
            if !in_order(group, feed, some).await {
                return false;
            }
            continue;
        }
        // The semaphore is never closed.
        let Ok(permit) = group.permits.clone().acquire_owned().await else { return false };
        let (group, feed) = (group.clone(), feed.clone());
        tokio::spawn(async move {
            concurrently(&group, &feed, some).await;
            drop(permit);
        });
    }
    true
}

/// A message that comes again carries the topic that it was sent to.
pub(super) fn restored(mut message: Received) -> Received {
    if let Some(topic) = message.get(properties::RETRY_TOPIC) {
        message.topic = topic.to_owned();
    }
    message
}

/// Calls the listener; one that panics has not done it.
pub(super) async fn consume(group: &Group, messages: Vec<Received>) -> Consumed {
    let consuming = tokio::spawn((group.listener)(messages));
    consuming.await.unwrap_or_else(|error| {
        tracing::error!("{}: the listener failed: {error}", group.name());
        Consumed::Later
    })
}

async fn concurrently(group: &Group, feed: &Feed, mut messages: Vec<Received>) {
    while !messages.is_empty() {
        let outcome = consume(group, messages.clone()).await;
        let offsets =
            |messages: &[Received]| messages.iter().map(|message| message.offset).collect::<Vec<_>>();
        if outcome == Consumed::Done || group.terms.mode == Mode::Broadcast {
            if outcome == Consumed::Later {
                tracing::warn!("{}: broadcast messages do not come again", group.name());
            }
            return feed.done(offsets(&messages).into_iter());
        }
        let mut kept = Vec::new();
        for message in messages {
            match send_back(group, &message).await {
                Ok(()) => feed.done(std::iter::once(message.offset)),
                Err(error) => {
                    tracing::warn!("{}: {} was not taken back: {error}", group.name(), message.message_id);
                    kept.push(Received { reconsume_times: message.reconsume_times + 1, ..message });
                }
            }
        }
        messages = kept;
        if !messages.is_empty() {
            tokio::time::sleep(NOT_TAKEN).await;
        }
    }
}

/// Until they are done. False if the queue is another's before they are.
async fn in_order(group: &Group, feed: &Feed, mut messages: Vec<Received>) -> bool {
    let offsets: Vec<i64> = messages.iter().map(|message| message.offset).collect();
    let mut ours = true;
    while ours && consume(group, messages.clone()).await == Consumed::Later {
        messages.iter_mut().for_each(|message| message.reconsume_times += 1);
        let hopeless = messages.iter().any(|message| message.reconsume_times > group.terms.max_reconsume);
        if hopeless && all_sent_back(group, &messages).await {
            break;
        }
        let _ = tokio::time::timeout(AGAIN, feed.changed.notified()).await;
        ours = !feed.is_stopped() && feed.is_locked();
    }
    if ours {
        feed.done(offsets.into_iter());
    } else {
        feed.abandon();
    }
    ours
}

async fn all_sent_back(group: &Group, messages: &[Received]) -> bool {
    for message in messages {
        if send_back(group, message).await.is_err() {
            return false;
        }
    }
    true
}

/// Gives a message back to its broker, which hands it out again later, or puts it to the dead letters.
async fn send_back(group: &Group, message: &Received) -> Outcome {
    let shared = &group.client.shared;
    let origin = message.get(properties::ORIGIN_MESSAGE_ID).unwrap_or(&message.message_id);
    let request = Command::request(request::CONSUMER_SEND_MSG_BACK)
        .with("offset", message.physical_offset())
        .with("group", group.name())
        .with("delayLevel", 0)
        .with("originMsgId", origin)
        .with("originTopic", &message.topic)
        .with("unitMode", false)
        .with("maxReconsumeTimes", group.terms.max_reconsume.min(16))
        .with("bname", &message.queue.broker);
    shared.ask_broker(&message.queue.broker, &message.queue.topic, request).await.map(|_| ())
}
