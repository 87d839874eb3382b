//! What bookies said. A bookie's words bind it for ever, whatever became of its process and its disks since.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use metadata::State;
use net::{Failure, Reply};
use protocol::bookie::{Answer, Refusal, Request};
use protocol::entry::{Digest, Header};
use protocol::{BookieId, EntryId, LedgerId};

use super::{Model, Value};

#[derive(Default)]
pub struct Wire {
    /// What a writer first sent under an id: no other payload may ever go under it.
    values: BTreeMap<(LedgerId, EntryId), Value>,
    told: BTreeMap<(BookieId, LedgerId), Told>,
    /// Bookies whose disks have lost things: they may not know any more which ledgers were deleted.
    forgetful: BTreeSet<BookieId>,
    /// The highest LAC that a writer has sent along.
    confirmed: BTreeMap<LedgerId, EntryId>,
}

/// What one bookie said of one ledger.
#[derive(Default)]
struct Told {
    acknowledged: BTreeSet<EntryId>,
    /// A fencing read was answered: no normal add that arrives from now on may succeed.
    fenced: bool,
    /// "No such entry" to a fencing read: a normal add of it may never be acknowledged again.
    denied: BTreeSet<EntryId>,
    /// It said that it has no more what it had acknowledged, because the ledger was deleted: it knows of the deletion.
    gone: bool,
}

/// What a request could rely on when it arrived at the bookie.
pub enum Arrival {
    Add { ledger: LedgerId, entry: EntryId, recovery: bool, deferred: bool, fenced: bool },
    Read { ledger: LedgerId, entry: EntryId, fencing: bool, had: bool },
    Last { ledger: LedgerId, fencing: bool, had: Option<EntryId> },
    List { ledger: LedgerId, had: BTreeSet<EntryId> },
    Other,
}

impl Arrival {
    pub fn is_fencing(&self) -> bool {
        matches!(self, Arrival::Read { fencing: true, .. } | Arrival::Last { fencing: true, .. })
    }
}

impl Wire {
    pub fn value(&self, ledger: LedgerId, entry: EntryId) -> Option<Value> {
        self.values.get(&(ledger, entry)).copied()
    }

    /// The first id of a ledger; 0 if nothing has been sent.
    pub fn first(&self, ledger: LedgerId) -> EntryId {
        let first = self.values.range((ledger, EntryId::NONE)..).next();
        first.filter(|((other, _), _)| *other == ledger).map_or(EntryId::FIRST, |((_, entry), _)| *entry)
    }

    /// The highest LAC that the ledger's writer has sent along.
    pub fn confirmed(&self, ledger: LedgerId) -> EntryId {
        self.confirmed.get(&ledger).copied().unwrap_or(EntryId(self.first(ledger).0 - 1))
    }

    /// A bookie's disk has lost things.
    pub fn forgets_deletions(&mut self, bookie: &BookieId) {
        self.forgetful.insert(bookie.clone());
    }

    /// Whether its disks have lost things.
    pub fn is_damaged(&self, bookie: &BookieId) -> bool {
        self.forgetful.contains(bookie)
    }

    pub fn has_acknowledged(&self, bookie: &BookieId, ledger: LedgerId, entry: EntryId) -> bool {
        self.told.get(&(bookie.clone(), ledger)).is_some_and(|told| told.acknowledged.contains(&entry))
    }

    /// Everything that bookies said they hold.
    pub fn acknowledged(&self) -> impl Iterator<Item = (&BookieId, LedgerId, EntryId)> {
        self.told.iter().flat_map(|((bookie, ledger), told)| {
            told.acknowledged.iter().map(move |entry| (bookie, *ledger, *entry))
        })
    }
}

impl Model {
    /// A request leaves a client.
    pub fn sent(&mut self, bookie: &BookieId, request: &Request) {
        let Request::Add { ledger, entry, body, options, .. } = request else { return };
        let body = body.joined();
        let Some(value) = self.payload(*ledger, &body) else { return };
        match self.wire.values.get(&(*ledger, *entry)) {
            Some(first) if *first != value => {
                let text = format!("ledger {ledger}: two payloads were sent for entry {entry}");
                self.violation("I2", text);
            }
            Some(_) => {}
            None if options.recovery => {
                let text = format!("ledger {ledger}: entry {entry} was re-written, no writer ever sent it");
                self.violation("I2", text);
            }
            None => drop(self.wire.values.insert((*ledger, *entry), value)),
        }
        if let Some(header) = Header::of(&body) {
            self.check_lac(*ledger, header.lac, options.recovery);
        }
        // A recovery or a repair may copy to a bookie that metadata will name only when it is done; and a writer that
        // does not know that its ledger is closed does not know of repairs either.
        let closed = self.metadata.state(*ledger).is_none_or(|state| matches!(state, State::Closed { .. }));
        if !options.recovery && !closed && !self.metadata.write_set(*ledger, *entry).contains(bookie) {
            let text = format!(
                "ledger {ledger}: entry {entry} was sent to {bookie}, which metadata does not name for it"
            );
            self.violation("I9", text);
        }
    }

