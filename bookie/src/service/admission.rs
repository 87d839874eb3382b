//! The first normal add for a ledger that this bookie does not know: may it be written here?
//!
//! A bookie that was emptied, or re-created under an old name, knows nothing of the fences it had. Metadata does: a
//! ledger that is not open takes no adds, however its old writer feels about it.

use std::sync::Arc;
use std::time::Duration;

use metadata::{Ledgers, State};
use planted::Bug;
use protocol::bookie::Refusal;
use protocol::{BookieId, LedgerId};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Core;
use super::keeper::Work;
use super::queue::Queue;

/// What metadata says of a first add. An error is the answer to it.
pub type Admission = Result<(), Refusal>;

/// Metadata requests under way at once.
const AT_ONCE: usize = 64;

pub struct Admitter {
    ledgers: Ledgers,
    me: BookieId,
    limit: Duration,
    /// The queue of each shelf.
    shelves: Vec<Arc<Queue<Work>>>,
}

impl Admitter {
    pub fn of(core: &Core, shelves: Vec<Arc<Queue<Work>>>) -> Admitter {
        let (ledgers, me) = (core.ledgers.clone(), core.id.clone());
        Admitter { ledgers, me, limit: core.settings.metadata_timeout, shelves }
    }

    /// Answers questions (shelf, ledger) until nobody asks any more.
    pub async fn run(self, mut questions: UnboundedReceiver<(usize, LedgerId)>) {
        let mut under_way = JoinSet::new();
        loop {
            let room = under_way.len() < AT_ONCE;
            tokio::select! {
                biased;
                done = under_way.join_next(), if !under_way.is_empty() => {
                    if let Some(Ok((shelf, ledger, admission))) = done {
                        self.tell(shelf, ledger, admission);
                    }
                }
                question = questions.recv(), if room => {
                    let Some((shelf, ledger)) = question else { return };
                    let (ledgers, me, limit) = (self.ledgers.clone(), self.me.clone(), self.limit);
                    under_way.spawn(async move { (shelf, ledger, admit(&ledgers, &me, ledger, limit).await) });
                }
            }
        }
    }

    fn tell(&self, shelf: usize, ledger: LedgerId, admission: Admission) {
        if let Some(queue) = self.shelves.get(shelf) {
            queue.push([Work::Admitted(ledger, admission)]);
        }
    }
}

/// Asks metadata, by a linearizable read.
async fn admit(ledgers: &Ledgers, me: &BookieId, ledger: LedgerId, limit: Duration) -> Admission {
    if planted::on(Bug::FirstAddUnchecked) {
        return Ok(());
    }
    let found = match timeout(limit, ledgers.read(ledger)).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            tracing::warn!(%ledger, %error, "first add refused: metadata cannot be asked");
            return Err(Refusal::Io);
        }
        Err(_) => {
            tracing::warn!(%ledger, "first add refused: metadata did not answer in time");
            return Err(Refusal::Io);
        }
    };
    match found {
        // Created a moment ago elsewhere, deleted, or never there: GC will see.
        None => Ok(()),
        Some(stored) if stored.metadata.state == State::Open && stored.metadata.names(me) => Ok(()),
        Some(_) => Err(Refusal::Fenced),
    }
}
