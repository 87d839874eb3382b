//! Closing the ledger of a writer that is gone: fence, find the end, write it again, close.
//!
//! [`Recovery`] is pure: replies go in, requests come out, until it has [`Step::Done`] or has failed. It follows the
//! rules R2 to R8 and R10 of the ledger protocol: the ensemble and the LAC that it found at the beginning stay what
//! they are (*frozen*); every read fences; an answer that is not an explicit "it is not here" counts for nothing.
//! [`recover`] drives it, and makes the two metadata changes around it (R1, R9).

mod shell;
mod tail;

use std::collections::BTreeMap;

use metadata::schema::Segment;
use net::{Failure, Reply};
use planted::Bug;
use protocol::bookie::{Answer, ReadOptions, Refusal, Request};
use protocol::{BookieId, EntryId};

use crate::Error;
use crate::layout::Layout;
use crate::quorum::Members;
use crate::writer::End;

pub use shell::recover;
use tail::Tail;

/// A request of a recovery: what it was for comes back with its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Fence a member and ask it for its last entry.
    Last { index: usize },
    /// Ask whether an entry exists.
    Read { entry: EntryId, index: usize },
    /// Write an entry again; `change` counts the replacements made before.
    Write { entry: EntryId, index: usize, change: u32 },
    /// Read the entry that the ledger ends with, for its length.
    Length { entry: EntryId },
}

#[derive(Debug)]
pub struct Ask {
    pub purpose: Purpose,
    pub bookie: BookieId,
    pub request: Request,
}

/// What a recovery waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Replies,
    /// The member `index` cannot be written: give another bookie with [`Recovery::replace`], none of `current`.
    Replacement {
        index: usize,
        current: Vec<BookieId>,
    },
    Done(Outcome),
    /// Nothing was decided: the ledger stays in recovery, and one may try again.
    Failed(Error),
}

/// Where the ledger ends, and what its segments are now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub end: End,
    pub segments: Vec<Segment>,
}

enum Phase {
    Fencing,
    Tail(Tail),
    /// Nothing was recovered: the length is that of the entry it began behind.
    Length {
        last: EntryId,
        answered: usize,
        negatives: usize,
    },
    Over(Step),
}

pub struct Recovery {
    layout: Layout,
    /// Members that answered the fencing read with what they have, or with "nothing".
    answered: Members,
    replies: usize,
    /// The greatest LAC that an answer spoke of.
    lac: EntryId,
    /// Lengths up to entries that were seen.
    lengths: BTreeMap<EntryId, i64>,
    phase: Phase,
}

impl Recovery {
    /// Begins with a ledger that metadata says is in recovery.
    pub fn new(layout: Layout, out: &mut Vec<Ask>) -> Recovery {
        for (index, bookie) in layout.last_segment().ensemble.iter().enumerate() {
            let options = ReadOptions { fence: Some(layout.key), ..ReadOptions::default() };
            let request = Request::Read { ledger: layout.ledger, entry: EntryId::NONE, options };
            out.push(Ask { purpose: Purpose::Last { index }, bookie: bookie.clone(), request });
        }
        Recovery {
            layout,
            answered: Members::NONE,
            replies: 0,
            lac: EntryId::NONE,
            lengths: BTreeMap::new(),
            phase: Phase::Fencing,
        }
    }

    pub fn step(&self) -> Step {
        match &self.phase {
            Phase::Fencing | Phase::Length { .. } => Step::Replies,
            Phase::Tail(tail) => tail.step(),
            Phase::Over(step) => step.clone(),
        }
    }

    pub fn answered(&mut self, purpose: Purpose, reply: Reply, out: &mut Vec<Ask>) {
        if let Err(Failure::Refused(Refusal::Unauthorized)) = reply {
            return self.fail(Error::Unauthorized(self.layout.ledger));
        }
        match (purpose, &mut self.phase) {
            (Purpose::Last { index }, Phase::Fencing) => self.last_entry(index, reply, out),
            (Purpose::Read { entry, index }, Phase::Tail(tail)) => {
                tail.read(&self.layout, entry, index, reply);
                self.go_on(out);
            }
            (Purpose::Write { entry, index, change }, Phase::Tail(tail)) => {
                tail.written(entry, index, change, reply);
                self.go_on(out);
            }
            (Purpose::Length { entry }, Phase::Length { .. }) => self.length_of(entry, reply),
            _ => {}
        }
    }

    /// Answers [`Step::Replacement`]; `None` if there is no other bookie.
    pub fn replace(&mut self, index: usize, bookie: Option<BookieId>, out: &mut Vec<Ask>) {
        if let Phase::Tail(tail) = &mut self.phase {
            tail.replace(&self.layout, index, bookie, out);
            self.go_on(out);
        }
    }

