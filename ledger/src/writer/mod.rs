//! One open ledger's writer: ids, lengths, LAC, acknowledgements in order.
//!
//! [`Writer`] is pure: entries and replies go in, requests come out, and what has become of the ledger can be asked.
//! It never changes the ensemble: when a bookie is lost or slow it says so, at once, and its owner goes on in a new
//! ledger, while this one still acknowledges as long as ack quorums answer.

mod shell;
mod slots;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use net::{Failure, Reply};
use planted::Bug;
use protocol::bookie::{AddOptions, Answer, Body, Refusal, Request};
use protocol::entry::{Digest, Header, MasterKey};
use protocol::{BookieId, EntryId, LedgerId};

use crate::quorum::{Members, Quorums};
pub use shell::{LedgerWriter, Plan, Refused, Written};
pub(crate) use shell::{token, untoken};
pub(crate) use slots::ENTRY_COST;
use slots::{Slot, Slots};

/// The ledger to write, and from where.
#[derive(Clone)]
pub struct Target {
    pub ledger: LedgerId,
    pub quorums: Quorums,
    /// As many bookies as the ensemble has members.
    pub ensemble: Vec<BookieId>,
    /// Members that are known to be away: nothing is sent to them.
    pub absent: Members,
    pub key: MasterKey,
    pub digest: Digest,
    /// The entry to begin with, and the ledger's length before it.
    pub first: EntryId,
    pub length: i64,
}

/// How patient a writer is with its bookies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// A bookie that has not answered an add for so long is lost.
    pub deadline: Duration,
    /// A bookie that has not answered for so long, while another one has, is slow.
    pub slow_after: Duration,
    /// How many bytes of acknowledged entries a bookie may owe answers for, before it gets no more copies.
    pub owed_bytes: u64,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            deadline: Duration::from_secs(3),
            slow_after: Duration::from_millis(500),
            owed_bytes: 16 << 20,
        }
    }
}

/// An add to send to one member.
#[derive(Debug, PartialEq, Eq)]
pub struct Outgoing {
    pub index: usize,
    pub entry: EntryId,
    pub request: Request,
}

/// Why the owner should go on in a new ledger, the mildest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// A bookie is slow; entries are acknowledged without it.
    Slow(BookieId),
    /// A bookie is lost to this ledger; entries are acknowledged without it.
    Lost(BookieId, String),
    /// Some entries can no longer be acknowledged in this ledger.
    Stuck(String),
    /// A bookie says that another writer or a recovery has taken the ledger over. Nothing more is acknowledged.
    Fenced(BookieId),
    /// A bookie refuses what this writer does. Nothing more is acknowledged.
    Refused(BookieId, Refusal),
}

impl Trouble {
    /// Whether this ledger acknowledges nothing more.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Trouble::Fenced(_) | Trouble::Refused(..))
    }

    /// From 0, a nuisance, to 3, the end.
    pub fn severity(&self) -> u8 {
        match self {
            Trouble::Slow(_) => 0,
            Trouble::Lost(..) => 1,
            Trouble::Stuck(_) => 2,
            Trouble::Fenced(_) | Trouble::Refused(..) => 3,
        }
    }
}

/// Where a ledger ends, once its writer acknowledges nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    pub last: EntryId,
    /// The sum of payload bytes up to `last`.
    pub length: i64,
}

/// Entries of one bookie, as ascending runs, first and last included.
pub type Runs = Vec<(EntryId, EntryId)>;

/// `acknowledged.last <= every entry in flight < next`.
pub struct Writer {
    target: Target,
    patience: Patience,
    next: EntryId,
    length: i64,
    acknowledged: End,
    in_flight_bytes: u64,
    slots: Slots,
    /// Members that get nothing more of this ledger.
    lost: Members,
    /// Per member: bytes of acknowledged entries that it has not answered.
    owed: Vec<u64>,
    /// Per member: what it should have and does not.
    missing: Vec<Runs>,
    trouble: Option<Trouble>,
    frozen: bool,
    heads: BytesMut,
}

/// Heads are cut from pieces of this size, so that an entry costs no allocation of its own.
const HEADS: usize = 16 << 10;

impl Writer {
    pub fn new(target: Target, patience: Patience) -> Writer {
        let members = target.quorums.ensemble();
        let last = EntryId(target.first.0 - 1);
        Writer {
            next: target.first,
            length: target.length,
            acknowledged: End { last, length: target.length },
            in_flight_bytes: 0,
            slots: Slots::new(target.first),
            lost: target.absent,
            owed: vec![0; members],
            missing: vec![Runs::new(); members],
            trouble: None,
            frozen: false,
            heads: BytesMut::new(),
            target,
            patience,
        }
    }

