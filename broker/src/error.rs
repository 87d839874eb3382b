//! What can go wrong, by what the caller does about it.

use crate::entry::Corrupt;
use crate::vb::Refused;

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The log below: its own kinds say what to do.
    #[error(transparent)]
    Log(#[from] ledger::Error),
    /// Tell the operator: what is stored is not what was written, or of a later release.
    #[error("virtual broker: {0}")]
    Corrupt(String),
    /// Nothing was staged.
    #[error(transparent)]
    Refused(#[from] Refused),
}

impl From<Corrupt> for Error {
    fn from(corrupt: Corrupt) -> Error {
        Error::Corrupt(corrupt.0)
    }
}
