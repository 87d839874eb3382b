use net::remoting::Unanswered;
use protocol::message::OffsetId;
use protocol::remoting::{BadField, Command, code::response};

/// What went wrong, by what one can do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nobody answered. Whether a message was stored is not known, except where the text says that it never left.
    #[error("{0}")]
    Unanswered(#[from] Unanswered),
    /// A broker or name server said no.
    #[error("{by} refused: {remark} (code {code}{name})", name = named(*code))]
    Refused { by: String, code: i32, remark: String },
    #[error("no name server answered: {0}; give their addresses as host:port;host:port")]
    NoNameServer(String),
    #[error("topic '{0}' has no queue that can be {1}: create it, or look at its permissions")]
    NoQueue(String, &'static str),
    #[error("broker '{0}' is not in any route that is known")]
    NoBroker(String),
    #[error(
        "no broker has the message {0}: it was deleted with its topic or by its age, or it never was there"
    )]
    NoMessage(OffsetId),
    #[error("the answer makes no sense: {0}")]
    Nonsense(String),
    #[error("{0}")]
    Usage(String),
}

pub type Outcome<T = ()> = Result<T, Error>;

fn named(code: i32) -> String {
    response::name(code).map(|name| format!(", {name}")).unwrap_or_default()
}

impl Error {
    pub(crate) fn refused(by: impl Into<String>, reply: &Command) -> Error {
        let remark = reply.remark.clone().unwrap_or_else(|| "without saying why".to_owned());
        Error::Refused { by: by.into(), code: reply.code, remark }
    }

    /// The code with which somebody refused.
    pub fn code(&self) -> Option<i32> {
        match self {
            Error::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether another broker, or the same one later, may do it.
    pub(crate) fn is_passing(&self) -> bool {
        use response::*;
        match self {
            Error::Unanswered(_) => true,
            Error::Refused { code, .. } => matches!(
                *code,
                SYSTEM_ERROR
                    | SYSTEM_BUSY
                    | SERVICE_NOT_AVAILABLE
                    | NO_PERMISSION
                    | TOPIC_NOT_EXIST
                    | NO_BUYER_ID
                    | NOT_IN_CURRENT_UNIT
                    | GO_AWAY
            ),
            _ => false,
        }
    }

    /// Whether nobody can have done what was asked.
    pub(crate) fn never_left(&self) -> bool {
        matches!(self, Error::Unanswered(Unanswered::Unreachable { .. }))
    }

    /// Whether it is what one sees while a virtual broker changes hands.
    pub(crate) fn is_moving(&self) -> bool {
        match self {
            Error::Unanswered(_) | Error::NoBroker(_) => true,
            Error::Refused { code, .. } => {
                matches!(*code, response::SERVICE_NOT_AVAILABLE | response::GO_AWAY)
            }
            _ => false,
        }
    }
}

impl From<BadField> for Error {
    fn from(error: BadField) -> Error {
        Error::Nonsense(error.to_string())
    }
}

impl From<protocol::body::Malformed> for Error {
    fn from(error: protocol::body::Malformed) -> Error {
        Error::Nonsense(error.to_string())
    }
}
