//! What is staged, what becomes of it, and why something is not taken.

use std::net::SocketAddr;
use std::time::Duration;

use crate::state::{Change, TopicId};

/// One thing that must survive.
#[derive(Clone, Copy, Debug)]
pub enum Record<'a> {
    Message(NewMessage<'a>),
    Change(&'a Change),
    /// Nothing: once it is acknowledged, the log was still ours.
    Mark,
}

/// A message on its way into a queue. Offset, position, store time and store host are given to it when it is staged.
#[derive(Clone, Copy, Debug)]
pub struct NewMessage<'a> {
    pub topic: TopicId,
    pub topic_name: &'a str,
    pub queue: u16,
    pub body: &'a [u8],
    /// Written one after the other.
    pub properties: &'a [&'a [u8]],
    pub flag: i32,
    pub sys_flag: i32,
    pub born_time: i64,
    pub born_host: SocketAddr,
    pub reconsume_times: i32,
    pub prepared_offset: i64,
    /// For the index: a hash of the tag, or what else its queue is to be looked through by.
    pub tag: i64,
    /// Hashes under which it can be found.
    pub keys: &'a [u64],
}

/// Where a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    pub position: u64,
    pub queue_offset: u64,
}

/// A unit that was staged: it is in the log once that is acknowledged beyond `end`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staged {
    pub(super) first: Option<Placed>,
    pub(super) rest: Vec<Placed>,
    pub store_time: i64,
    pub end: u64,
}

impl Staged {
    /// The unit's messages, in order.
    pub fn messages(&self) -> impl Iterator<Item = Placed> + '_ {
        self.first.iter().chain(&self.rest).copied()
    }

    pub fn first(&self) -> Option<Placed> {
        self.first
    }

    pub(super) fn push(&mut self, placed: Placed) {
        match self.first {
            None => self.first = Some(placed),
            Some(_) => self.rest.push(placed),
        }
    }
}

/// Why a unit was not taken. Nothing of it is in the log, and no offset was given away.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("too much is on its way to the bookies, the oldest of it for {} ms: try again", .wait.as_millis())]
    Busy { wait: Duration },
    /// Nothing can be stored at present; the text says why.
    #[error("{0}")]
    Full(String),
    #[error("{bytes} bytes in one unit: {} is the most", crate::entry::MAX_ENTRY)]
    TooLarge { bytes: usize },
    #[error("{0}")]
    Invalid(String),
    #[error("this broker does not own the virtual broker any more")]
    Fenced,
}

/// How an effect's records ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Acknowledged,
    /// They are on their way and have not been acknowledged for long: they may or may not be stored.
    Slow,
    /// The log ended: they may or may not be stored.
    Fenced,
}

/// What happens when everything that was staged before it is acknowledged, or will not be.
pub enum Effect {
    Call(Box<dyn FnOnce(Outcome) + Send>),
}

impl Effect {
    pub fn call(f: impl FnOnce(Outcome) + Send + 'static) -> Effect {
        Effect::Call(Box::new(f))
    }

    pub fn fire(self, outcome: Outcome) {
        match self {
            Effect::Call(f) => f(outcome),
        }
    }
}
