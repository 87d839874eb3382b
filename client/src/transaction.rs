//! Transactions: a message that nobody sees before it is decided.

use std::sync::Arc;

use protocol::message::{OffsetId, properties, sys_flag};
use protocol::remoting::Command;
use protocol::remoting::code::request;

use crate::producer::pack;
use crate::{Client, Error, Message, Outcome, Producer, Received, Sent};

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Commit,
    Rollback,
    /// Not known yet: the broker will ask.
    Unknown,
}

impl Decision {
    fn code(self) -> i32 {
        match self {
            Decision::Commit => sys_flag::COMMIT,
            Decision::Rollback => sys_flag::ROLLBACK,
            Decision::Unknown => 0,
        }
    }
}

pub(crate) type Check = Arc<dyn Fn(&Received) -> Decision + Send + Sync>;

/// ```no_run
/// # async fn run(client: client::Client) -> client::Outcome {
/// use client::{Decision, Message};
/// let producer = client.transaction_producer("payments", |message| {
///     // Asked when a decision is missing: look the payment up.
///     if message.get("KEYS").is_some() { Decision::Commit } else { Decision::Rollback }
/// });
/// producer
///     .send(Message::new("paid", "order-7").key("order-7"), |_sent| async {
///         // The local transaction.
///         Decision::Commit
///     })
///     .await?;
/// # Ok(())
/// # }
/// ```
pub struct TransactionProducer {
    client: Client,
    producer: Producer,
}

impl TransactionProducer {
    pub(crate) fn new(client: Client, group: &str, check: Check) -> TransactionProducer {
        client.shared.callbacks.add_producer(group, Some(check));
        client.shared.joined.notify_one();
        TransactionProducer { producer: Producer::new(client.clone(), group), client }
    }

    /// Sends a half message, runs `local`, and tells the broker what it decided. Should that not reach the broker, it
    /// asks the group's check.
    pub async fn send<F>(&self, message: Message, local: impl FnOnce(&Sent) -> F) -> Outcome<(Sent, Decision)>
    where
        F: Future<Output = Decision>,
    {
        if message.get(properties::DELAY).is_some() {
            return Err(Error::Usage("a message of a transaction cannot be delayed".to_owned()));
        }
        let message = message
            .property(properties::TRANSACTION_PREPARED, "true")
            .property(properties::PRODUCER_GROUP, self.producer.group());
        let mut parcel = pack(&self.client, message);
        parcel.sys_flag |= sys_flag::PREPARED;
        let sent = self.producer.send_parcel(&parcel, None).await?;
        // A broker asks, and may only be told, on the connection of a member that it knows.
        let decision = local(&sent).await;
        if let Err(error) = self.end(&sent, decision).await {
            tracing::warn!("the decision on {} did not leave, the broker will ask: {error}", sent.message_id);
        }
        Ok((sent, decision))
    }

    async fn end(&self, sent: &Sent, decision: Decision) -> Outcome {
        let id: OffsetId = sent.offset_id.parse().map_err(|error| Error::Nonsense(format!("{error}")))?;
        let address = self.client.shared.master(&sent.queue.broker, &sent.queue.topic).await?;
        let request = Command::one_way(request::END_TRANSACTION)
            .with("topic", &sent.queue.topic)
            .with("producerGroup", self.producer.group())
            .with("tranStateTableOffset", sent.offset)
            .with("commitLogOffset", id.offset)
            .with("commitOrRollback", decision.code())
            .with("fromTransactionCheck", false)
            .with("msgId", &sent.message_id)
            .with("transactionId", &sent.message_id)
            .with("bname", &sent.queue.broker);
        Ok(self.client.shared.net.tell(&address, request).await?)
    }
}

/// The answer to a check.
pub(crate) fn checked(asked: &Command, message: &Received, group: &str, decision: Decision) -> Command {
    let mut request = Command::one_way(request::END_TRANSACTION)
        .with("topic", &message.topic)
        .with("producerGroup", group)
        .with("commitOrRollback", decision.code())
        .with("fromTransactionCheck", true)
        .with("msgId", &message.message_id);
    let offset = asked.fields.get("tranStateTableOffset").unwrap_or("0");
    request.fields.push_text("tranStateTableOffset", offset);
    request.fields.push_text("commitLogOffset", asked.fields.get("commitLogOffset").unwrap_or("0"));
    request.fields.push_some("transactionId", asked.fields.get("transactionId"));
    request.fields.push_some("bname", asked.fields.get("bname"));
    request
}
