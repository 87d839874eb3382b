//! Commands spoken to a virtual broker over a log in memory, by connections without sockets.

mod administering;
mod consuming;
mod counting;
mod delaying;
mod members;
mod promised;
mod refusing;
mod sending;
mod stopping;
mod transacting;
mod waiting;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ledger::log::memory::MemoryLogs;
use ledger::log::{Limits, LogName};
use net::remoting::{Connection, Handler};
use parking_lot::Mutex;
use protocol::body::heartbeat::{ConsumerData, Heartbeat, ProducerData, Subscription};
use protocol::body::json;
use protocol::message::Message;
use protocol::remoting::Command;
use protocol::remoting::code::request as code;
use protocol::remoting::header::{Pull, Send, Suspend};
use tokio::time::{Instant, sleep};

use super::Served;
use crate::state::Settings;
use crate::vb::clock::Clock;
use crate::vb::{self, Now, VbSettings};

/// Both clocks go with the test's paused time, unless it sets the one that can be set.
struct TestClock {
    began: Instant,
    /// By how many ms it was set forward.
    set: AtomicI64,
    in_doubt: AtomicBool,
}

const BEGAN: i64 = 1_700_000_000_000;

impl Clock for TestClock {
    fn now(&self) -> Now {
        let at = self.began.elapsed();
        let set = self.set.load(Ordering::SeqCst);
        Now { wall: BEGAN + set + at.as_millis() as i64, at: at + Duration::from_secs(1_000) }
    }

    fn doubt(&self, _newest: i64) -> Option<String> {
        self.in_doubt.load(Ordering::SeqCst).then(|| "a test says so".into())
    }
}

/// A virtual broker's log, which several owners may open one after the other.
struct World {
    logs: MemoryLogs,
    limits: vb::Limits,
    clock: Arc<TestClock>,
    connections: AtomicU64,
}

impl World {
    fn new() -> World {
        World {
            logs: MemoryLogs::new(Limits::default()),
            limits: vb::Limits::default(),
            clock: Arc::new(TestClock {
                began: Instant::now(),
                set: AtomicI64::new(0),
                in_doubt: AtomicBool::new(false),
            }),
            connections: AtomicU64::new(1),
        }
    }

    async fn open_with(&self, settings: Settings) -> Owner<'_> {
        let address: SocketAddr = ([127, 0, 0, 1], 10_911).into();
        let vb = VbSettings {
            id: 0,
            name: "broker-0".into(),
            address,
            log: LogName::new("vb-0").unwrap(),
            checkpoints: LogName::new("vb-0-checkpoint").unwrap(),
            limits: self.limits,
            settings,
        };
        let served = Served::open("c".into(), vb, &self.logs, self.clock.clone()).await.unwrap();
        Owner { world: self, door: served.door(), served }
    }

    /// From now on nothing is acknowledged.
    fn hold(&self) {
        self.logs.hold(&LogName::new("vb-0").unwrap());
    }

    /// Everything is acknowledged that was held.
    fn release(&self) {
        self.logs.release(&LogName::new("vb-0").unwrap());
    }

    /// Somebody sets the clock that can be set.
    fn set_clock(&self, forward: i64) {
        self.clock.set.fetch_add(forward, Ordering::SeqCst);
    }

    async fn open(&self) -> Owner<'_> {
        self.open_with(Settings::default()).await
    }
}

struct Owner<'a> {
    world: &'a World,
    served: Arc<Served>,
    door: Arc<dyn Handler>,
}

impl Owner<'_> {
    fn client(&self) -> Client {
        self.client_by(10_911)
    }

    fn client_by(&self, port: u16) -> Client {
        let id = self.world.connections.fetch_add(1, Ordering::Relaxed);
        self.client_from(id, ([10, 0, 0, id as u8], 5_000).into(), port)
    }

    fn client_from(&self, id: u64, peer: SocketAddr, port: u16) -> Client {
        let heard: Arc<Mutex<Vec<Command>>> = Arc::default();
        let says = heard.clone();
        let ends = (peer, ([127, 0, 0, 1], port).into());
        let connection =
            Connection::without_socket(id, ends, self.door.clone(), move |said| says.lock().push(said));
        Client { connection, door: self.door.clone(), heard, opaque: AtomicI32::new(1) }
    }
}

struct Client {
    connection: Arc<Connection>,
    door: Arc<dyn Handler>,
    heard: Arc<Mutex<Vec<Command>>>,
    opaque: AtomicI32,
}

impl Client {
    /// Sends a request; returns its opaque.
    fn send(&self, mut request: Command) -> i32 {
        request.opaque = self.opaque.fetch_add(1, Ordering::Relaxed);
        let opaque = request.opaque;
        self.door.request(&self.connection, request);
        self.door.drained(&self.connection);
        opaque
    }

