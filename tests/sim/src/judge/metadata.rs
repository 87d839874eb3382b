//! What was agreed: every committed change of metadata, in the order of commits.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use metadata::schema::{LedgerMetadata, Link, Scope, State, check_transition};
use protocol::{BookieId, EntryId, LedgerId};

use super::Model;
use crate::brokers::owner::LOG;
use crate::process::ProcessId;

/// What the tally says of trims.
pub const LINKS_DELETED: &str = "links of the virtual broker's log deleted";

#[derive(Default)]
pub struct Metadata {
    pub ledgers: BTreeMap<LedgerId, LedgerMetadata>,
    deleted: BTreeSet<LedgerId>,
    /// Links of logs, by their keys.
    links: BTreeMap<String, LedgerId>,
    /// Where those of the virtual broker's log begin.
    pub log: BTreeSet<u64>,
}

impl Metadata {
    /// The bookies that metadata names for an entry, in the order of its write set; empty if there is no such ledger.
    pub fn write_set(&self, ledger: LedgerId, entry: EntryId) -> Vec<BookieId> {
        let Some(metadata) = self.ledgers.get(&ledger) else { return Vec::new() };
        let Some(segment) = metadata.segment_of(entry).and_then(|at| metadata.segments.get(at)) else {
            return Vec::new();
        };
        let size = segment.ensemble.len() as u64;
        let first = entry.0 as u64 % size.max(1);
        let places = (0..u64::from(metadata.write_quorum)).map(|i| ((first + i) % size) as usize);
        places.filter_map(|place| segment.ensemble.get(place)).cloned().collect()
    }

    pub fn closed(&self) -> Vec<LedgerId> {
        self.ledgers.iter().filter(|(_, metadata)| metadata.is_closed()).map(|(ledger, _)| *ledger).collect()
    }

    pub fn state(&self, ledger: LedgerId) -> Option<State> {
        self.ledgers.get(&ledger).map(|metadata| metadata.state)
    }

    /// The end of a closed ledger.
    pub fn closed_at(&self, ledger: LedgerId) -> Option<EntryId> {
        match self.state(ledger) {
            Some(State::Closed { last, .. }) => Some(last),
            _ => None,
        }
    }
}

impl Model {
    /// A committed change of one key; by whom, if that is known.
    pub fn committed(&mut self, scope: &Scope, key: &str, value: Option<&Bytes>, by: Option<ProcessId>) {
        let Some(ledger) = scope.ledger_of(key) else {
            self.ownership_changed(scope, key, value, by);
            return self.linked(scope, key, value);
        };
        let Some(value) = value else {
            // What is found after a restart of the store is told in another order.
            let mut links = self.metadata.links.iter();
            if let Some((link, _)) = links.find(|(_, linked)| **linked == ledger && by.is_some()) {
                self.violation("I16", format!("ledger {ledger} is deleted, and {link} names it"));
            }
            self.metadata.ledgers.remove(&ledger);
            self.metadata.deleted.insert(ledger);
            self.count("ledgers deleted");
            return;
        };
        let new = match LedgerMetadata::decode(ledger, value) {
            Ok(new) => new,
            Err(error) => return self.violation("I16", error.to_string()),
        };
        if self.metadata.deleted.contains(&ledger) {
            self.violation("I17", format!("ledger {ledger} was deleted, and its id is used again"));
        }
        let old = self.metadata.ledgers.insert(ledger, new.clone());
        if let Err(wrong) = check_transition(old.as_ref(), Some(&new)) {
            self.violation("I16", format!("ledger {ledger}: {wrong}"));
        }
        if let Some(old) = &old {
            self.check_recoverer(ledger, old, &new, by);
            self.check_replacements(ledger, old, &new);
        }
        if let State::Closed { last, length } = new.state
            && old.as_ref().is_none_or(|old| !old.is_closed())
        {
            self.count("ledgers closed");
            if old.is_some_and(|old| old.state == State::InRecovery) {
                self.count("ledgers closed by recovery");
            }
            self.closed(ledger, last, length);
        }
    }