    pub fn target(&self) -> &Target {
        &self.target
    }

    /// What is acknowledged: [`End::last`] is the LAC.
    pub fn acknowledged(&self) -> End {
        self.acknowledged
    }

    /// The id that the next entry gets.
    pub fn next_entry(&self) -> EntryId {
        self.next
    }

    /// The sum of payload bytes of all entries taken.
    pub fn length(&self) -> i64 {
        self.length
    }

    /// Payload bytes taken and not acknowledged.
    pub fn in_flight_bytes(&self) -> u64 {
        self.in_flight_bytes
    }

    /// Members that get nothing of this ledger any more.
    pub fn lost(&self) -> Members {
        self.lost
    }

    /// The worst that has happened to this ledger.
    pub fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// Takes an entry with the payload `first ‖ rest`; `rest` is not copied. Refused (and no id is used) once frozen.
    pub fn add(
        &mut self,
        first: &[u8],
        rest: Bytes,
        now: Duration,
        out: &mut Vec<Outgoing>,
    ) -> Option<EntryId> {
        if self.frozen {
            return None;
        }
        let entry = self.next;
        let bytes = first.len() + rest.len();
        self.next = entry.next();
        self.length += bytes as i64;
        self.in_flight_bytes += bytes as u64;
        self.slots.push(Slot { bytes: bytes as u32, length: self.length, sent: now, ..Slot::default() });
        let header =
            Header { ledger: self.target.ledger, entry, lac: self.acknowledged.last, length: self.length };
        let body = self.body(&header, first, rest);
        for index in self.target.quorums.write_set(entry) {
            if !self.lost.contains(index) {
                out.push(Outgoing { index, entry, request: self.request(entry, body.clone()) });
            }
        }
        Some(entry)
    }

    fn body(&mut self, header: &Header, first: &[u8], rest: Bytes) -> Body {
        let digest = &self.target.digest;
        let len = digest.overhead() + first.len();
        if self.heads.capacity() < len {
            self.heads = BytesMut::with_capacity(HEADS.max(len));
        }
        digest.head(header, first, &rest, &mut self.heads);
        self.heads.extend_from_slice(first);
        Body { head: self.heads.split().freeze(), payload: rest }
    }

    fn request(&self, entry: EntryId, body: Body) -> Request {
        let Target { ledger, key, .. } = self.target;
        Request::Add { ledger, entry, key, body, options: AddOptions::default() }
    }

    /// A member's reply to the add of `entry`.
    pub fn answered(&mut self, index: usize, entry: EntryId, reply: Reply) {
        let Some(offset) = self.target.quorums.offset_of(entry, index) else { return };
        let acknowledged = entry <= self.acknowledged.last;
        let Some(slot) = self.slots.get_mut(entry) else { return };
        let first_answer = !slot.answered().contains(offset);
        match reply {
            Ok(Answer::Added) => slot.acked.insert(offset),
            Ok(_) | Err(_) => slot.failed.insert(offset),
        }
        if acknowledged && first_answer && !self.lost.contains(index) {
            self.owed[index] -= slot.cost();
        }
        match reply {
            Ok(Answer::Added) => self.advance(),
            Ok(_) => self.refused(index, Refusal::BadVersion),
            Err(Failure::Refused(refusal)) => self.refused(index, refusal),
            Err(failure) => self.lose(index, Some(failure.to_string())),
        }
        self.retire();
    }

    fn refused(&mut self, index: usize, refusal: Refusal) {
        let bookie = self.target.ensemble[index].clone();
        match refusal {
            Refusal::Fenced => self.end(Trouble::Fenced(bookie)),
            Refusal::Unauthorized | Refusal::BadRequest | Refusal::BadVersion => {
                self.end(Trouble::Refused(bookie, refusal));
            }
            _ => self.lose(index, Some(refusal.to_string())),
        }
    }

    fn end(&mut self, trouble: Trouble) {
        self.frozen = true;
        self.raise(trouble);
    }

    fn raise(&mut self, trouble: Trouble) {
        if self.trouble.as_ref().is_none_or(|worst| trouble.severity() > worst.severity()) {
            self.trouble = Some(trouble);
        }
    }

    /// Sends nothing more to a member; what it did not answer, it lacks (unless the answer still comes in time).
    /// `why` is `None` if it is only slow.
    fn lose(&mut self, index: usize, why: Option<String>) {
        if self.lost.contains(index) {
            return;
        }
        self.lost.insert(index);
        self.owed[index] = 0;
        let bookie = self.target.ensemble[index].clone();
        if self.target.quorums.writable_without(self.lost) {
            return self.raise(why.map_or(Trouble::Slow(bookie.clone()), |why| Trouble::Lost(bookie, why)));
        }
        let lost: Vec<_> = self.lost.iter().map(|i| self.target.ensemble[i].as_str()).collect();
        self.raise(Trouble::Stuck(format!(
            "too few bookies of ledger {} answer: without {} there are write sets with fewer than {} ({bookie}: {})",
            self.target.ledger,
            lost.join(", "),
            self.target.quorums.ack(),
            why.as_deref().unwrap_or("too slow"),
        )));
    }

