//! What clients of single ledgers saw: the history checker.

use std::collections::BTreeMap;

use protocol::{EntryId, LedgerId};

use super::{Model, Value};
use crate::process::ProcessId;

#[derive(Default)]
pub struct Ledgers {
    acknowledged: BTreeMap<LedgerId, EntryId>,
    /// The highest LAC that a client has learnt.
    confirmed: BTreeMap<(ProcessId, LedgerId), EntryId>,
    /// The highest entry that was ever handed to a reader: it must stay readable.
    served: BTreeMap<LedgerId, EntryId>,
}

impl Ledgers {
    /// The last entry of which the writer was told; −1 for none.
    pub fn acknowledged(&self, ledger: LedgerId) -> EntryId {
        self.acknowledged.get(&ledger).copied().unwrap_or(EntryId::NONE)
    }

    pub fn served(&self, ledger: LedgerId) -> EntryId {
        self.served.get(&ledger).copied().unwrap_or(EntryId::NONE)
    }

    pub fn with_acknowledgements(&self) -> impl Iterator<Item = (LedgerId, EntryId)> + '_ {
        self.acknowledged.iter().map(|(ledger, entry)| (*ledger, *entry))
    }
}

impl Model {
    /// A writer was told that its entry is safe.
    pub fn acknowledged(&mut self, ledger: LedgerId, entry: EntryId, value: Value) {
        self.count("entries acknowledged");
        let before = self.ledgers.acknowledged(ledger).max(EntryId(self.wire.first(ledger).0 - 1));
        if entry != before.next() {
            let text = format!("ledger {ledger}: {entry} was acknowledged after {before}");
            self.violation("I3", text);
        }
        if self.wire.value(ledger, entry) != Some(value) {
            let text =
                format!("ledger {ledger}: entry {entry} was acknowledged with other bytes than were sent");
            self.violation("I2", text);
        }
        self.check_end(ledger, entry, "acknowledged");
        self.check_copies(ledger, entry, "had it acknowledged");
        self.ledgers.acknowledged.insert(ledger, entry.max(before));
    }

    /// A reader was given an entry: by a normal read, below a LAC that it had learnt or a ledger's end.
    pub fn was_read(&mut self, ledger: LedgerId, entry: EntryId, value: Value) {
        self.count("entries read");
        match self.wire.value(ledger, entry) {
            None => {
                let text = format!("ledger {ledger}: entry {entry} was read, nobody ever sent it");
                self.violation("I2", text);
            }
            Some(sent) if sent != value => {
                let text = format!("ledger {ledger}: entry {entry} was read with other bytes than were sent");
                self.violation("I2", text);
            }
            Some(_) => {}
        }
        let limit = self.readable(ledger);
        if limit.is_some_and(|limit| entry > limit) {
            let text = format!("ledger {ledger}: entry {entry} was read, only {limit:?} is confirmed");
            self.violation("I4", text);
        }
        let served = self.ledgers.served.entry(ledger).or_insert(EntryId::NONE);
        *served = entry.max(*served);
    }

    /// A client was told how far the ledger is confirmed.
    pub fn confirmed(&mut self, client: ProcessId, ledger: LedgerId, lac: EntryId) {
        let before = self.ledgers.confirmed.insert((client, ledger), lac);
        if before.is_some_and(|before| lac < before) {
            let text = format!("ledger {ledger}: the LAC went back from {before:?} to {lac} at one client");
            self.violation("I4", text);
        }
        // A ledger that begins high says, before its first entry is confirmed, that all before that one is.
        let begun = lac >= self.wire.first(ledger);
        if begun && self.readable(ledger).is_some_and(|limit| lac > limit) {
            let limit = self.readable(ledger);
            let text = format!("ledger {ledger}: a client learnt LAC {lac}, only {limit:?} is confirmed");
            self.violation("I4", text);
        }
    }

    /// A recoverer says where the ledger ends.
    pub fn recovered(&mut self, ledger: LedgerId, last: EntryId, length: i64) {
        self.count("recoveries finished");
        match self.metadata.ledgers.get(&ledger).map(|metadata| metadata.state) {
            Some(metadata::State::Closed { last: agreed, length: sum })
                if (agreed, sum) == (last, length) => {}
            Some(state) => {
                let text = format!(
                    "ledger {ledger}: a recoverer says it ends at {last} ({length} bytes), metadata says {state:?}"
                );
                self.violation("I14", text);
            }
            None => {}
        }
    }

    /// An entry that was once acknowledged or served could not be read although nothing prevents it.
    pub fn lost(&mut self, ledger: LedgerId, entry: EntryId, why: &str) {
        let text = format!("ledger {ledger}: entry {entry} was acknowledged or served, and is lost: {why}");
        self.violation("I1", text);
    }

    /// The last entry that a reader may be given; none if the ledger is gone.
    fn readable(&self, ledger: LedgerId) -> Option<EntryId> {
        let known = self.metadata.ledgers.get(&ledger)?;
        if known.is_log_link() {
            // Acknowledgements of a log are counted by positions: see `logs`.
            return None;
        }
        Some(match self.metadata.closed_at(ledger) {
            Some(last) => last,
            None => self.ledgers.acknowledged(ledger).max(self.wire.confirmed(ledger)),
        })
    }

    fn check_end(&mut self, ledger: LedgerId, entry: EntryId, what: &str) {
        if let Some(last) = self.metadata.closed_at(ledger)
            && entry > last
        {
            let text =
                format!("ledger {ledger}: entry {entry} was {what} after the ledger was closed at {last}");
            self.violation("I5", text);
        }
    }
}
