//! What the tests stand on: logs that live in memory and can be cut off, a clock, and a virtual broker.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Weak};
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use ledger::Ended;
use ledger::log::memory::MemoryLogs;
use ledger::log::{
    self, Asking, Doing, Entry, Epoch, Keep, Limits as LogLimits, Link, Log, LogName, Logs, Position,
    Progress,
};
use net::Wake;
use parking_lot::Mutex;
use protocol::message::stored::Message;
use tokio::sync::watch;

use crate::error::Error;
use crate::index::Rows;
use crate::state::topic::perm;
use crate::state::{Change, Settings, Topic, TopicId};
use crate::vb::clock::Clock;
use crate::vb::{Limits, NewMessage, Now, Record, Refused, Staged, Vb, VbSettings, Watcher};

pub const WALL: i64 = 1_700_000_000_000;

/// Milliseconds pass as tokio's clock says.
pub struct TestClock {
    began: tokio::time::Instant,
    pub in_doubt: AtomicBool,
}

impl Clock for TestClock {
    fn now(&self) -> Now {
        let at = self.began.elapsed();
        Now { wall: WALL + at.as_millis() as i64, at }
    }

    fn doubt(&self, _newest: i64) -> Option<String> {
        self.in_doubt.load(SeqCst).then(|| "a test says so".into())
    }
}

/// Takes note of what it is told.
#[derive(Default)]
pub struct Noted {
    pub visible: Mutex<Vec<(TopicId, u16)>>,
    pub ended: Mutex<bool>,
}

impl Watcher for Noted {
    fn visible(&self, _vb: &Arc<Vb>, queues: &[(TopicId, u16)]) {
        self.visible.lock().extend(queues);
    }

    fn ended(&self, _vb: &Arc<Vb>) {
        *self.ended.lock() = true;
    }
}

/// Logs that end after a number of appends to any of them, as if their process had been killed then.
pub struct Mortal {
    pub logs: MemoryLogs,
    pub appends: Arc<AtomicU64>,
    pub most: u64,
    pub reads: Arc<Reads>,
    pub trims: Arc<Mutex<Trims>>,
}

impl Mortal {
    /// Logs that never end so.
    pub fn on(logs: &MemoryLogs) -> Mortal {
        let (appends, reads, trims) = Default::default();
        Mortal { logs: logs.clone(), appends, most: u64::MAX, reads, trims }
    }
}

/// What becomes of a trim of the virtual broker's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trims {
    #[default]
    Done,
    Refused,
    /// It is left for another time, and nobody is told.
    Skipped,
}

/// What was read of the virtual broker's log.
#[derive(Default)]
pub struct Reads {
    /// Bytes of whole entries, and of parts of them.
    pub whole: AtomicU64,
    pub parts: AtomicU64,
    /// Parts are not what was appended.
    pub damaged: AtomicBool,
    pub doubts: AtomicU64,
}

impl Logs for Mortal {
    fn open<'a>(&'a self, name: &'a LogName) -> Doing<'a, Arc<dyn Log>> {
        Box::pin(async move {
            let log = self.logs.open(name).await?;
            let (reads, trims) = match name.as_str() {
                "vb-3" => (self.reads.clone(), self.trims.clone()),
                _ => Default::default(),
            };
            let (appends, most) = (self.appends.clone(), self.most);
            Ok(Arc::new(MortalLog { log, appends, most, reads, trims }) as Arc<dyn Log>)
        })
    }

    fn links<'a>(&'a self, name: &'a LogName) -> Doing<'a, Vec<Link>> {
        self.logs.links(name)
    }
}

struct MortalLog {
    log: Arc<dyn Log>,
    appends: Arc<AtomicU64>,
    most: u64,
    reads: Arc<Reads>,
    trims: Arc<Mutex<Trims>>,
}

impl MortalLog {
    fn alive(&self) -> Result<(), Ended> {
        match self.appends.load(SeqCst) > self.most {
            true => Err(Ended::Failed("killed".into())),
            false => Ok(()),
        }
    }
}

impl Log for MortalLog {
    fn epoch(&self) -> Epoch {
        self.log.epoch()
    }

    fn append(&self, parts: &[Bytes]) -> Result<Position, log::Refused> {
        self.appends.fetch_add(1, SeqCst);
        self.alive()?;
        self.log.append(parts)
    }

    fn room(&self, bytes: usize) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.log.room(bytes)
    }

    fn progress(&self) -> watch::Receiver<Progress> {
        self.log.progress()
    }

    fn follow(&self, follower: Weak<dyn Wake>) {
        self.log.follow(follower);
    }

    fn read(&self, from: Position, max_bytes: usize) -> Doing<'_, Vec<Entry>> {
        Box::pin(async move {
            let entries = self.log.read(from, max_bytes).await?;
            let bytes = entries.iter().map(|entry| entry.body.len() as u64).sum();
            self.reads.whole.fetch_add(bytes, SeqCst);
            Ok(entries)
        })
    }

    fn read_part(&self, from: Position, len: usize) -> Asking<'_, Bytes> {
        Box::pin(async move {
            let part = self.log.read_part(from, len).await?;
            self.reads.parts.fetch_add(part.len() as u64, SeqCst);
            match self.reads.damaged.load(SeqCst) {
                true => Some(part.iter().map(|byte| !byte).collect()),
                false => Some(part),
            }
        })
    }

    fn doubt(&self, at: Position) {
        self.reads.doubts.fetch_add(1, SeqCst);
        self.log.doubt(at);
    }

    fn trim(&self, up_to: Position) -> Doing<'_, Position> {
        Box::pin(async move {
            self.alive()?;
            let trims = *self.trims.lock();
            match trims {
                Trims::Done => self.log.trim(up_to).await,
                Trims::Refused => Err(ledger::Error::Unavailable("a test says so".into())),
                Trims::Skipped => Ok(Position::START),
            }
        })
    }

    fn thin<'a>(&'a self, base: Position, keep: &'a Keep) -> Doing<'a, bool> {
        Box::pin(async move {
            self.alive()?;
            self.log.thin(base, keep).await
        })
    }

    fn links(&self) -> Doing<'_, Vec<Link>> {
        self.log.links()
    }

    fn roll(&self) -> Doing<'_, ()> {
        Box::pin(async move {
            self.alive()?;
            self.log.roll().await
        })
    }

    fn seal(&self) -> Doing<'_, Position> {
        self.log.seal()
    }
}

