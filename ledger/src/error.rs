//! What can go wrong, by what the caller does about it.

use protocol::{EntryId, LedgerId};

use crate::log::Position;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Drop the handle; open again if the log should still be yours.
    #[error(transparent)]
    Ended(#[from] Ended),
    /// Go on at `first`.
    #[error("position {asked} is trimmed away: the log goes on at {first}")]
    Trimmed { asked: Position, first: Position },
    /// Not an error in the data: wait until it is acknowledged.
    #[error("{0} is not there yet")]
    NotYet(String),
    /// Try again later: nothing was decided.
    #[error("{0}")]
    Unavailable(String),
    /// Too few bookies can be written; the text says how many there are and how many are needed.
    #[error("{0}")]
    TooFewBookies(String),
    /// Tell the operator: all replicas were asked and none has what was acknowledged.
    #[error("entry {entry} of ledger {ledger} was written, but none of its bookies has it: {why}")]
    DataLoss { ledger: LedgerId, entry: EntryId, why: String },
    /// Tell the operator: what is stored is not what was written.
    #[error("{0}")]
    Corrupt(String),
    #[error("there is no ledger {0}")]
    NoSuchLedger(LedgerId),
    #[error("the password of ledger {0} is another one")]
    Unauthorized(LedgerId),
    /// The request can never succeed; the text says why.
    #[error("{0}")]
    Invalid(String),
}

impl From<metadata::Error> for Error {
    fn from(error: metadata::Error) -> Error {
        let text = error.to_string();
        match error {
            metadata::Error::Corrupt(_) => Error::Corrupt(text),
            metadata::Error::Invalid(_) => Error::Invalid(text),
            _ => Error::Unavailable(text),
        }
    }
}

/// Why a writer is over. It is final: nothing more will be acknowledged by this handle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    #[error("another owner has taken over")]
    Stolen,
    #[error("the log was sealed by its owner")]
    Sealed,
    /// What was appended and not acknowledged may or may not be in the log.
    #[error("writing has failed for good: {0}")]
    Failed(String),
}
