//! Transactions whose outcome the store did not tell: read again, never assume.

use std::time::Duration;

use planted::Bug;
use tokio::time::{Instant, sleep};

use crate::{Error, KeyValue, Op, Revision, Store, Txn, TxnOutcome};

/// How long an unclear outcome is pursued before it is handed to the caller.
pub const SETTLE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Runs `txn`; an ambiguous outcome is settled by running it again and reading what it would have written.
///
/// The transaction MUST compare something that it changes, so that it cannot happen twice; and its values MUST differ
/// from those of other writers wherever it matters who wrote them (a token, an epoch). Errors with
/// [`Error::Ambiguous`] only if the store stays out of reach for [`SETTLE`].
pub async fn commit(store: &dyn Store, txn: Txn) -> Result<TxnOutcome, Error> {
    let until = Instant::now() + SETTLE;
    let mut pause = PAUSE;
    let mut unclear = None;
    loop {
        match store.txn(txn.clone()).await {
            Ok(TxnOutcome::Conflict(now)) if unclear.is_some() => match happened(store, &txn).await {
                Ok(Some(at)) => return Ok(TxnOutcome::Done(at)),
                Ok(None) => return Ok(TxnOutcome::Conflict(now)),
                Err(_) => {}
            },
            Err(Error::Ambiguous(why)) if !planted::on(Bug::TimeoutTakenAsFailure) => unclear = Some(why),
            Err(Error::Ambiguous(why)) => return Err(Error::Unavailable(why)),
            // What was sent before may still arrive: this attempt's clear failure does not settle it.
            Err(Error::Unavailable(_) | Error::LeaseGone) if unclear.is_some() => {}
            settled => return settled,
        }
        if Instant::now() >= until {
            return Err(Error::Ambiguous(unclear.unwrap_or_default()));
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Whether everything that `txn` writes is there: then it was this transaction, at the revision that is returned.
/// A key that another one wrote since, with the same value (a bucket of ids), has a later revision.
async fn happened(store: &dyn Store, txn: &Txn) -> Result<Option<Revision>, Error> {
    let mut at = None;
    for op in &txn.ops {
        match (op, store.get(op.key()).await?) {
            (Op::Put { value, lease, .. }, Some(KeyValue { value: now, lease: held, modified, .. }))
                if *value == now && *lease == held =>
            {
                at = Some(at.map_or(modified, |at: Revision| at.min(modified)));
            }
            (Op::Delete { .. }, None) => {}
            _ => return Ok(None),
        }
    }
    Ok(Some(at.unwrap_or_default()))
}
