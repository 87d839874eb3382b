//! The entries behind the LAC that recovery found: read them in order, and write again those that exist.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use metadata::schema::Segment;
use net::Reply;
use planted::Bug;
use protocol::bookie::{AddOptions, Answer, Body, ReadOptions, Request};
use protocol::entry::Header;
use protocol::{BookieId, EntryId};

use super::{Ask, Purpose, Step, counts_as_no};
use crate::Error;
use crate::layout::Layout;
use crate::quorum::{Members, Quorums};

/// Bytes of entries that are read ahead, as far as their size can be guessed from those seen.
const AHEAD_BYTES: usize = 16 << 20;
const AHEAD_ENTRIES: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Finding {
    /// Not enough is known yet.
    Open,
    Exists {
        length: i64,
        payload: Bytes,
    },
    Absent,
    /// All have answered, and it is still not known.
    Unknown,
}

/// One entry behind the end of what is recovered.
struct Candidate {
    finding: Finding,
    /// Places in the write set that said it is not here, and that said anything.
    negatives: Members,
    replies: Members,
    /// Members that have it written again.
    written: Members,
    sent: bool,
}

/// `start <= committed < every candidate`, which are consecutive.
pub struct Tail {
    quorums: Quorums,
    /// The LAC found, and written with every entry (R10).
    start: EntryId,
    committed: EntryId,
    /// Of the ledger up to `committed`, if anything was recovered.
    length: Option<i64>,
    candidates: VecDeque<Candidate>,
    largest: usize,
    /// Where recovered entries are written: the frozen ensemble until a member is replaced.
    ensemble: Vec<BookieId>,
    /// Members that cannot be written, and those of them for which there is no replacement.
    failed: Members,
    irreplaceable: Members,
    changes: u32,
    /// Per member: the number of changes when it was last replaced. Replies to earlier writes are another bookie's.
    replaced_at: Vec<u32>,
    /// Segments that replacements made, the first perhaps in place of the last one found.
    added: Vec<Segment>,
}

impl Tail {
    pub fn new(layout: &Layout, start: EntryId) -> Tail {
        Tail {
            quorums: layout.quorums,
            start,
            committed: start,
            length: None,
            candidates: VecDeque::new(),
            largest: 0,
            ensemble: layout.last_segment().ensemble.clone(),
            failed: Members::NONE,
            irreplaceable: Members::NONE,
            changes: 0,
            replaced_at: vec![0; layout.quorums.ensemble()],
            added: Vec::new(),
        }
    }

    /// The last entry, once the one behind it is known not to exist.
    pub fn end(&self) -> Option<EntryId> {
        (self.candidates.front()?.finding == Finding::Absent).then_some(self.committed)
    }

    /// The ledger's length, if anything was recovered.
    pub fn length(&self) -> Option<i64> {
        self.length
    }

    /// All segments, as they are to be recorded when the ledger is closed.
    pub fn segments(&self, layout: &Layout) -> Vec<Segment> {
        let mut segments = layout.segments.clone();
        if self.added.first().is_some_and(|added| added.first <= layout.last_segment().first) {
            segments.pop();
        }
        segments.extend(self.added.iter().cloned());
        segments
    }

    pub fn step(&self) -> Step {
        if let Some(Candidate { finding: Finding::Unknown, .. }) = self.candidates.front() {
            return Step::Failed(Error::Unavailable(format!(
                "too few bookies say whether there is an entry {}; nothing is decided",
                self.committed.next()
            )));
        }
        let Some(index) = self.blocking() else { return Step::Replies };
        if !self.irreplaceable.contains(index) {
            return Step::Replacement { index, current: self.ensemble.clone() };
        }
        Step::Failed(Error::TooFewBookies(format!(
            "entry {} cannot be written to enough bookies: {} fails, and there is no other",
            self.committed.next(),
            self.ensemble[index]
        )))
    }

    /// A failed member without which an entry that is being written cannot reach its ack quorum.
    fn blocking(&self) -> Option<usize> {
        if self.failed == Members::NONE {
            return None;
        }
        let sent = self.candidates.iter().take_while(|candidate| candidate.sent);
        let mut entries = (self.committed.0 + 1..).map(EntryId).zip(sent);
        entries.find_map(|(entry, candidate)| {
            let lacking = |i: &usize| self.failed.contains(*i) && !candidate.written.contains(*i);
            let lacks = self.quorums.write_set(entry).filter(lacking).count();
            if self.quorums.write() - lacks >= self.quorums.ack() {
                return None;
            }
            let set = self.quorums.write_set(entry);
            set.filter(lacking).min_by_key(|&i| self.irreplaceable.contains(i))
        })
    }

    /// Does all that is possible now: counts, writes, reads ahead.
    pub fn go_on(&mut self, layout: &Layout, out: &mut Vec<Ask>) {
        self.commit();
        self.write_found(layout, out);
        let window = match self.largest {
            0 => 4,
            largest => (AHEAD_BYTES / largest).clamp(1, AHEAD_ENTRIES),
        };
        let ended = |c: &Candidate| matches!(c.finding, Finding::Absent | Finding::Unknown);
        while self.candidates.len() < window && !self.candidates.iter().any(ended) {
            self.read_next(layout, out);
        }
    }

