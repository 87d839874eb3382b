//! The first normal add for a ledger that this bookie does not know: may it be written here?
//!
//! A bookie that was emptied, or re-created under an old name, knows nothing of the fences it had. Metadata does: a
//! ledger that is not open takes no adds, however its old writer feels about it; nor does one that is as old as a loss.

use std::sync::Arc;

use metadata::{Error, LedgerMetadata, State};
use planted::Bug;
use protocol::LedgerId;
use protocol::bookie::Refusal;
use tokio::time::timeout;

use super::Core;
use super::keeper::Work;

/// What metadata says of a first add. An error is the answer to it.
pub type Admission = Result<(), Refusal>;

/// Answers a shelf's question.
pub async fn admit(core: Arc<Core>, number: usize, ledger: LedgerId) {
    let admission = match planted::on(Bug::FirstAddUnchecked) {
        true => Ok(()),
        false => ask(&core, number, ledger).await,
    };
    if let Some(shelf) = core.shelves.get(number) {
        shelf.queue.push([Work::Admitted(ledger, admission)]);
    }
}

async fn ask(core: &Core, shelf: usize, ledger: LedgerId) -> Admission {
    match timeout(core.settings.metadata_timeout, may_be_written(core, shelf, ledger)).await {
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false)) => Err(Refusal::Fenced),
        Ok(Err(error)) => {
            tracing::warn!(%ledger, %error, "first add refused: metadata cannot be asked");
            Err(Refusal::Io)
        }
        Err(_) => {
            tracing::warn!(%ledger, "first add refused: metadata did not answer in time");
            Err(Refusal::Io)
        }
    }
}

/// By a linearizable read.
async fn may_be_written(core: &Core, shelf: usize, ledger: LedgerId) -> Result<bool, Error> {
    // Created a moment ago elsewhere, deleted, or never there: GC will see.
    let Some(found) = core.ledgers.store().get(&core.ledgers.scope().ledger(ledger)).await? else {
        return Ok(true);
    };
    // Its fence may be what was lost. Whoever reads it, or recovers it, finds it in limbo.
    if core.doubts.covers(found.created) && !core.placement.knows(shelf, ledger) {
        return Ok(false);
    }
    let metadata = LedgerMetadata::decode(ledger, &found.value)?;
    Ok(metadata.state == State::Open && metadata.names(&core.id))
}