    fn fail(&mut self, error: Error) {
        if !matches!(self.phase, Phase::Over(_)) {
            self.phase = Phase::Over(Step::Failed(error));
        }
    }

    /// R2 to R4.
    fn last_entry(&mut self, index: usize, reply: Reply, out: &mut Vec<Ask>) {
        self.replies += 1;
        match reply {
            Ok(Answer::Entry { body, .. }) => {
                if let Ok((header, _)) = self.layout.digest.open_any(&body)
                    && header.ledger == self.layout.ledger
                {
                    self.answered.insert(index);
                    self.lac = self.lac.max(header.lac);
                    self.lengths.insert(header.entry, header.length);
                }
            }
            Err(failure) if counts_as_no(failure) => self.answered.insert(index),
            Ok(_) | Err(_) => {}
        }
        if self.layout.quorums.covered_by(self.answered) {
            let before_segment = EntryId(self.layout.last_segment().first.0 - 1);
            let start = self.lac.max(before_segment);
            self.phase = Phase::Tail(Tail::new(&self.layout, start));
            self.go_on(out);
        } else if self.replies == self.layout.quorums.ensemble() {
            let (have, all) = (self.answered.count(), self.layout.quorums.ensemble());
            self.fail(Error::Unavailable(format!(
                "ledger {} cannot be recovered now: {have} of {all} bookies answered, and the others could hold \
                 acknowledged entries; start {}",
                self.layout.ledger,
                self.silent().join(" or "),
            )));
        }
    }

    fn silent(&self) -> Vec<String> {
        let ensemble = self.layout.last_segment().ensemble.iter().enumerate();
        ensemble.filter(|(i, _)| !self.answered.contains(*i)).map(|(_, b)| b.to_string()).collect()
    }

    fn go_on(&mut self, out: &mut Vec<Ask>) {
        let Phase::Tail(tail) = &mut self.phase else { return };
        tail.go_on(&self.layout, out);
        if let Step::Failed(error) = tail.step() {
            return self.fail(error);
        }
        let Some(last) = tail.end() else { return };
        let segments = tail.segments(&self.layout);
        let known = tail.length().or_else(|| self.lengths.get(&last).copied());
        match known {
            _ if last.is_none() => self.done(End { last, length: 0 }, segments),
            Some(length) => self.done(End { last, length }, segments),
            None if planted::on(Bug::EmptyTailHasNoLength) => self.done(End { last, length: 0 }, segments),
            None => self.ask_for_length(last, out),
        }
    }

    fn done(&mut self, end: End, segments: Vec<Segment>) {
        self.phase = Phase::Over(Step::Done(Outcome { end, segments }));
    }

    fn ask_for_length(&mut self, last: EntryId, out: &mut Vec<Ask>) {
        for bookie in self.layout.replicas(last) {
            let options = ReadOptions { high_priority: true, ..ReadOptions::default() };
            let request = Request::Read { ledger: self.layout.ledger, entry: last, options };
            out.push(Ask { purpose: Purpose::Length { entry: last }, bookie: bookie.clone(), request });
        }
        self.phase = Phase::Length { last, answered: 0, negatives: 0 };
    }

    fn length_of(&mut self, entry: EntryId, reply: Reply) {
        let Phase::Length { last, answered, negatives } = &mut self.phase else { return };
        let last = *last;
        *answered += 1;
        match reply {
            Ok(Answer::Entry { body, .. }) => {
                if let Ok((header, _)) = self.layout.digest.open(self.layout.ledger, entry, &body) {
                    let segments = self.layout.segments.clone();
                    return self.done(End { last, length: header.length }, segments);
                }
            }
            Err(Failure::Refused(refusal)) if refusal.is_negative() => *negatives += 1,
            Ok(_) | Err(_) => {}
        }
        let write = self.layout.quorums.write();
        if *negatives == write {
            let why = "each says that it never had it".into();
            self.fail(Error::DataLoss { ledger: self.layout.ledger, entry: last, why });
        } else if *answered == write {
            self.fail(Error::Unavailable(format!(
                "entry {last} of ledger {} cannot be read now, so the length of the ledger is not known",
                self.layout.ledger
            )));
        }
    }
}

/// Whether a failure is an explicit, durable "it is not here" (R3, R7).
fn counts_as_no(failure: Failure) -> bool {
    match failure {
        Failure::Refused(refusal) => refusal.is_negative() || planted::on(Bug::UnknownCountsAsNo),
        Failure::Unreachable | Failure::TimedOut => false,
    }
}

#[cfg(test)]
mod tests;
