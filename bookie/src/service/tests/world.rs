//! What outlives the bookie under test: disks, index folders, metadata.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use bytes::Bytes;
use disk::simulated::Device;
use metadata::embedded::{Embedded, Sizes};
use metadata::store::{Doing, Page, Watch};
use metadata::{
    KeyValue, LeaseId, LedgerMetadata, Ledgers, Revision, Scope, Segment, State, Store, Txn, TxnOutcome,
};
use net::{Failure, Inbox, Reply};
use protocol::bookie::{AddOptions, Answer, ReadOptions, Refusal, Request};
use protocol::entry::{Digest, DigestType, Header, MasterKey};
use protocol::{BookieId, EntryId, LedgerId};

use crate::index::memory::{MemoryIndex, MemoryIndexDisk};
use crate::service::{Bookie, Run, Surroundings, Volume};
use crate::{Error, Settings};

pub fn id(text: &str) -> BookieId {
    text.parse().unwrap_or_else(|error| unreachable!("{error}"))
}

/// One data folder: its files and its index.
#[derive(Clone)]
pub struct Drive {
    pub device: Device,
    pub index: MemoryIndexDisk,
}

impl Drive {
    pub fn new(seed: u64) -> Drive {
        Drive { device: Device::new(seed, 16 << 20), index: MemoryIndexDisk::new() }
    }

    pub fn lose_power(&self) {
        self.device.lose_power();
        self.index.lose_power(7);
    }

    /// A copy of everything, to be put back later.
    pub fn snapshot(&self) -> impl Fn() + use<> {
        let (drive, files, index) = (self.clone(), self.device.snapshot(), self.index.snapshot());
        move || {
            drive.device.restore(&files);
            drive.index.restore(index.clone());
        }
    }

    pub fn wipe(&self) {
        self.device.wipe();
        self.index.wipe();
    }
}

pub struct World {
    pub store: Arc<dyn Store>,
    pub ledgers: Ledgers,
    pub drives: Vec<Drive>,
    pub settings: Settings,
    starts: u64,
}

impl World {
    pub async fn new() -> World {
        World::with_drives(1).await
    }

    pub async fn with_drives(count: u64) -> World {
        let device = Device::new(99, 64 << 20);
        let store = match Embedded::open(device.mount(), Sizes { log: 256 << 10, history: 1000 }) {
            Ok(store) => store,
            Err(error) => unreachable!("{error}"),
        };
        World::over(store, count).await
    }

    pub async fn over(store: Arc<dyn Store>, count: u64) -> World {
        let scope = Scope::new("/test").unwrap_or_else(|error| unreachable!("{error}"));
        metadata::cluster::init(&*store, &scope, "3b241101-e2bb-4255-8caf-4136c566a962")
            .await
            .unwrap_or_else(|e| unreachable!("{e}"));
        let mut settings = Settings::new(id("b1:3181"));
        settings.memory = 8 << 20;
        settings.segment_bytes = 256 << 10;
        settings.reserve_bytes = 64 << 10;
        settings.index_reserve = 0;
        let ledgers = Ledgers::new(store.clone(), scope, 1);
        World { store, ledgers, drives: (0..count).map(Drive::new).collect(), settings, starts: 0 }
    }

    pub async fn start(&mut self) -> Result<Bookie, Error> {
        self.starts += 1;
        let volume = |(number, drive): (usize, &Drive)| Volume {
            name: format!("disk-{number}"),
            disk: drive.device.mount(),
            index: Arc::new(MemoryIndex::open(&drive.index)),
        };
        let volumes = self.drives.iter().enumerate().map(volume).collect();
        let surroundings = Surroundings { seed: self.starts, run: Run::Tasks { turn: None } };
        Bookie::start(self.settings.clone(), volumes, self.ledgers.clone(), surroundings).await
    }

    /// A ledger that names `bookies`, with one bookie for each of E and Qw.
    pub async fn ledger(&self, ledger: i64, state: State, bookies: &[&str]) {
        let metadata = LedgerMetadata {
            ensemble_size: bookies.len() as u32,
            write_quorum: bookies.len() as u32,
            ack_quorum: 1,
            state,
            segments: vec![Segment { first: EntryId(0), ensemble: bookies.iter().map(|b| id(b)).collect() }],
            digest: DigestType::Crc32c,
            password: Bytes::new(),
            created_ms: None,
            custom: Default::default(),
            token: 0,
        };
        let ledger = LedgerId(ledger);
        self.ledgers.delete(ledger, None).await.unwrap_or_else(|error| unreachable!("{error}"));
        self.ledgers.create_as(ledger, metadata).await.unwrap_or_else(|error| unreachable!("{error}"));
    }

    pub async fn open_ledger(&self, ledger: i64) {
        self.ledger(ledger, State::Open, &["b1:3181"]).await;
    }

    pub async fn closed_ledger(&self, ledger: i64, last: i64) {
        self.ledger(ledger, State::Closed { last: EntryId(last), length: last + 1 }, &["b1:3181"]).await;
    }
}

pub fn body(ledger: i64, entry: i64, lac: i64, payload: &[u8]) -> Bytes {
    let header = Header {
        ledger: LedgerId(ledger),
        entry: EntryId(entry),
        lac: EntryId(lac),
        length: payload.len() as i64,
    };
    Digest::new(DigestType::Crc32c, b"").encode(&header, payload)
}

pub fn add_request(ledger: i64, entry: i64, payload: &[u8], options: AddOptions) -> Request {
    Request::Add {
        ledger: LedgerId(ledger),
        entry: EntryId(entry),
        key: MasterKey::of(b""),
        body: body(ledger, entry, entry - 1, payload).into(),
        options,
    }
}

