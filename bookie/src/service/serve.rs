//! Where a request goes.

use net::{Failure, ReplyTo, gather};
use protocol::LedgerId;
use protocol::bookie::{Answer, Refusal, Request};
use std::sync::atomic::Ordering;
use tokio::time::Instant;

use super::Core;
use super::duty::Held;
use super::keeper::Work;
use super::long_poll::is_long_poll;
use crate::Duty;

/// Who can answer a request.
enum Way {
    /// The shelf's keeper: it changes something, or fences before it reads.
    Keeper(LedgerId),
    /// Any reader.
    Reader(LedgerId),
    LongPoll(LedgerId),
    Space,
}

impl Core {
    /// Takes requests of one connection, in order. Waits for a disk only while that is idle and quick.
    pub fn submit(&self, batch: Vec<(Request, ReplyTo)>) {
        if self.alarm.is_rung() {
            return gather(|| drop(batch));
        }
        let since = Instant::now();
        let mut work: Vec<Vec<Work>> = Vec::new();
        work.resize_with(self.shelves.len(), Vec::new);
        if let [only] = work.as_mut_slice() {
            only.reserve(batch.len());
        }
        gather(|| {
            for (request, reply) in batch {
                self.take(request, reply, since, &mut work);
            }
        });
        for (shelf, work) in self.shelves.iter().zip(work) {
            if !work.is_empty() {
                shelf.turns.bring(work);
            }
        }
    }

    fn take(&self, request: Request, reply: ReplyTo, since: Instant, work: &mut [Vec<Work>]) {
        let refuse = |reply: ReplyTo, refusal| {
            self.metrics.others_refused.add(1);
            reply.answer(Err(Failure::Refused(refusal)));
        };
        if let Some(refusal) = self.refused(&request) {
            return refuse(reply, refusal);
        }
        let way = way(&request);
        let place = match way {
            Way::Space => return reply.answer(Ok(self.how_full())),
            Way::Keeper(ledger) => self.placement.find_or_choose(ledger),
            Way::Reader(ledger) | Way::LongPoll(ledger) => self.find(ledger),
        };
        let (number, shelf) = match place.and_then(|n| Ok((n, self.shelves.get(n).ok_or(Refusal::Io)?))) {
            Ok(found) => found,
            Err(refusal) => return refuse(reply, refusal),
        };
        let Some(cost) = self.budget.reserve(number, body_of(&request)) else {
            self.metrics.pushed_back.add(1);
            return refuse(reply, Refusal::TooManyRequests);
        };
        let held = Held::new(reply, self.budget.clone(), (number, cost), since);
        if let Some(ledger) = self.in_doubt(number, &request) {
            return self.doubts.push(number, ledger, request, held);
        }
        match way {
            Way::Keeper(_) => match work.get_mut(number) {
                Some(work) => work.push(Work::Serve(request, held)),
                None => held.answer(Err(Refusal::Io)),
            },
            Way::LongPoll(_) => shelf.long_polls.wait(request, held, since),
            Way::Reader(_) | Way::Space => self.read(number, request, held),
        }
    }

    /// In the caller's task if that needs no disk, else in the shelf's read lane.
    pub fn read(&self, number: usize, request: Request, held: Held) {
        let now = self.placement.reader(number).and_then(|reader| reader.serve_now(&request));
        match (now, self.shelves.get(number)) {
            (Some(outcome), _) => held.answer(outcome),
            (None, Some(shelf)) => {
                self.metrics.reads_cold.add(1);
                shelf.reads.push(request, held);
            }
            (None, None) => held.answer(Err(Refusal::Io)),
        }
    }

    fn how_full(&self) -> Answer {
        let free = if self.is_writable() { self.space.free.load(Ordering::Relaxed) } else { 0 };
        Answer::Info { free, total: self.space.total.load(Ordering::Relaxed) }
    }

    /// The disk that has the ledger, for a read.
    fn find(&self, ledger: LedgerId) -> Result<usize, Refusal> {
        let nowhere = || match self.limbo_all.load(Ordering::Relaxed) {
            true => Refusal::Unknown,
            false => Refusal::NoLedger,
        };
        match self.placement.find(ledger)? {
            Some(shelf) => Ok(shelf),
            // Metadata is asked first: it may be in limbo, and needs a place to be so.
            None if self.doubts.are_there() => self.placement.find_or_choose(ledger),
            None => Err(nowhere()),
        }
    }

    /// What no shelf needs to see.
    fn refused(&self, request: &Request) -> Option<Refusal> {
        match request {
            Request::Info => None,
            _ if request.ledger().is_none_or(|ledger| ledger.0 < 0) => Some(Refusal::BadRequest),
            Request::Add { options, .. } if !options.recovery && self.stopping.load(Ordering::Relaxed) => {
                Some(Refusal::ReadOnly)
            }
            _ => None,
        }
    }
}

fn body_of(request: &Request) -> usize {
    match request {
        Request::Add { body, .. } => body.len(),
        Request::WriteLac { packet, .. } => packet.len(),
        _ => 0,
    }
}

fn way(request: &Request) -> Way {
    match request {
        Request::Info => Way::Space,
        Request::Add { ledger, .. } | Request::WriteLac { ledger, .. } | Request::Force { ledger } => {
            Way::Keeper(*ledger)
        }
        Request::Read { ledger, options, .. } | Request::BatchRead { ledger, options, .. } => {
            match (options.fence, is_long_poll(request)) {
                (Some(_), _) => Way::Keeper(*ledger),
                (None, Some(_)) => Way::LongPoll(*ledger),
                (None, None) => Way::Reader(*ledger),
            }
        }
        Request::ReadRange { ledger, .. }
        | Request::Lengths { ledger, .. }
        | Request::ReadLac { ledger }
        | Request::ListEntries { ledger } => Way::Reader(*ledger),
    }
}