    /// What a writer says is confirmed must be on an ack quorum; a recovery may not say more than the writer.
    fn check_lac(&mut self, ledger: LedgerId, lac: EntryId, recovery: bool) {
        let known = self.wire.confirmed(ledger);
        if recovery {
            if lac > known {
                let text =
                    format!("ledger {ledger}: a recovery sends LAC {lac}, its writer confirmed {known}");
                self.violation("I4", text);
            }
            return;
        }
        for entry in (known.0 + 1..=lac.0).map(EntryId) {
            self.check_copies(ledger, entry, "had it confirmed");
        }
        self.wire.confirmed.insert(ledger, lac.max(known));
    }

    /// A request reaches its bookie.
    pub fn arrived(&mut self, bookie: &BookieId, request: &Request) -> Arrival {
        let Some(ledger) = request.ledger() else { return Arrival::Other };
        let told = self.wire.told.entry((bookie.clone(), ledger)).or_default();
        match request {
            Request::Add { entry, options, .. } => Arrival::Add {
                ledger,
                entry: *entry,
                recovery: options.recovery,
                deferred: options.deferred_sync,
                fenced: told.fenced,
            },
            Request::Read { entry, options, .. } if entry.is_none() => Arrival::Last {
                ledger,
                fencing: options.fence.is_some(),
                had: told.acknowledged.last().copied(),
            },
            Request::Read { entry, options, .. } => Arrival::Read {
                ledger,
                entry: *entry,
                fencing: options.fence.is_some(),
                had: told.acknowledged.contains(entry),
            },
            Request::BatchRead { first, options, .. } => Arrival::Read {
                ledger,
                entry: *first,
                fencing: options.fence.is_some(),
                had: told.acknowledged.contains(first),
            },
            Request::ListEntries { .. } => Arrival::List { ledger, had: told.acknowledged.clone() },
            _ => Arrival::Other,
        }
    }

    /// A bookie answers.
    pub fn answered(&mut self, bookie: &BookieId, arrival: &Arrival, reply: &Reply) {
        match arrival {
            Arrival::Add { ledger, entry, recovery, deferred, fenced } => {
                if reply == &Ok(Answer::Added) && !deferred {
                    self.added(bookie, *ledger, *entry, *recovery, *fenced);
                }
            }
            Arrival::Read { ledger, entry, fencing, had } => {
                self.answered_read(bookie, (*ledger, *entry), *fencing, *had, reply);
            }
            Arrival::Last { ledger, fencing, had } => {
                self.answered_last(bookie, *ledger, *fencing, *had, reply)
            }
            Arrival::List { ledger, had } => self.answered_list(bookie, *ledger, had, reply),
            Arrival::Other => {}
        }
    }

    fn told(&mut self, bookie: &BookieId, ledger: LedgerId) -> &mut Told {
        self.wire.told.entry((bookie.clone(), ledger)).or_default()
    }

    fn added(&mut self, bookie: &BookieId, ledger: LedgerId, entry: EntryId, recovery: bool, fenced: bool) {
        let told = self.told(bookie, ledger);
        told.acknowledged.insert(entry);
        let (denied, gone) = (told.denied.contains(&entry), told.gone);
        // Without its disks it knows nothing of a ledger, and metadata nothing of one that was deleted: GC will see.
        if self.wire.forgetful.contains(bookie) && !self.metadata.ledgers.contains_key(&ledger) {
            return;
        }
        if gone && !recovery && !self.wire.forgetful.contains(bookie) {
            let text = format!(
                "{bookie} took entry {entry} of ledger {ledger} after it had dropped the deleted ledger"
            );
            self.violation("I17", text);
        }
        if fenced && !recovery {
            let text = format!(
                "{bookie} took entry {entry} of ledger {ledger} after it had answered a fencing read"
            );
            self.violation("I11", text);
        }
        if denied && !recovery {
            let text = format!(
                "{bookie} took entry {entry} of ledger {ledger} after it had told a recoverer that it has none"
            );
            self.violation("I12", text);
        }
    }

