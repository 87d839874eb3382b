//! A bookie that has lost data once, and ledgers that no disk here knows.
//!
//! Which ledgers should have been here was read from a listing of metadata. A listing may be incomplete; so a ledger
//! that is unknown here, that names this bookie and that is as old as the loss, is not denied but put in limbo: one
//! linearizable read, before the first answer about it. Whatever else comes about the ledger meanwhile waits for the
//! same answer, so that one busy client keeps nobody waiting.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use metadata::{Error, LedgerMetadata, Revision};
use net::gather;
use parking_lot::Mutex;
use protocol::LedgerId;
use protocol::bookie::{Refusal, Request};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::timeout;

use super::Core;
use super::duty::Held;
use super::keeper::Work;
use crate::Duty;
use crate::shelf::Order;

/// Requests about unknown ledgers, on their way to metadata.
pub struct Doubts {
    /// The revision of metadata up to which ledgers may have been lost here; 0: nothing ever was.
    lost_until: AtomicI64,
    waiting: Mutex<Waiting>,
    /// For [`resolve`].
    questions: UnboundedSender<(usize, LedgerId)>,
    most: usize,
}

#[derive(Default)]
struct Waiting {
    /// What waits for each ledger, in order.
    ledgers: BTreeMap<LedgerId, Vec<Waiter>>,
    count: usize,
    closed: bool,
}

type Waiter = (Request, Held);

impl Doubts {
    pub fn new(lost_until: i64, most: usize, questions: UnboundedSender<(usize, LedgerId)>) -> Doubts {
        Doubts { lost_until: AtomicI64::new(lost_until), waiting: Mutex::default(), questions, most }
    }

    /// Durable in metadata already.
    pub fn set(&self, lost_until: i64) {
        self.lost_until.store(lost_until, Ordering::Relaxed);
    }

    /// Whether anything ever was lost here.
    pub fn are_there(&self) -> bool {
        self.lost_until.load(Ordering::Relaxed) > 0
    }

    /// Whether a ledger that was created then may have been lost here, if no disk knows it.
    pub fn covers(&self, created: Revision) -> bool {
        created.0 <= self.lost_until.load(Ordering::Relaxed)
    }

    /// Keeps the request until metadata was asked of its ledger.
    pub fn push(&self, shelf: usize, ledger: LedgerId, request: Request, held: Held) {
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return;
        }
        if waiting.count >= self.most {
            drop(waiting);
            return held.answer(Err(Refusal::TooManyRequests));
        }
        waiting.count += 1;
        let asked = waiting.ledgers.entry(ledger).or_default();
        asked.push((request, held));
        if asked.len() == 1 {
            // Nobody to ask: the bookie ends, and drops what waits.
            let _ = self.questions.send((shelf, ledger));
        }
    }

    fn take(&self, ledger: LedgerId) -> Vec<Waiter> {
        let mut waiting = self.waiting.lock();
        let taken = waiting.ledgers.remove(&ledger).unwrap_or_default();
        waiting.count -= taken.len();
        taken
    }

    /// Drops what waits, and everything that comes.
    pub fn close(&self) {
        let closed = Waiting { closed: true, ..Waiting::default() };
        let dropped = std::mem::replace(&mut *self.waiting.lock(), closed);
        gather(|| drop(dropped));
    }
}

/// Asks metadata for a ledger, and sends on all that waits for that.
pub async fn resolve(core: Arc<Core>, shelf: usize, ledger: LedgerId) {
    let settled = match timeout(core.settings.metadata_timeout, was_lost(&core, ledger)).await {
        Ok(Ok(false)) => true,
        Ok(Ok(true)) => {
            tracing::warn!(%ledger, "a listing of metadata had left this ledger out: limbo");
            core.order(shelf, vec![Order::Fence(ledger), Order::Limbo(ledger)]).await
        }
        Ok(Err(_)) | Err(_) => false,
    };
    gather(|| {
        for (request, held) in core.doubts.take(ledger) {
            match settled {
                true => core.go_on(shelf, request, held),
                false => held.answer(Err(Refusal::Io)),
            }
        }
    });
}

/// Whether the ledger is one that this bookie may have had when it lost data.
async fn was_lost(core: &Core, ledger: LedgerId) -> Result<bool, Error> {
    let key = core.ledgers.scope().ledger(ledger);
    let Some(found) = core.ledgers.store().get(&key).await? else { return Ok(false) };
    if !core.doubts.covers(found.created) {
        return Ok(false);
    }
    // What cannot be read may name this bookie.
    Ok(LedgerMetadata::decode(ledger, &found.value).map_or(true, |metadata| metadata.names(&core.id)))
}

impl Core {
    /// Whether metadata has to be asked before anything is said to this. A normal add is not among it: it is asked about
    /// anyway, where it is taken ([`super::admission`]).
    pub fn in_doubt(&self, shelf: usize, request: &Request) -> Option<LedgerId> {
        let normal_add = matches!(request, Request::Add { options, .. } if !options.recovery);
        if !self.doubts.are_there() || normal_add {
            return None;
        }
        request.ledger().filter(|ledger| !self.placement.knows(shelf, *ledger))
    }

    fn go_on(&self, number: usize, request: Request, held: Held) {
        match &request {
            Request::Read { options, .. } | Request::BatchRead { options, .. } if options.fence.is_none() => {
                self.read(number, request, held);
            }
            Request::ReadRange { .. }
            | Request::Lengths { .. }
            | Request::ReadLac { .. }
            | Request::ListEntries { .. } => {
                self.read(number, request, held);
            }
            _ => match self.shelves.get(number) {
                Some(shelf) => shelf.queue.push([Work::Serve(request, held)]),
                None => held.answer(Err(Refusal::Io)),
            },
        }
    }
}
