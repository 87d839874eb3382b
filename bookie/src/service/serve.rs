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
    /// Takes requests of one connection, in order. Never blocks.
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
                shelf.queue.push(work);
            }
        }
    }

    fn take(&self, request: Request, reply: ReplyTo, since: Instant, work: &mut [Vec<Work>]) {
        let Some(cost) = self.budget.reserve(body_of(&request)) else {
            self.metrics.pushed_back.add(1);
            return reply.answer(Err(Failure::Refused(Refusal::TooManyRequests)));
        };
        let held = Held::new(reply, self.budget.clone(), cost, since);
        if let Some(refusal) = self.refused(&request) {
            return held.answer(Err(refusal));
        }
        match way(&request) {
            Way::Space => held.answer(Ok(Answer::Info {
                free: if self.is_writable() { self.space.free.load(Ordering::Relaxed) } else { 0 },
                total: self.space.total.load(Ordering::Relaxed),
            })),
            Way::Keeper(ledger) => match self.placement.find_or_choose(ledger) {
                Ok(shelf) => match work.get_mut(shelf) {
                    Some(work) => work.push(Work::Serve(request, held)),
                    None => held.answer(Err(Refusal::Io)),
                },
                Err(refusal) => held.answer(Err(refusal)),
            },
            Way::Reader(ledger) => self.read(ledger, request, held),
            Way::LongPoll(ledger) => match self.placement.find(ledger) {
                Ok(Some(shelf)) => match self.shelves.get(shelf) {
                    Some(shelf) => shelf.long_polls.wait(request, held, since),
                    None => held.answer(Err(Refusal::Io)),
                },
                other => held.answer(Err(self.nowhere(other.err()))),
            },
        }
    }

    fn read(&self, ledger: LedgerId, request: Request, held: Held) {
        let shelf = match self.placement.find(ledger) {
            Ok(Some(shelf)) => shelf,
            other => return held.answer(Err(self.nowhere(other.err()))),
        };
        let Some(shelf) = self.shelves.get(shelf) else { return held.answer(Err(Refusal::Io)) };
        self.metrics.reads_cold.add(1);
        shelf.reads.push(request, held);
    }

    /// No disk here knows the ledger.
    fn nowhere(&self, failed: Option<Refusal>) -> Refusal {
        match failed {
            Some(refusal) => refusal,
            None if self.limbo_all.load(Ordering::Relaxed) => Refusal::Unknown,
            None => Refusal::NoLedger,
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
        Request::ReadRange { ledger, .. } | Request::ReadLac { ledger } | Request::ListEntries { ledger } => {
            Way::Reader(*ledger)
        }
    }
}