    fn answered_read(
        &mut self,
        bookie: &BookieId,
        (ledger, entry): (LedgerId, EntryId),
        fencing: bool,
        had: bool,
        reply: &Reply,
    ) {
        match reply {
            Ok(Answer::Entry { body, .. }) => self.check_body(bookie, ledger, entry, body),
            Ok(Answer::Entries(bodies)) => {
                let mut at = entry;
                for body in bodies {
                    self.check_body(bookie, ledger, at, body);
                    at = at.next();
                }
            }
            Err(Failure::Refused(Refusal::NoLedger | Refusal::NoEntry)) => {
                if had && !self.metadata.ledgers.contains_key(&ledger) {
                    self.told(bookie, ledger).gone = true;
                }
                if had && self.must_have(bookie, ledger, entry) {
                    let text = format!(
                        "{bookie} acknowledged entry {entry} of ledger {ledger}, and says now that it has none"
                    );
                    self.violation("B1", text);
                }
                if fencing {
                    self.told(bookie, ledger).denied.insert(entry);
                }
            }
            _ => return,
        }
        if fencing {
            self.count("fencing reads answered");
            self.told(bookie, ledger).fenced = true;
        }
    }

    fn answered_last(
        &mut self,
        bookie: &BookieId,
        ledger: LedgerId,
        fencing: bool,
        had: Option<EntryId>,
        reply: &Reply,
    ) {
        let said = match reply {
            Ok(Answer::Entry { body, .. }) => Header::of(body).map_or(EntryId::NONE, |header| header.entry),
            Err(Failure::Refused(Refusal::NoLedger | Refusal::NoEntry)) => EntryId::NONE,
            _ => return,
        };
        if let Some(had) = had
            && said < had
            && self.must_have(bookie, ledger, had)
        {
            let text = format!(
                "{bookie} acknowledged entry {had} of ledger {ledger}, and says now that {said} is its last"
            );
            self.violation("B1", text);
        }
        if let Ok(Answer::Entry { body, .. }) = reply {
            self.check_body(bookie, ledger, said, body);
        }
        if fencing {
            self.count("fencing reads answered");
            self.told(bookie, ledger).fenced = true;
        }
    }

    fn answered_list(&mut self, bookie: &BookieId, ledger: LedgerId, had: &BTreeSet<EntryId>, reply: &Reply) {
        let listed = match reply {
            Ok(Answer::List(runs)) => Some(runs),
            Err(Failure::Refused(Refusal::NoLedger | Refusal::NoEntry)) => None,
            _ => return,
        };
        let is_lost = |entry: &&EntryId| {
            !listed.is_some_and(|runs| runs.contains(**entry)) && self.must_have(bookie, ledger, **entry)
        };
        if let Some(entry) = had.iter().find(is_lost) {
            let text =
                format!("{bookie} acknowledged entry {entry} of ledger {ledger}, and does not list it");
            self.violation("B4", text);
        }
    }

    /// Whether metadata still holds a bookie to what it acknowledged. In another place of the ensemble than before, as one
    /// that was replaced may be, it keeps other entries.
    fn must_have(&self, bookie: &BookieId, ledger: LedgerId, entry: EntryId) -> bool {
        let beyond_the_end = self.metadata.closed_at(ledger).is_some_and(|last| entry > last);
        !beyond_the_end && self.metadata.write_set(ledger, entry).contains(bookie)
    }

    fn check_body(&mut self, bookie: &BookieId, ledger: LedgerId, entry: EntryId, body: &Bytes) {
        let place = Header::of(body).map(|header| (header.ledger, header.entry));
        let right = place == Some((ledger, entry))
            && self.payload(ledger, body).is_some_and(|value| self.wire.value(ledger, entry) == Some(value));
        // A ledger that is gone has no digest to read it by.
        if !right && self.metadata.ledgers.contains_key(&ledger) {
            let text =
                format!("{bookie} returned something else for entry {entry} of ledger {ledger}: {place:?}");
            self.violation("B8", text);
        }
    }

    /// An encoded entry's payload; none if the ledger is gone or the digest wrong.
    fn payload(&self, ledger: LedgerId, body: &Bytes) -> Option<Value> {
        let metadata = self.metadata.ledgers.get(&ledger)?;
        let (_, payload) = Digest::new(metadata.digest, &metadata.password).open_any(body).ok()?;
        Some(Value::of(&payload))
    }
}