    /// A link of a log was added, replaced or given up, if the key is that of one.
    fn linked(&mut self, scope: &Scope, key: &str, value: Option<&Bytes>) {
        let logs = format!("{}/strata/vb/", scope.as_str());
        let name = key.strip_prefix(&logs).and_then(|rest| rest.split_once('/')).map(|(name, _)| name);
        let Some((name, base)) = name.and_then(|name| Some((name, scope.vb_link_base(name, key)?))) else {
            return;
        };
        let Some(value) = value else {
            self.metadata.links.remove(key);
            if name == LOG && self.metadata.log.remove(&base) {
                self.count(LINKS_DELETED);
            }
            return;
        };
        if name == LOG {
            self.metadata.log.insert(base);
        }
        match Link::decode(name, value) {
            Ok(link) => {
                if link.sparse.is_some() {
                    self.count("links replaced by sparse copies");
                }
                self.metadata.links.insert(key.to_owned(), link.ledger);
            }
            Err(error) => self.violation("I16", error.to_string()),
        }
    }

    /// Nobody but an owner may take a link of a log away from its writer.
    fn check_recoverer(
        &mut self,
        ledger: LedgerId,
        old: &LedgerMetadata,
        new: &LedgerMetadata,
        by: Option<ProcessId>,
    ) {
        let taken = old.state == State::Open && new.state == State::InRecovery;
        if taken && new.is_log_link() && by.is_some_and(|by| !self.logs.is_owner(by)) {
            let text = format!(
                "ledger {ledger} is a link of a log, and another process recovers it without owning the log"
            );
            self.violation("I16", text);
        }
    }

    /// A bookie that a repair puts in another's place must have what it is named for.
    fn check_replacements(&mut self, ledger: LedgerId, old: &LedgerMetadata, new: &LedgerMetadata) {
        let (State::Closed { last, .. }, true) = (new.state, old.is_closed()) else { return };
        for (at, (before, after)) in old.segments.iter().zip(&new.segments).enumerate() {
            let end = new.segment_end(at).map_or(last, |end| end.min(last));
            let newcomers: Vec<&BookieId> =
                after.ensemble.iter().filter(|bookie| !before.ensemble.contains(bookie)).collect();
            if newcomers.is_empty() {
                continue;
            }
            self.count("replicas moved by repair");
            let first = self.wire.first(ledger).max(after.first);
            for entry in (first.0..=end.0).map(EntryId) {
                let set = self.metadata.write_set(ledger, entry);
                let lacking = newcomers.iter().find(|bookie| {
                    set.contains(bookie) && !self.wire.has_acknowledged(bookie, ledger, entry)
                });
                if let Some(bookie) = lacking {
                    let text = format!(
                        "ledger {ledger}: {bookie} is named for entry {entry}, which it was never given"
                    );
                    self.violation("I8", text);
                }
            }
        }
    }

    /// A ledger has just been closed: what its end must agree with.
    fn closed(&mut self, ledger: LedgerId, last: EntryId, length: i64) {
        let acked = self.ledgers.acknowledged(ledger);
        if acked > last {
            let text = format!("ledger {ledger} was closed at {last}, but {acked} had been acknowledged");
            self.violation("I5", text);
        }
        let mut sum = 0;
        for entry in (self.wire.first(ledger).0..=last.0).map(EntryId) {
            match self.wire.value(ledger, entry) {
                Some(value) => sum += value.len as i64,
                None => {
                    let text =
                        format!("ledger {ledger} was closed at {last}, but nobody ever sent entry {entry}");
                    return self.violation("I5", text);
                }
            }
            self.check_copies(ledger, entry, "was closed");
        }
        if sum != length {
            let text = format!(
                "ledger {ledger} was closed at {last} with length {length}, its payloads sum to {sum}"
            );
            self.violation("I7", text);
        }
    }

    /// Whether at least Qa of the recorded write set have acknowledged an entry.
    pub(super) fn check_copies(&mut self, ledger: LedgerId, entry: EntryId, when: &str) {
        let Some(wanted) = self.metadata.ledgers.get(&ledger).map(|m| m.ack_quorum as usize) else { return };
        let set = self.metadata.write_set(ledger, entry);
        let have = set.iter().filter(|bookie| self.wire.has_acknowledged(bookie, ledger, entry)).count();
        if have < wanted {
            let names: Vec<&str> = set.iter().map(BookieId::as_str).collect();
            let text = format!(
                "ledger {ledger} {when}, but entry {entry} was acknowledged by {have} of its recorded bookies ({}), not {wanted}",
                names.join(", ")
            );
            self.violation("I8", text);
        }
    }
}