    /// Counts what an ack quorum has written again, in order (R8).
    fn commit(&mut self) {
        while let Some(Candidate { finding: Finding::Exists { length, .. }, written, .. }) =
            self.candidates.front()
            && written.count() >= self.quorums.ack()
        {
            self.length = Some(*length);
            self.committed = self.committed.next();
            self.candidates.pop_front();
        }
    }

    fn write_found(&mut self, layout: &Layout, out: &mut Vec<Ask>) {
        for at in 0..self.candidates.len() {
            if !matches!(self.candidates[at].finding, Finding::Exists { .. }) {
                break;
            }
            if !self.candidates[at].sent {
                self.candidates[at].sent = true;
                for index in self.quorums.write_set(self.entry_at(at)) {
                    self.write(layout, at, index, out);
                }
            }
        }
    }

    fn entry_at(&self, at: usize) -> EntryId {
        EntryId(self.committed.0 + 1 + at as i64)
    }

    /// Sends a found entry to one member, unless that one has failed.
    fn write(&self, layout: &Layout, at: usize, index: usize, out: &mut Vec<Ask>) {
        let (entry, Finding::Exists { length, payload }) = (self.entry_at(at), &self.candidates[at].finding)
        else {
            return;
        };
        if self.failed.contains(index) {
            return;
        }
        let lac = if planted::on(Bug::RecoveryLacAdvances) { self.committed } else { self.start };
        let header = Header { ledger: layout.ledger, entry, lac, length: *length };
        let mut head = BytesMut::with_capacity(layout.digest.overhead());
        layout.digest.head(&header, payload, &[], &mut head);
        let request = Request::Add {
            ledger: layout.ledger,
            entry,
            key: layout.key,
            body: Body { head: head.freeze(), payload: payload.clone() },
            options: AddOptions { recovery: true, high_priority: true, ..AddOptions::default() },
        };
        let purpose = Purpose::Write { entry, index, change: self.changes };
        out.push(Ask { purpose, bookie: self.ensemble[index].clone(), request });
    }

    /// Asks the whole write set, in the ensemble as it was found, and fences there again (R5).
    fn read_next(&mut self, layout: &Layout, out: &mut Vec<Ask>) {
        let entry = self.entry_at(self.candidates.len());
        let fence = (!planted::on(Bug::RecoveryReadWithoutFence)).then_some(layout.key);
        let options = ReadOptions { fence, high_priority: true, ..ReadOptions::default() };
        for index in self.quorums.write_set(entry) {
            let request = Request::Read { ledger: layout.ledger, entry, options };
            let bookie = layout.last_segment().ensemble[index].clone();
            out.push(Ask { purpose: Purpose::Read { entry, index }, bookie, request });
        }
        self.candidates.push_back(Candidate {
            finding: Finding::Open,
            negatives: Members::NONE,
            replies: Members::NONE,
            written: Members::NONE,
            sent: false,
        });
    }

    fn candidate(&mut self, entry: EntryId) -> Option<&mut Candidate> {
        let at = usize::try_from(entry.0 - self.committed.0 - 1).ok()?;
        self.candidates.get_mut(at)
    }

    /// R6 and R7: one valid answer is proof that it exists, enough explicit ones that it does not.
    pub fn read(&mut self, layout: &Layout, entry: EntryId, index: usize, reply: Reply) {
        let (quorums, largest) = (self.quorums, self.largest);
        let Some(offset) = quorums.offset_of(entry, index) else { return };
        let Some(candidate) = self.candidate(entry) else { return };
        candidate.replies.insert(offset);
        if candidate.finding != Finding::Open {
            return;
        }
        match reply {
            Ok(Answer::Entry { body, .. }) => {
                if let Ok((header, payload)) = layout.digest.open(layout.ledger, entry, &body) {
                    candidate.finding = Finding::Exists { length: header.length, payload };
                    self.largest = largest.max(body.len());
                    return;
                }
            }
            Err(failure) if counts_as_no(failure) => candidate.negatives.insert(offset),
            Ok(_) | Err(_) => {}
        }
        if quorums.proves_absence(candidate.negatives.count()) {
            candidate.finding = Finding::Absent;
        } else if candidate.replies.count() == quorums.write() {
            candidate.finding = Finding::Unknown;
        }
    }

    pub fn written(&mut self, entry: EntryId, index: usize, change: u32, reply: Reply) {
        if change < self.replaced_at[index] {
            return;
        }
        match reply {
            Ok(Answer::Added) => {
                if let Some(candidate) = self.candidate(entry) {
                    candidate.written.insert(index);
                }
            }
            Ok(_) | Err(_) => self.failed.insert(index),
        }
    }

    /// Puts another bookie in a failed member's place, in memory: from the first entry on that is not committed.
    pub fn replace(&mut self, layout: &Layout, index: usize, bookie: Option<BookieId>, out: &mut Vec<Ask>) {
        let Some(bookie) = bookie else { return self.irreplaceable.insert(index) };
        self.ensemble[index] = bookie;
        self.failed.remove(index);
        self.changes += 1;
        self.replaced_at[index] = self.changes;
        let segment = Segment { first: self.committed.next(), ensemble: self.ensemble.clone() };
        if self.added.last().is_some_and(|last| last.first == segment.first) {
            self.added.pop();
        }
        self.added.push(segment);
        for at in 0..self.candidates.len() {
            let concerned = self.quorums.write_set(self.entry_at(at)).any(|i| i == index);
            if self.candidates[at].sent && concerned {
                self.candidates[at].written.remove(index);
                self.write(layout, at, index, out);
            }
        }
    }
}
