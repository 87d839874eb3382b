//! The duty to answer a request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use net::remoting::Connection;
use protocol::remoting::code::response;
use protocol::remoting::{BadField, Command, Echo};

use super::offsets::moved;
use crate::vb;

/// Why a request is refused, in RocketMQ's codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: i32,
    pub remark: String,
}

pub fn refuse<T>(code: i32, remark: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { code, remark: remark.into() })
}

impl From<BadField> for Refusal {
    fn from(bad: BadField) -> Refusal {
        Refusal { code: response::SYSTEM_ERROR, remark: bad.to_string() }
    }
}

impl From<protocol::body::Malformed> for Refusal {
    fn from(bad: protocol::body::Malformed) -> Refusal {
        Refusal { code: response::SYSTEM_ERROR, remark: bad.to_string() }
    }
}

impl From<vb::Refused> for Refusal {
    fn from(refused: vb::Refused) -> Refusal {
        let code = match refused {
            vb::Refused::Busy { .. } => response::SYSTEM_BUSY,
            vb::Refused::Full(_) | vb::Refused::Fenced => response::SERVICE_NOT_AVAILABLE,
            vb::Refused::TooLarge { .. } | vb::Refused::Invalid(_) => response::MESSAGE_ILLEGAL,
        };
        Refusal { code, remark: refused.to_string() }
    }
}

/// What a request without an answer takes in memory, when it was read and only its answer is to come.
const LITTLE: usize = 256;

/// Answers exactly once, even by being dropped. Until then it counts in the memory of its connection.
#[derive(Debug)]
pub struct Answer {
    connection: Arc<Connection>,
    echo: Echo,
    done: bool,
    /// Bytes that are counted for it.
    kept: usize,
    /// How many answers are owed, of this and all other connections.
    owed: Arc<AtomicUsize>,
}

impl Answer {
    /// The duty to answer a request; `owed` counts such duties.
    pub fn new(connection: &Arc<Connection>, request: &Command, owed: &Arc<AtomicUsize>) -> Answer {
        owed.fetch_add(1, Ordering::Relaxed);
        connection.keep(LITTLE);
        let (connection, echo) = (connection.clone(), request.echo());
        Answer { connection, echo, done: false, kept: LITTLE, owed: owed.clone() }
    }

    /// The request is kept until it can be looked at.
    pub fn with(mut self, request: &Command) -> Answer {
        self.connection.keep(request.size());
        self.kept += request.size();
        self
    }

    /// The request is not kept any more.
    pub fn alone(mut self) -> Answer {
        self.connection.let_go(self.kept - LITTLE);
        self.kept = LITTLE;
        self
    }

    /// It may take as long as it likes, and has bounds of its own: its connection is read on.
    pub fn at_rest(mut self) -> Answer {
        self.connection.let_go(std::mem::take(&mut self.kept));
        self
    }

    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    pub fn peer(&self) -> SocketAddr {
        self.connection.peer()
    }

    /// Nobody waits for it.
    pub fn one_way(&self) -> bool {
        self.echo.one_way
    }

    /// A reply to fill in.
    pub fn draft(&self, code: i32) -> Command {
        self.echo.reply(code)
    }

    pub fn reply(mut self, reply: Command) {
        self.done = true;
        self.connection.reply(reply);
    }

    /// As [`Answer::reply`], with a body in pieces that are not copied.
    pub fn reply_with(mut self, reply: Command, body: &[Bytes]) {
        self.done = true;
        self.connection.reply_with(reply, body);
    }

    pub fn done(self) {
        let reply = self.draft(response::SUCCESS);
        self.reply(reply);
    }

    /// Done as soon as everything that is staged by then is stored.
    pub fn done_once_stored(self) -> vb::Effect {
        vb::Effect::call(|outcome| self.done_if_stored(outcome))
    }

    pub fn done_if_stored(self, outcome: vb::Outcome) {
        self.if_stored(outcome, Answer::done);
    }

    /// Goes on with `then`, unless the virtual broker was lost before what this is about was stored.
    pub fn if_stored(self, outcome: vb::Outcome, then: impl FnOnce(Answer)) {
        match outcome {
            vb::Outcome::Fenced => self.refuse(moved()),
            _ => then(self),
        }
    }

    pub fn refuse(self, refusal: Refusal) {
        let reply = self.draft(refusal.code).remark(refusal.remark);
        self.reply(reply);
    }

    pub fn give(self, result: Result<Command, Refusal>) {
        match result {
            Ok(reply) => self.reply(reply),
            Err(refusal) => self.refuse(refusal),
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.owed.fetch_sub(1, Ordering::Relaxed);
        self.connection.let_go(self.kept);
        if !self.done {
            let lost =
                "the broker dropped this request without an answer: it may or may not have had its effect";
            self.connection.reply(self.echo.reply(response::SYSTEM_ERROR).remark(lost));
        }
    }
}