pub async fn ask(bookie: &Bookie, request: Request) -> Reply {
    let inbox = Inbox::new();
    bookie.handle(request, inbox.expect(0));
    let replies = tokio::time::timeout(Duration::from_secs(120), inbox.take()).await;
    match replies.ok().and_then(|mut replies| replies.pop_front()) {
        Some((_, reply)) => reply,
        None => Err(Failure::TimedOut),
    }
}

/// Asks all at once; the replies, in the order of the requests.
pub async fn ask_all(bookie: &Bookie, requests: Vec<Request>) -> Vec<Reply> {
    let inbox = Inbox::new();
    let count = requests.len();
    for (token, request) in requests.into_iter().enumerate() {
        bookie.handle(request, inbox.expect(token as u64));
    }
    let mut replies = Vec::new();
    while replies.len() < count {
        replies.extend(inbox.take().await);
    }
    replies.sort_by_key(|(token, _)| *token);
    replies.into_iter().map(|(_, reply)| reply).collect()
}

pub async fn add(bookie: &Bookie, ledger: i64, entry: i64) -> Reply {
    ask(bookie, add_request(ledger, entry, b"payload", AddOptions::default())).await
}

pub async fn recovery_add(bookie: &Bookie, ledger: i64, entry: i64) -> Reply {
    let options = AddOptions { recovery: true, high_priority: true, deferred_sync: false };
    ask(bookie, add_request(ledger, entry, b"payload", options)).await
}

pub fn read_request(ledger: i64, entry: i64) -> Request {
    Request::Read { ledger: LedgerId(ledger), entry: EntryId(entry), options: ReadOptions::default() }
}

pub async fn read(bookie: &Bookie, ledger: i64, entry: i64) -> Reply {
    ask(bookie, read_request(ledger, entry)).await
}

pub async fn fence(bookie: &Bookie, ledger: i64) -> Reply {
    let options = ReadOptions { fence: Some(MasterKey::of(b"")), ..ReadOptions::default() };
    ask(bookie, Request::Read { ledger: LedgerId(ledger), entry: EntryId::NONE, options }).await
}

pub fn refused(refusal: Refusal) -> Reply {
    Err(Failure::Refused(refusal))
}

pub fn added() -> Reply {
    Ok(Answer::Added)
}

/// The answer to a read of an entry that [`add`] made.
pub fn the_entry(ledger: i64, entry: i64) -> Reply {
    Ok(Answer::Entry { body: body(ledger, entry, entry - 1, b"payload"), max_lac: None })
}

pub async fn seconds(n: u64) {
    tokio::time::sleep(Duration::from_secs(n)).await;
}

/// A store that can be out of reach, or slow, and whose listings can omit ledgers.
pub struct Faulty {
    inner: Arc<dyn Store>,
    down: AtomicBool,
    omitting: AtomicBool,
    /// How long reads take.
    delay_ms: AtomicU64,
    /// How many keys of ledgers were read.
    ledgers_read: AtomicU64,
}

impl Faulty {
    pub async fn new() -> Arc<Faulty> {
        let inner = World::new().await.store;
        Arc::new(Faulty {
            inner,
            down: Default::default(),
            omitting: Default::default(),
            delay_ms: Default::default(),
            ledgers_read: Default::default(),
        })
    }

    pub fn down(&self, down: bool) {
        self.down.store(down, Relaxed);
    }

    pub fn omit_from_listings(&self, omit: bool) {
        self.omitting.store(omit, Relaxed);
    }

    pub fn delay(&self, delay: Duration) {
        self.delay_ms.store(delay.as_millis() as u64, Relaxed);
    }

    /// How many keys of ledgers were read since the last call.
    pub fn ledgers_read(&self) -> u64 {
        self.ledgers_read.swap(0, Relaxed)
    }

    fn up(&self) -> Result<(), metadata::Error> {
        match self.down.load(Relaxed) {
            true => Err(metadata::Error::Unavailable("down".into())),
            false => Ok(()),
        }
    }
}

impl Store for Faulty {
    fn get<'a>(&'a self, key: &'a str) -> Doing<'a, Option<KeyValue>> {
        Box::pin(async move {
            self.up()?;
            self.ledgers_read.fetch_add(u64::from(key.contains("/ledgers/")), Relaxed);
            tokio::time::sleep(Duration::from_millis(self.delay_ms.load(Relaxed))).await;
            self.inner.get(key).await
        })
    }

    fn range<'a>(&'a self, prefix: &'a str, after: Option<&'a str>, limit: usize) -> Doing<'a, Page> {
        Box::pin(async move {
            self.up()?;
            let mut page = self.inner.range(prefix, after, limit).await?;
            if self.omitting.load(Relaxed) && prefix.ends_with("/ledgers/") {
                page.entries.clear();
                page.more = false;
            }
            Ok(page)
        })
    }

    fn txn(&self, txn: Txn) -> Doing<'_, TxnOutcome> {
        Box::pin(async move {
            self.up()?;
            self.inner.txn(txn).await
        })
    }

    fn grant(&self, ttl: Duration) -> Doing<'_, LeaseId> {
        Box::pin(async move {
            self.up()?;
            self.inner.grant(ttl).await
        })
    }

    fn renew(&self, lease: LeaseId) -> Doing<'_, ()> {
        Box::pin(async move {
            self.up()?;
            self.inner.renew(lease).await
        })
    }

    fn revoke(&self, lease: LeaseId) -> Doing<'_, ()> {
        self.inner.revoke(lease)
    }

    fn watch<'a>(&'a self, prefix: &'a str, from: Revision) -> Doing<'a, Box<dyn Watch>> {
        self.inner.watch(prefix, from)
    }
}
