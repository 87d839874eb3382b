//! A bookie that has lost data once, and ledgers that no disk here knows.
//!
//! Which ledgers should have been here was read from a listing of metadata. A listing may be incomplete; so a ledger
//! that is unknown here, that names this bookie and that is as old as the loss, is not denied but put in limbo: one
//! linearizable read, before the first answer about it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use metadata::{Error, LedgerMetadata};
use protocol::LedgerId;
use protocol::bookie::{Refusal, Request};
use tokio::time::timeout;

use super::Core;
use super::duty::Held;
use super::keeper::Work;
use super::queue::Queue;
use crate::Duty;
use crate::shelf::{Order, Reader};

/// Requests about unknown ledgers, on their way to metadata.
pub struct Doubts {
    /// The revision of metadata up to which ledgers may have been lost here; 0: nothing ever was.
    lost_until: AtomicI64,
    waiting: Queue<(usize, Request, Held)>,
    most: usize,
}

impl Doubts {
    pub fn new(lost_until: i64, most: usize) -> Doubts {
        Doubts { lost_until: AtomicI64::new(lost_until), waiting: Queue::default(), most }
    }

    /// Durable in metadata already.
    pub fn set(&self, lost_until: i64) {
        self.lost_until.store(lost_until, Ordering::Relaxed);
    }

    pub fn lost_until(&self) -> i64 {
        self.lost_until.load(Ordering::Relaxed)
    }

    /// Whether metadata has to be asked before anything is said to this.
    pub fn is_due(&self, reader: Option<&Reader>, request: &Request) -> bool {
        self.lost_until() > 0
            && request
                .ledger()
                .is_some_and(|ledger| !reader.is_some_and(|r| r.knows(ledger).unwrap_or(false)))
    }

    pub fn push(&self, shelf: usize, request: Request, held: Held) {
        if self.waiting.len() >= self.most {
            return held.answer(Err(Refusal::TooManyRequests));
        }
        self.waiting.push([(shelf, request, held)]);
    }

    pub fn close(&self) {
        self.waiting.close();
    }
}

/// Asks metadata for each, in order, and sends it on.
pub async fn resolve(core: Arc<Core>) {
    while let Some(taken) = core.doubts.waiting.take(usize::MAX).await {
        for (shelf, request, held) in taken {
            let Some(ledger) = request.ledger() else { continue };
            match timeout(core.settings.metadata_timeout, was_lost(&core, ledger)).await {
                Ok(Ok(false)) => core.go_on(shelf, request, held),
                Ok(Ok(true)) => {
                    tracing::warn!(%ledger, "a listing of metadata had left this ledger out: limbo");
                    match core.order(shelf, vec![Order::Fence(ledger), Order::Limbo(ledger)]).await {
                        true => core.go_on(shelf, request, held),
                        false => held.answer(Err(Refusal::Io)),
                    }
                }
                Ok(Err(_)) | Err(_) => held.answer(Err(Refusal::Io)),
            }
        }
    }
}

/// Whether the ledger is one that this bookie may have had when it lost data.
async fn was_lost(core: &Core, ledger: LedgerId) -> Result<bool, Error> {
    let key = core.ledgers.scope().ledger(ledger);
    let Some(found) = core.ledgers.store().get(&key).await? else { return Ok(false) };
    if found.created.0 > core.doubts.lost_until() {
        return Ok(false);
    }
    // What cannot be read may name this bookie.
    Ok(LedgerMetadata::decode(ledger, &found.value).map_or(true, |metadata| metadata.names(&core.id)))
}

impl Core {
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
