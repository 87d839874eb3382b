//! What can go wrong, by what the caller does about it.

use std::sync::Arc;

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
    /// Agreement on who serves what.
    #[error(transparent)]
    Metadata(#[from] metadata::Error),
    #[error("{0}; choose other ports with --listen")]
    Listen(Arc<std::io::Error>),
    /// Another process is reached where we are.
    #[error("{0}")]
    Namesake(String),
    /// Ours: only a report of it helps.
    #[error("{0}: this is a bug; please report it with this log")]
    Bug(String),
    /// A record that was needed was not taken.
    #[error(transparent)]
    Refused(#[from] Refused),
}

impl From<Corrupt> for Error {
    fn from(corrupt: Corrupt) -> Error {
        Error::Corrupt(corrupt.0)
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Error {
        Error::Listen(Arc::new(error))
    }
}
