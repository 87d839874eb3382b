//! What ends a command, and with which exit code.

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Wrong arguments or configuration: exit code 2, as for a flag that does not exist.
    #[error("the configuration is refused\n{0}")]
    Refused(#[from] crate::config::Refused),
    #[error("{0}")]
    Usage(String),
    /// It could not be done; the text says what to do about it.
    #[error("{0}")]
    Failed(String),
}

pub type Outcome<T = ()> = Result<T, Error>;

impl Error {
    pub fn exit_code(&self) -> i32 {
        match self {
            Error::Refused(_) | Error::Usage(_) => 2,
            Error::Failed(_) => 1,
        }
    }

    /// "cannot WHAT: why"
    pub fn cannot(what: impl std::fmt::Display, why: impl std::fmt::Display) -> Error {
        Error::Failed(format!("cannot {what}: {why}"))
    }
}