/// One virtual broker and its logs.
pub struct World {
    pub logs: MemoryLogs,
    pub limits: Limits,
    pub noted: Arc<Noted>,
    pub clock: Arc<TestClock>,
}

pub const TOPICS: [(&str, u32); 3] = [("orders", 1), ("payments", 2), ("a-long-one", 3)];

/// A topic whose messages are kept for 30 days.
pub fn kept_for_long(id: TopicId, name: &str) -> Change {
    with_attribute(id, name, "reserve.time", 30 * 24 * 3_600_000)
}

pub fn with_attribute(id: TopicId, name: &str, key: &str, value: u64) -> Change {
    let mut topic = Topic::new(id, name, 4, perm::ALL);
    topic.attributes.insert(key.into(), value.to_string());
    Change::Topic(topic)
}

pub fn name(text: &str) -> LogName {
    LogName::new(text).unwrap()
}

impl World {
    pub fn new(limits: Limits, roll_bytes: u64) -> World {
        World {
            logs: MemoryLogs::new(LogLimits { roll_bytes, ..LogLimits::default() }),
            limits,
            noted: Arc::default(),
            clock: Arc::new(TestClock {
                began: tokio::time::Instant::now(),
                in_doubt: AtomicBool::new(false),
            }),
        }
    }

    pub async fn open(&self) -> Arc<Vb> {
        self.open_on(&self.logs).await.unwrap()
    }

    pub async fn open_on(&self, logs: &dyn Logs) -> Result<Arc<Vb>, Error> {
        let settings = VbSettings {
            id: 3,
            name: "broker-3".into(),
            address: "10.0.0.1:10941".parse().unwrap(),
            log: name("vb-3"),
            checkpoints: name("vb-3-checkpoint"),
            limits: self.limits,
            settings: Settings::default(),
        };
        Vb::open(settings, logs, self.clock.clone(), self.noted.clone()).await
    }

    /// As [`World::open`], with the topics there.
    pub async fn founded(&self) -> Arc<Vb> {
        self.founded_on(&self.logs).await
    }

    pub async fn founded_on(&self, logs: &dyn Logs) -> Arc<Vb> {
        let vb = self.open_on(logs).await.unwrap();
        for (name, id) in TOPICS {
            let topic = Topic::new(TopicId(id), name, 4, perm::ALL);
            change(&vb, &Change::Topic(topic)).unwrap();
        }
        settle().await;
        vb
    }
}

/// Whether it is ready within so many polls; others run in between.
pub async fn poll_often(future: &mut (impl Future + Unpin), polls: usize) -> bool {
    for _ in 0..polls {
        if Pin::new(&mut *future).poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return true;
        }
        tokio::task::yield_now().await;
    }
    false
}

/// Lets all tasks run until nothing moves.
pub async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

pub fn change(vb: &Vb, change: &Change) -> Result<Staged, Refused> {
    let staged = vb.core().stage(&[Record::Change(change)], vb.now());
    vb.drive();
    staged
}

pub fn message<'a>(topic: usize, queue: u16, body: &'a [u8], keys: &'a [u64]) -> NewMessage<'a> {
    let (topic_name, id) = TOPICS[topic];
    NewMessage {
        topic: TopicId(id),
        topic_name,
        queue,
        body,
        properties: &[b"KEYS\x01k\x02"],
        flag: 0,
        sys_flag: 0,
        born_time: WALL,
        born_host: "192.168.1.2:50123".parse().unwrap(),
        reconsume_times: 0,
        prepared_offset: 0,
        tag: body.len() as i64,
        keys,
    }
}

/// Stages one message.
pub fn send(vb: &Vb, topic: usize, queue: u16, body: &[u8]) -> Result<Staged, Refused> {
    let key = body.iter().map(|byte| u64::from(*byte)).sum();
    let staged = vb.core().stage(&[Record::Message(message(topic, queue, body, &[key]))], vb.now());
    vb.drive();
    staged
}

/// All messages of a queue from an offset on, as a reader gets them.
pub async fn read_queue(vb: &Vb, topic: usize, queue: u16, mut from: u64) -> Vec<Message> {
    let mut read = Vec::new();
    loop {
        match vb.rows(TopicId(TOPICS[topic].1), queue, from, 7, 10_000).await.unwrap() {
            Rows::Found(rows) => {
                for piece in vb.read_rows(&rows).await.unwrap() {
                    let mut piece = piece;
                    while !piece.is_empty() {
                        read.push(Message::take(&mut piece).unwrap());
                    }
                }
                from += rows.len() as u64;
                assert_eq!(rows.last().unwrap().offset + 1, from);
            }
            Rows::End => return read,
            other => panic!("{other:?}"),
        }
    }
}

pub fn max(vb: &Vb, topic: TopicId, queue: u16) -> u64 {
    vb.core().max_offset(topic, queue)
}

pub fn min(vb: &Vb, topic: TopicId, queue: u16) -> u64 {
    vb.core().min_offset(topic, queue)
}

/// Rows in memory.
pub fn hot(vb: &Vb) -> usize {
    vb.core().index().hot_rows()
}