    /// The reply, if it is there by now.
    fn replied(&self, opaque: i32) -> Option<Command> {
        let mut heard = self.heard.lock();
        let at = heard.iter().position(|command| command.is_reply() && command.opaque == opaque)?;
        Some(heard.remove(at))
    }

    async fn reply(&self, opaque: i32) -> Command {
        for _ in 0..100_000 {
            if let Some(reply) = self.replied(opaque) {
                return reply;
            }
            sleep(Duration::from_millis(1)).await;
        }
        panic!("no reply to {opaque}");
    }

    async fn ask(&self, request: Command) -> Command {
        let opaque = self.send(request);
        self.reply(opaque).await
    }

    /// What the broker said without being asked.
    fn told(&self) -> Vec<Command> {
        let mut heard = self.heard.lock();
        heard.extract_if(.., |command| !command.is_reply()).collect()
    }

    fn close(&self) {
        self.connection.close();
        self.door.closed(&self.connection);
    }

    async fn publish(&self, topic: &str, queue: i32, properties: &str, body: &str) -> Command {
        self.ask(send(topic, queue, properties).write().body(body.to_owned())).await
    }

    /// One pull that is not held: its code, where the next begins, and messages.
    async fn pull(&self, topic: &str, queue: i32, offset: i64) -> Pulled {
        pulled(self.ask(pull(topic, queue, offset, "*").write()).await)
    }

    async fn heartbeat(&self, client: &str, consumers: Vec<ConsumerData>, producers: &[&str]) -> Command {
        let heartbeat = Heartbeat {
            client_id: client.into(),
            consumer_data_set: consumers,
            producer_data_set: producers.iter().map(|p| ProducerData { group_name: (*p).into() }).collect(),
            ..Heartbeat::default()
        };
        self.ask(Command::request(code::HEART_BEAT).body(json::write(&heartbeat))).await
    }
}

#[derive(Debug)]
struct Pulled {
    code: i32,
    next: i64,
    min: i64,
    max: i64,
    messages: Vec<Message>,
}

impl Pulled {
    fn bodies(&self) -> Vec<String> {
        self.messages.iter().map(|message| String::from_utf8_lossy(&message.body).into_owned()).collect()
    }
}

fn pulled(reply: Command) -> Pulled {
    let number = |name| reply.fields.number::<i64>(name).unwrap_or(-99);
    let mut body = reply.body.clone();
    let mut messages = Vec::new();
    while !body.is_empty() {
        messages.push(Message::take(&mut body).unwrap());
    }
    Pulled {
        code: reply.code,
        next: number("nextBeginOffset"),
        min: number("minOffset"),
        max: number("maxOffset"),
        messages,
    }
}

fn send<'a>(topic: &'a str, queue: i32, properties: &'a str) -> Send<'a> {
    Send {
        group: "p",
        topic,
        default_topic: "TBW102",
        default_queues: 4,
        queue,
        born_timestamp: BEGAN,
        properties,
        ..Send::default()
    }
}

fn pull<'a>(topic: &'a str, queue: i32, offset: i64, tags: &'a str) -> Pull<'a> {
    Pull { group: "g", topic, queue, offset, max_messages: 32, subscription: Some(tags), ..Pull::default() }
}

fn held<'a>(topic: &'a str, queue: i32, offset: i64, tags: &'a str, ms: u64) -> Pull<'a> {
    Pull { suspend: Suspend::For(ms), ..pull(topic, queue, offset, tags) }
}

fn commit(group: &str, topic: &str, queue: i32, offset: i64) -> Command {
    Command::request(code::UPDATE_CONSUMER_OFFSET)
        .with("consumerGroup", group)
        .with("topic", topic)
        .with("queueId", queue)
        .with("commitOffset", offset)
}

/// As [`commit`], and nobody waits for an answer.
fn commit_one_way(group: &str, topic: &str, queue: i32, offset: i64) -> Command {
    Command { flag: Command::one_way(0).flag, ..commit(group, topic, queue, offset) }
}

/// Where a group is in a queue of a topic.
fn query(group: &str, topic: &str, queue: i32) -> Command {
    Command::request(code::QUERY_CONSUMER_OFFSET)
        .with("consumerGroup", group)
        .with("topic", topic)
        .with("queueId", queue)
}

fn consumes(group: &str, topic: &str, version: i64) -> ConsumerData {
    let mut subscription = Subscription::by_tags(topic, "*").unwrap();
    subscription.sub_version = version;
    ConsumerData {
        group_name: group.into(),
        subscription_data_set: vec![subscription],
        ..ConsumerData::default()
    }
}

fn property<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    super::properties::get(std::str::from_utf8(&message.properties).unwrap(), name)
}

fn text(body: &Bytes) -> String {
    String::from_utf8_lossy(body).into_owned()
}

async fn wait(ms: u64) {
    sleep(Duration::from_millis(ms)).await;
}