    /// Acknowledges what an ack quorum has, strictly in order.
    fn advance(&mut self) {
        let needed = self.target.quorums.ack() - usize::from(planted::on(Bug::AckBeforeQuorum));
        while !self.frozen {
            let entry = self.acknowledged.last.next();
            let Some(slot) = self.slots.get_mut(entry) else { break };
            if slot.acked.count() < needed {
                break;
            }
            self.acknowledged = End { last: entry, length: slot.length };
            let (answered, cost) = (slot.answered(), slot.cost());
            self.in_flight_bytes -= u64::from(slot.bytes);
            self.charge(entry, answered, cost);
        }
    }

    /// Notes who owes an answer for an entry that is acknowledged; who owes too much gets no more.
    fn charge(&mut self, entry: EntryId, answered: Members, cost: u64) {
        for (offset, index) in self.target.quorums.write_set(entry).enumerate() {
            if answered.contains(offset) || self.lost.contains(index) {
                continue;
            }
            self.owed[index] += cost;
            if self.owed[index] > self.patience.owed_bytes {
                self.lose(index, None);
            }
        }
    }

    /// Lets go of acknowledged entries that nobody owes an answer for, and notes who lacks them.
    fn retire(&mut self) {
        while let Some((entry, slot)) = self.slots.front() {
            let owing = |(offset, index)| !slot.answered().contains(offset) && !self.lost.contains(index);
            if entry > self.acknowledged.last || self.target.quorums.write_set(entry).enumerate().any(owing) {
                break;
            }
            let acked = slot.acked;
            self.slots.pop_front();
            self.note_missing(entry, acked);
        }
    }

    fn note_missing(&mut self, entry: EntryId, acked: Members) {
        for (offset, index) in self.target.quorums.write_set(entry).enumerate() {
            if acked.contains(offset) {
                continue;
            }
            match self.missing[index].last_mut() {
                Some((_, last)) if entry.0 - last.0 <= self.target.quorums.ensemble() as i64 => *last = entry,
                _ => self.missing[index].push((entry, entry)),
            }
        }
    }

    /// Looks for members that are late. To be called now and then while [`Writer::is_waiting`].
    pub fn tick(&mut self, now: Duration) {
        let mut late = Vec::new();
        for (entry, slot) in self.slots.iter() {
            let age = now.saturating_sub(slot.sent);
            if age < self.patience.slow_after.min(self.patience.deadline) {
                break;
            }
            for (offset, index) in self.target.quorums.write_set(entry).enumerate() {
                if !slot.answered().contains(offset) && !self.lost.contains(index) {
                    late.push((index, age, slot.acked != Members::NONE));
                }
            }
        }
        for (index, age, others_answered) in late {
            if age >= self.patience.deadline {
                self.lose(index, Some(format!("no answer for {} ms", age.as_millis())));
            } else if others_answered {
                self.raise(Trouble::Slow(self.target.ensemble[index].clone()));
            }
        }
        self.retire();
    }

    /// Whether an answer is still awaited, for an acknowledged entry too.
    pub fn is_waiting(&self) -> bool {
        self.slots.front().is_some()
    }

    /// Whether every member has answered for every acknowledged entry, or is lost.
    pub fn is_settled(&self) -> bool {
        self.slots.front().is_none_or(|(entry, _)| entry > self.acknowledged.last)
    }

    /// Takes and acknowledges nothing more; where the ledger ends. Answers still count towards what is missing.
    pub fn freeze(&mut self) -> End {
        self.frozen = true;
        self.acknowledged
    }

    /// Per bookie, the acknowledged entries that it lacks; runs may include entries that are not written to it.
    /// Complete once [`Writer::is_settled`]; before, what is still owed counts as missing.
    pub fn missing(&self) -> Vec<(BookieId, Runs)> {
        let mut missing = self.missing.clone();
        let owed = self.slots.iter().take_while(|(entry, _)| *entry <= self.acknowledged.last);
        for (entry, slot) in owed {
            for (offset, index) in self.target.quorums.write_set(entry).enumerate() {
                if !slot.acked.contains(offset) {
                    missing[index].push((entry, entry));
                }
            }
        }
        self.target.ensemble.iter().cloned().zip(missing).filter(|(_, runs)| !runs.is_empty()).collect()
    }
}

#[cfg(test)]
mod tests;
