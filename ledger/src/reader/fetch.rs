//! One read: an entry, or many from one replica. Pure.

use std::sync::Arc;

use bytes::Bytes;
use net::{Failure, Reply};
use protocol::bookie::{Answer, ReadOptions, Refusal, Request};
use protocol::{BookieId, EntryId};

use crate::Error;
use crate::layout::Layout;
use crate::quorum::Members;

/// An entry as its writer wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerEntry {
    pub entry: EntryId,
    /// Of the ledger's payload up to and including this entry.
    pub length: i64,
    pub payload: Bytes,
}

/// A request to one replica, by its place in the order of this fetch.
pub struct Sent {
    pub replica: usize,
    pub bookie: BookieId,
    pub request: Request,
}

pub struct Fetch {
    layout: Arc<Layout>,
    first: EntryId,
    /// What to read; with `many`, what comes after `first` is welcome and not required.
    last: EntryId,
    max_bytes: usize,
    many: bool,
    /// Members of the write set, in the order in which they are asked.
    order: Vec<usize>,
    asked: usize,
    answered: usize,
    /// Members that proved to have nothing.
    negatives: Members,
    /// What the others said, for the error.
    failures: Vec<String>,
    cannot_batch: bool,
    /// The replica that broke off when it was asked for many is asked for one, at this place in the order.
    doubted_at: Option<usize>,
    found_at: Option<usize>,
    found: Vec<LedgerEntry>,
}

impl Fetch {
    pub fn one(layout: Arc<Layout>, entry: EntryId) -> Fetch {
        let order = layout.quorums.write_set(entry).collect();
        Fetch::new(layout, entry, entry, order)
    }

    /// Entries that are all on every member: from `favourite` if it can.
    pub fn many(
        layout: Arc<Layout>,
        first: EntryId,
        last: EntryId,
        max_bytes: usize,
        favourite: usize,
    ) -> Fetch {
        let members = layout.quorums.ensemble();
        let order = (0..members).map(|i| (favourite + i) % members).collect();
        let segment_end = layout.segments.iter().map(|s| EntryId(s.first.0 - 1)).find(|end| *end >= first);
        let last = segment_end.map_or(last, |end| end.min(last));
        Fetch { max_bytes, many: last > first, ..Fetch::new(layout, first, last, order) }
    }

    fn new(layout: Arc<Layout>, first: EntryId, last: EntryId, order: Vec<usize>) -> Fetch {
        Fetch {
            layout,
            first,
            last,
            max_bytes: 0,
            many: false,
            order,
            asked: 0,
            answered: 0,
            negatives: Members::NONE,
            failures: Vec::new(),
            cannot_batch: false,
            doubted_at: None,
            found_at: None,
            found: Vec::new(),
        }
    }

    /// Asks one more replica, if there is one.
    pub fn ask(&mut self) -> Option<Sent> {
        let replica = self.asked;
        let member = *self.order.get(replica)?;
        self.asked += 1;
        let bookie = self.layout.segment_of(self.first).ensemble.get(member)?.clone();
        Some(Sent { replica, bookie, request: self.request() })
    }

    fn request(&self) -> Request {
        let (ledger, first, options) = (self.layout.ledger, self.first, ReadOptions::default());
        if !self.many {
            return Request::Read { ledger, entry: first, options };
        }
        let count = u32::try_from(self.last.0 - first.0 + 1).unwrap_or(u32::MAX);
        Request::BatchRead { ledger, first, max_count: count, max_bytes: self.max_bytes as u64, options }
    }

    /// Whether the outcome is still unknown.
    pub fn is_open(&self) -> bool {
        self.found.is_empty() && self.answered < self.order.len()
    }

    /// A replica's reply; true if another one is to be asked in its stead.
    pub fn answered(&mut self, replica: usize, reply: Reply) -> bool {
        self.answered += 1;
        let bodies = match reply {
            Ok(Answer::Entry { body, .. }) => vec![body],
            Ok(Answer::Entries(bodies)) => bodies,
            Ok(_) => return self.failed(replica, "it answered something else".into()),
            Err(Failure::Refused(refusal)) => {
                if let Some(&member) = self.order.get(replica).filter(|_| refusal.is_negative()) {
                    self.negatives.insert(member);
                }
                if self.many && matches!(refusal, Refusal::BadVersion | Refusal::BadRequest) {
                    // It may only be the kind of request that this bookie does not know.
                    self.cannot_batch = true;
                    self.ask_for_one(replica);
                }
                return self.failed(replica, refusal.to_string());
            }
            Err(failure @ Failure::Unreachable) if self.many => {
                // It is gone, or it hangs up on requests that it does not know: one entry tells which.
                self.doubted_at = Some(self.ask_for_one(replica));
                return self.failed(replica, failure.to_string());
            }
            Err(failure) => return self.failed(replica, failure.to_string()),
        };
        match self.verified(&bodies) {
            Ok(found) => {
                self.found = found;
                self.cannot_batch |= self.doubted_at == Some(replica);
                self.found_at = self.order.get(replica).copied();
                false
            }
            Err(why) => self.failed(replica, why),
        }
    }

    /// Asks a replica again, next, for the first entry only, as all that come after it. Its place in the order.
    fn ask_for_one(&mut self, replica: usize) -> usize {
        (self.many, self.last) = (false, self.first);
        let again = self.asked.min(self.order.len());
        if let Some(&member) = self.order.get(replica) {
            self.order.insert(again, member);
        }
        again
    }

    /// The entries up to the first that does not verify; an error if that is the first one.
    fn verified(&self, bodies: &[Bytes]) -> Result<Vec<LedgerEntry>, String> {
        let mut found = Vec::with_capacity(bodies.len());
        let mut entry = self.first;
        for body in bodies {
            match self.layout.digest.open(self.layout.ledger, entry, body) {
                Ok((header, payload)) => found.push(LedgerEntry { entry, length: header.length, payload }),
                Err(damage) if found.is_empty() => return Err(damage.to_string()),
                Err(_) => break,
            }
            if entry == self.last {
                break;
            }
            entry = entry.next();
        }
        if found.is_empty() { Err("it answered without an entry".into()) } else { Ok(found) }
    }

    fn failed(&mut self, replica: usize, why: String) -> bool {
        let ensemble = &self.layout.segment_of(self.first).ensemble;
        if let Some(bookie) = self.order.get(replica).and_then(|&member| ensemble.get(member)) {
            self.failures.push(format!("{bookie}: {why}"));
        }
        true
    }

    /// The member that had it.
    pub fn answered_by(&self) -> Option<usize> {
        self.found_at
    }

    pub fn cannot_batch(&self) -> bool {
        self.cannot_batch
    }

    /// What was found. Nobody having it is data loss: only entries that are confirmed are ever fetched.
    pub fn into_result(self) -> Result<Vec<LedgerEntry>, Error> {
        if !self.found.is_empty() {
            return Ok(self.found);
        }
        let (ledger, entry, why) = (self.layout.ledger, self.first, self.failures.join("; "));
        if self.negatives == self.order.iter().copied().collect() {
            return Err(Error::DataLoss { ledger, entry, why });
        }
        Err(Error::Unavailable(format!("entry {entry} of ledger {ledger} cannot be read now: {why}")))
    }
}
