use protocol::body::Malformed;
use protocol::remoting::BadField;
use protocol::remoting::code::response;

use crate::kept::MAX_BYTES;
use crate::registry::Refused;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Field(#[from] BadField),
    #[error(transparent)]
    Body(#[from] Malformed),
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("crc32 not match")]
    Crc,
    /// What is kept over a restart cannot be read or written.
    #[error("{0}")]
    Kept(String),
    #[error("all keys and values together would have {0} bytes; at most {MAX_BYTES} are kept: delete some")]
    TooMuch(usize),
    #[error("{0}")]
    Setting(String),
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    NoTopic(String),
}

impl Error {
    /// What the reply says.
    pub fn code(&self) -> i32 {
        match self {
            Error::NotFound(_) => response::QUERY_NOT_FOUND,
            Error::NoTopic(_) => response::TOPIC_NOT_EXIST,
            _ => response::SYSTEM_ERROR,
        }
    }
}
