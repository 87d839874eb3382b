//! RocketMQ's client for Rust. It works with StrataMQ and with Apache RocketMQ.
//!
//! A [`Client`] keeps connections and routes; producers, consumers and administration are made from it and share them.
//!
//! ```no_run
//! use client::{Client, Consumed, From, Message};
//!
//! # async fn run() -> client::Outcome {
//! let client = Client::new("127.0.0.1:9876")?;
//!
//! let producer = client.producer("orders-out");
//! let sent = producer.send(Message::new("orders", "hello").tag("created").key("order-7")).await?;
//! println!("{} is in {} at {}", sent.message_id, sent.queue, sent.offset);
//!
//! let consumer = client
//!     .push_consumer("orders-in")
//!     .subscribe("orders", "created || paid")
//!     .from(From::First)
//!     .start(|messages| async move {
//!         messages.iter().for_each(|message| println!("{}", message.message_id));
//!         Consumed::Done
//!     })
//!     .await?;
//! tokio::signal::ctrl_c().await.ok();
//! consumer.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! * [`Producer`] — sends: waiting for the answer or not, one or many, by order, in transactions.
//! * [`PushConsumer`] — is handed messages: concurrently, in order, or to every member of the group.
//! * [`PullConsumer`] — asks for messages itself.
//! * [`Admin`] — topics, groups, offsets, and where messages are.
//!
//! What can be run is in `client/examples`, each with the command that runs it in its first line: `send` and `sending`
//! (batches, one-way, ordered, delayed), `transaction`, `receive`, `orderly`, `broadcast`, `pull`, and `admin`.

mod admin;
mod callbacks;
mod connect;
mod consumer;
mod error;
mod message;
mod producer;
mod routes;
mod transaction;

pub use admin::{Admin, Durability, Extent, Member, Place, TopicSettings};
pub use connect::{Client, Settings};
pub use consumer::{Consumed, Counted, From, PullConsumer, Pulled, PushBuilder, PushConsumer};
pub use error::{Error, Outcome};
pub use message::{Message, Queue, Received, SendStatus, Sent};
pub use producer::{Lane, Producer};
pub use transaction::{Decision, TransactionProducer};
