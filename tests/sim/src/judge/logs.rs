//! What owners and readers of logs saw.

use std::collections::{BTreeMap, BTreeSet};

use ledger::log::{Epoch, LogName, Position};

use super::{Model, Value};
use crate::process::ProcessId;

#[derive(Default)]
pub struct Logs {
    logs: BTreeMap<LogName, Log>,
    owners: BTreeSet<ProcessId>,
}

#[derive(Default)]
struct Log {
    /// Every entry that somebody was told of, by acknowledgement or by reading.
    entries: BTreeMap<Position, Value>,
    acknowledged: Position,
    trimmed: Position,
    /// The newest owner that open() has returned to.
    epoch: Epoch,
}

impl Log {
    /// Notes an entry; what is wrong with it.
    fn note(&mut self, at: Position, value: Value) -> Option<String> {
        if let Some(before) = self.entries.get(&at) {
            return (*before != value).then(|| format!("position {at} holds two different entries"));
        }
        let end = at.after(value.len);
        let before = self.entries.range(..at).next_back().map(|(at, value)| at.after(value.len));
        if before.is_some_and(|before| before > at) {
            return Some(format!("the entry at {at} begins inside the one before it"));
        }
        let next = self.entries.range(at..).next().map(|(at, _)| *at);
        if next.is_some_and(|next| next < end) {
            return Some(format!("the entry at {at} ends inside the one after it"));
        }
        self.entries.insert(at, value);
        None
    }
}

impl Logs {
    pub fn acknowledged(&self, name: &LogName) -> Position {
        self.logs.get(name).map_or(Position::START, |log| log.acknowledged)
    }

    pub fn trimmed(&self, name: &LogName) -> Position {
        self.logs.get(name).map_or(Position::START, |log| log.trimmed)
    }

    /// A process that opens logs: it may recover their ledgers.
    pub fn owns(&mut self, process: ProcessId) {
        self.owners.insert(process);
    }

    pub fn is_owner(&self, process: ProcessId) -> bool {
        self.owners.contains(&process)
    }

    pub fn names(&self) -> impl Iterator<Item = &LogName> {
        self.logs.keys()
    }
}

impl Model {
    fn log(&mut self, name: &LogName) -> &mut Log {
        self.logs.logs.entry(name.clone()).or_default()
    }

    /// `open` has returned to a new owner.
    pub fn opened(&mut self, name: &LogName, epoch: Epoch, acknowledged: Position) {
        self.count("logs opened");
        let log = self.log(name);
        let (newest, known) = (log.epoch, log.acknowledged);
        log.epoch = newest.max(epoch);
        log.acknowledged = known.max(acknowledged);
        if epoch == newest {
            self.violation("I16", format!("log {name}: epoch {epoch:?} was given twice"));
        }
        // One that was slow to open, and has been robbed meanwhile, begins where it was robbed.
        if acknowledged < known && epoch > newest {
            let text = format!(
                "log {name}: the owner of {epoch:?} begins at {acknowledged}, {known} had been acknowledged"
            );
            self.violation("I1", text);
        }
    }

    /// An owner was told that its entry is safe.
    pub fn log_acknowledged(&mut self, name: &LogName, epoch: Epoch, at: Position, value: Value) {
        self.count("log entries acknowledged");
        let log = self.log(name);
        let newest = log.epoch;
        let new = at.after(value.len) > log.acknowledged;
        log.acknowledged = log.acknowledged.max(at.after(value.len));
        let wrong = log.note(at, value);
        if epoch < newest && new {
            let text = format!(
                "log {name}: the owner of {epoch:?} had {at} acknowledged although {newest:?} owns the log"
            );
            self.violation("I10", text);
        }
        if let Some(wrong) = wrong {
            self.violation("I2", format!("log {name}: acknowledged to {epoch:?}: {wrong}"));
        }
    }

    /// A reader was given an entry.
    pub fn log_read(&mut self, name: &LogName, at: Position, value: Value) {
        self.count("log entries read");
        let log = self.log(name);
        if let Some(wrong) = log.note(at, value) {
            self.violation("I2", format!("log {name}: read: {wrong}"));
        }
    }

    pub fn log_trimmed(&mut self, name: &LogName, first: Position) {
        let log = self.log(name);
        log.trimmed = log.trimmed.max(first);
    }

    /// Something that was acknowledged could not be read although nothing prevents it.
    pub fn log_lost(&mut self, name: &LogName, at: Position, why: &str) {
        self.violation(
            "I1",
            format!("log {name}: position {at} was acknowledged, and cannot be read: {why}"),
        );
    }
}
