//! What must be true, checked while it happens.
//!
//! The judge stands outside the cluster and hears everything: each request as it leaves, as it reaches a bookie, each
//! answer, each committed change of metadata, and what clients were told. From that it keeps a model that is not
//! faulty, and compares. It trusts nobody: neither a bookie's memory of what it said, nor a client's of what it sent.
//!
//! * [`wire`]: what bookies said (I9–I12, B1, B4, B6, B8)
//! * [`metadata`]: what was agreed (I5–I7, I16, I17)
//! * [`ledgers`]: what clients of single ledgers saw (I1–I4, I8, I14)
//! * [`memory`]: what bookies hold for requests that they have not answered (B10)
//! * [`brokers`]: what clients of virtual brokers were told (Q1–Q5)
//! * [`logs`]: what owners and readers of logs saw (the same for positions, and one owner at a time)

pub mod brokers;
pub mod ledgers;
pub mod logs;
pub mod memory;
pub mod metadata;
pub mod wire;

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Something that must never happen has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// I1–I18, B1–B10.
    pub rule: &'static str,
    pub text: String,
    /// Simulated milliseconds since the run began.
    pub at_ms: u128,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} violated at {} ms: {}", self.rule, self.at_ms, self.text)
    }
}

/// The bytes of an entry's payload, without keeping them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Value {
    pub hash: u64,
    pub len: usize,
}

impl Value {
    pub fn of(bytes: &[u8]) -> Value {
        let mut hasher = DefaultHasher::new();
        hasher.write(bytes);
        Value { hash: hasher.finish(), len: bytes.len() }
    }
}

pub struct Judge {
    model: Mutex<Model>,
    found: Notify,
}

pub struct Model {
    began: Instant,
    pub wire: wire::Wire,
    pub metadata: metadata::Metadata,
    pub ledgers: ledgers::Ledgers,
    pub logs: logs::Logs,
    pub memory: memory::Memory,
    pub brokers: brokers::Brokers,
    /// What happened how often: a run that did nothing proves nothing.
    pub tally: BTreeMap<&'static str, u64>,
    violations: Vec<Violation>,
}

impl Judge {
    pub fn new() -> Arc<Judge> {
        let model = Model {
            began: Instant::now(),
            wire: Default::default(),
            metadata: Default::default(),
            ledgers: Default::default(),
            logs: Default::default(),
            memory: Default::default(),
            brokers: Default::default(),
            tally: BTreeMap::new(),
            violations: Vec::new(),
        };
        Arc::new(Judge { model: Mutex::new(model), found: Notify::new() })
    }

    pub fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock()
    }

    /// Tells the judge something; wakes whoever waits for a verdict if it was wrong.
    pub fn hear<T>(&self, what: impl FnOnce(&mut Model) -> T) -> T {
        let mut model = self.model.lock();
        let before = model.violations.len();
        let said = what(&mut model);
        let more = model.violations.len() > before;
        drop(model);
        if more {
            self.found.notify_one();
        }
        said
    }

    pub fn count(&self, what: &'static str) {
        self.model.lock().count(what);
    }

    /// Waits until something is wrong.
    pub async fn violated(&self) {
        loop {
            let found = self.found.notified();
            if !self.model.lock().violations.is_empty() {
                return;
            }
            found.await;
        }
    }

    pub fn violations(&self) -> Vec<Violation> {
        self.model.lock().violations.clone()
    }
}

impl Model {
    pub fn violation(&mut self, rule: &'static str, text: impl Into<String>) {
        let at_ms = self.began.elapsed().as_millis();
        self.violations.push(Violation { rule, text: text.into(), at_ms });
    }

    pub fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    pub fn counted(&self, what: &'static str) -> u64 {
        self.tally.get(what).copied().unwrap_or(0)
    }
}
