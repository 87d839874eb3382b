//! A shelf on a simulated disk, asked one request at a time.

use std::sync::Arc;

use bytes::Bytes;
use disk::simulated::Device;
use parking_lot::Mutex;
use protocol::bookie::{AddOptions, Answer, Outcome, ReadOptions, Refusal, Request};
use protocol::entry::{Digest, DigestType, Header, MasterKey};
use protocol::{EntryId, LedgerId};

use crate::duty::Duty;
use crate::error::Error;
use crate::index::{MemoryIndex, MemoryIndexDisk};
use crate::shelf::{Config, Reader, Shelf, Staged, StartReport};

/// Notes the answer; a duty that was dropped leaves none.
#[derive(Clone, Default)]
pub struct Noted(Arc<Mutex<Option<Outcome>>>);

impl Noted {
    pub fn get(&self) -> Option<Outcome> {
        self.0.lock().clone()
    }
}

impl Duty for Noted {
    fn answer(self, outcome: Outcome) {
        assert!(self.0.lock().replace(outcome).is_none(), "answered twice");
    }
}

pub struct Machine {
    pub device: Device,
    pub index: MemoryIndexDisk,
    pub config: Config,
    nonce: u64,
}

pub struct Running {
    pub shelf: Shelf<Noted>,
    pub reader: Reader,
    pub report: StartReport,
}

pub fn small() -> Config {
    Config {
        identity: [7; 16],
        segment_bytes: 16 << 10,
        group_bytes: 4 << 10,
        reserve_bytes: 2 << 10,
        index_reserve: 0,
        flush_bytes: 8 << 10,
        flush_entries: 64,
        recycle: 1,
        open_files: 4,
        ledgers_in_memory: 4,
        readahead_bytes: 4 << 10,
    }
}

impl Machine {
    pub fn new(seed: u64) -> Machine {
        Machine {
            device: Device::new(seed, 1 << 20),
            index: MemoryIndexDisk::new(),
            config: small(),
            nonce: seed,
        }
    }

    pub fn try_start(&mut self) -> Result<Running, Error> {
        self.nonce += 1;
        let index = Arc::new(MemoryIndex::open(&self.index));
        let (shelf, report) = Shelf::open(self.device.mount(), index, self.config.clone(), self.nonce)?;
        Ok(Running { reader: shelf.reader(), shelf, report })
    }

    pub fn start(&mut self) -> Running {
        self.try_start().expect("the shelf starts")
    }

    /// The power fails; of what the index did not flush some prefix stays.
    pub fn lose_power(&mut self, dice: u64) {
        self.device.lose_power();
        self.index.lose_power(dice);
    }

    /// The process dies; what it wrote stays.
    pub fn kill(&mut self) {
        self.device.kill();
        self.index.lose_power(u64::MAX);
    }
}

pub fn key() -> MasterKey {
    MasterKey::of(b"")
}

pub fn body(ledger: i64, entry: i64, size: usize) -> Bytes {
    let header = Header {
        ledger: LedgerId(ledger),
        entry: EntryId(entry),
        lac: EntryId(entry - 1),
        length: (entry + 1) * size as i64,
    };
    let payload: Vec<u8> = (0..size).map(|i| (i as i64 * 31 + entry * 7 + ledger) as u8).collect();
    Digest::new(DigestType::Crc32c, b"").encode(&header, &payload)
}

pub fn add(ledger: i64, entry: i64, size: usize) -> Request {
    let options = AddOptions::default();
    let body = body(ledger, entry, size).into();
    Request::Add { ledger: LedgerId(ledger), entry: EntryId(entry), key: key(), body, options }
}

pub fn recovery_add(ledger: i64, entry: i64, size: usize) -> Request {
    let options = AddOptions { recovery: true, high_priority: true, deferred_sync: false };
    let body = body(ledger, entry, size).into();
    Request::Add { ledger: LedgerId(ledger), entry: EntryId(entry), key: key(), body, options }
}

pub fn deferred_add(ledger: i64, entry: i64, size: usize) -> Request {
    let options = AddOptions { deferred_sync: true, ..AddOptions::default() };
    let body = body(ledger, entry, size).into();
    Request::Add { ledger: LedgerId(ledger), entry: EntryId(entry), key: key(), body, options }
}

pub fn read(ledger: i64, entry: i64) -> Request {
    Request::Read { ledger: LedgerId(ledger), entry: EntryId(entry), options: ReadOptions::default() }
}

pub fn fence(ledger: i64, entry: i64) -> Request {
    let options = ReadOptions { fence: Some(key()), ..ReadOptions::default() };
    Request::Read { ledger: LedgerId(ledger), entry: EntryId(entry), options }
}

pub fn entry(ledger: i64, entry: i64, size: usize) -> Option<Outcome> {
    Some(Ok(Answer::Entry { body: body(ledger, entry, size), max_lac: None }))
}

pub const ADDED: Option<Outcome> = Some(Ok(Answer::Added));

pub fn refused(refusal: Refusal) -> Option<Outcome> {
    Some(Err(refusal))
}

impl Running {
    /// Stages a request as the service does, vouching for all strangers. Reads that may go at once are answered.
    pub fn stage(&mut self, request: Request) -> Noted {
        let noted = Noted::default();
        let mut staged = self.shelf.stage(request, noted.clone());
        for _ in 0..4 {
            staged = match staged {
                Staged::Taken => return noted,
                Staged::Read(request, duty) => {
                    duty.answer(self.reader.serve(&request));
                    return noted;
                }
                Staged::Full(request, duty) => {
                    self.commit();
                    self.shelf.stage(request, duty)
                }
                Staged::Stranger(request, duty) => {
                    self.shelf.vouch(request.ledger().expect("an add"));
                    self.shelf.stage(request, duty)
                }
            };
        }
        panic!("a request is never taken");
    }

    /// Whether it worked.
    pub fn commit(&mut self) -> bool {
        let Ok(committed) = self.shelf.commit() else { return false };
        for (request, duty) in committed.reads {
            duty.answer(self.reader.serve(&request));
        }
        true
    }

    pub fn ask(&mut self, request: Request) -> Option<Outcome> {
        let noted = self.stage(request);
        self.commit();
        noted.get()
    }
}
