//! Consumers that are handed messages.

use std::sync::Arc;

use protocol::body::heartbeat::Subscription;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::group::{Group, Mode, Terms};
use super::{Consumed, From};
use crate::connect::now_ms;
use crate::{Client, Error, Outcome, Received};

/// How a group consumes. Every member of a group must say the same.
///
/// ```no_run
/// # async fn run(client: client::Client) -> client::Outcome {
/// use client::{Consumed, From};
/// // In order: the messages of a queue one after the other, by one member at a time.
/// let consumer = client
///     .push_consumer("billing")
///     .subscribe("orders", "paid")
///     .from(From::First)
///     .in_order()
///     .start(|messages| async move {
///         for message in &messages {
///             println!("{}", message.message_id);
///         }
///         Consumed::Done
///     })
///     .await?;
/// consumer.stop().await;
/// # Ok(())
/// # }
/// ```
pub struct PushBuilder {
    client: Client,
    terms: Terms,
    topics: Vec<(String, String)>,
}

impl PushBuilder {
    pub(crate) fn new(client: Client, group: &str) -> PushBuilder {
        let terms = Terms {
            group: group.to_owned(),
            mode: Mode::Concurrent,
            from: From::default(),
            subscriptions: Vec::new(),
            threads: 20,
            batch: 1,
            max_reconsume: 16,
        };
        PushBuilder { client, terms, topics: Vec::new() }
    }

    /// Messages of `topic` with one of these tags: `a || b`, or `*` for all.
    pub fn subscribe(mut self, topic: &str, tags: &str) -> PushBuilder {
        self.topics.push((topic.to_owned(), tags.to_owned()));
        self
    }

    /// Where the group begins, if it has no offset yet.
    pub fn from(mut self, from: From) -> PushBuilder {
        self.terms.from = from;
        self
    }

    /// The messages of a queue one after the other. One that is not done stops its queue: it is tried again after a
    /// second, and given up only after `max_reconsume` attempts.
    pub fn in_order(mut self) -> PushBuilder {
        self.terms.mode = Mode::Orderly;
        self.terms.max_reconsume = i32::MAX;
        self
    }

    /// Every member gets all messages, from [`PushBuilder::from`] at each start; what fails does not come again.
    pub fn broadcast(mut self) -> PushBuilder {
        self.terms.mode = Mode::Broadcast;
        self
    }

    /// Calls of the listener at the same time (20 without this).
    pub fn threads(mut self, threads: usize) -> PushBuilder {
        self.terms.threads = threads.max(1);
        self
    }

    /// Messages in one call of the listener, at most (1 without this). They are done, or not, together.
    pub fn batch(mut self, batch: usize) -> PushBuilder {
        self.terms.batch = batch.max(1);
        self
    }

    /// After so many vain attempts a message goes to the dead letters.
    pub fn max_reconsume(mut self, times: i32) -> PushBuilder {
        self.terms.max_reconsume = times.max(0);
        self
    }

    /// Joins the group, and calls `listener` with what comes.
    pub async fn start<F>(
        mut self,
        listener: impl Fn(Vec<Received>) -> F + Send + Sync + 'static,
    ) -> Outcome<PushConsumer>
    where
        F: Future<Output = Consumed> + Send + 'static,
    {
        let version = now_ms() as i64;
        for (topic, tags) in &self.topics {
            let subscription =
                Subscription::by_tags(topic, tags).map_err(|error| Error::Usage(error.to_string()))?;
            self.terms.subscriptions.push(Subscription { sub_version: version, ..subscription });
        }
        if self.terms.subscriptions.is_empty() {
            return Err(Error::Usage("a consumer subscribes to at least one topic".to_owned()));
        }
        // Those that do not exist, and typing errors, are worth an error now.
        for (topic, _) in &self.topics {
            self.client.shared.route(topic).await?;
        }
        if self.terms.mode != Mode::Broadcast {
            let topic = format!("%RETRY%{}", self.terms.group);
            let retry = Subscription { topic, sub_version: version, ..Subscription::default() };
            self.terms.subscriptions.push(retry);
        }
        let group = Group::new(
            self.terms,
            self.client.clone(),
            Arc::new(move |messages| Box::pin(listener(messages))),
        );
        self.client.shared.callbacks.add_consumer(group.clone())?;
        // Brokers have to know a member before it asks for the members.
        self.client.shared.beat().await;
        let stop = Arc::new(Notify::new());
        let running = tokio::spawn(group.run(stop.clone()));
        Ok(PushConsumer { stop, running })
    }
}

/// A member of a group at work. Dropped, it leaves the group in the background.
pub struct PushConsumer {
    stop: Arc<Notify>,
    running: JoinHandle<()>,
}

impl PushConsumer {
    /// Waits for the messages in hand, commits, and leaves the group.
    pub async fn stop(mut self) {
        self.stop.notify_one();
        // It fails only if it panicked, which was logged.
        let _ = (&mut self.running).await;
    }
}

impl Drop for PushConsumer {
    fn drop(&mut self) {
        self.stop.notify_one();
    }
}
