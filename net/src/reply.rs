//! A request to a bookie and its reply, whoever carries them.
//!
//! A sender that has many requests under way gives each a token and one [`Inbox`]; replies gather there and wake
//! the sender once per batch, so there is neither a channel nor a task per request.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use protocol::BookieId;
use protocol::bookie::{Answer, Refusal, Request};
use tokio::sync::Notify;

use crate::gather::{Wake, wake_later};

/// What comes back for a request: exactly one of these, always.
pub type Reply = Result<Answer, Failure>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Failure {
    #[error("refused: {0}")]
    Refused(#[from] Refusal),
    /// Nothing is known of the request's effect.
    #[error("the bookie cannot be reached, or the connection broke before it answered")]
    Unreachable,
    /// Nothing is known of the request's effect.
    #[error("the bookie did not answer in time")]
    TimedOut,
}

/// How one reaches bookies. Implementations: TCP, in process (bookies of the same process), the simulation's network.
pub trait Bookies: Send + Sync + 'static {
    /// Sends one request. `reply` MUST be answered exactly once, at the latest at the transport's deadline.
    /// Requests from one sender to one bookie MUST arrive in the order of the calls, as long as no
    /// [`Failure::Unreachable`] comes between.
    fn send(&self, bookie: &BookieId, request: Request, reply: ReplyTo);
}

/// Where replies go. An implementation that wakes someone SHOULD do so by [`crate::wake_later`].
pub trait Replies: Send + Sync + 'static {
    fn answer(&self, token: u64, reply: Reply);
}

/// The duty to answer one request. Dropped unanswered, it answers [`Failure::Unreachable`].
pub struct ReplyTo {
    to: Option<Arc<dyn Replies>>,
    token: u64,
}

impl ReplyTo {
    pub fn new(to: Arc<dyn Replies>, token: u64) -> ReplyTo {
        ReplyTo { to: Some(to), token }
    }

    pub fn answer(mut self, reply: Reply) {
        if let Some(to) = self.to.take() {
            to.answer(self.token, reply);
        }
    }
}

impl Drop for ReplyTo {
    fn drop(&mut self) {
        if let Some(to) = self.to.take() {
            to.answer(self.token, Err(Failure::Unreachable));
        }
    }
}

/// Replies in the order in which they came, for one receiver.
#[derive(Default)]
pub struct Inbox {
    replies: Mutex<VecDeque<(u64, Reply)>>,
    arrived: Arc<Bell>,
}

#[derive(Default)]
struct Bell(Notify);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

impl Inbox {
    pub fn new() -> Arc<Inbox> {
        Arc::default()
    }

    /// A duty whose reply comes here under `token`.
    pub fn expect(self: &Arc<Inbox>, token: u64) -> ReplyTo {
        ReplyTo::new(self.clone(), token)
    }

    /// Waits until there is at least one reply, and takes all there are.
    pub async fn take(&self) -> VecDeque<(u64, Reply)> {
        loop {
            let arrived = self.arrived.0.notified();
            let replies = std::mem::take(&mut *self.replies.lock());
            if !replies.is_empty() {
                return replies;
            }
            arrived.await;
        }
    }

    /// Takes what there is, without waiting.
    pub fn take_now(&self) -> VecDeque<(u64, Reply)> {
        std::mem::take(&mut *self.replies.lock())
    }
}

impl Replies for Inbox {
    fn answer(&self, token: u64, reply: Reply) {
        let mut replies = self.replies.lock();
        replies.push_back((token, reply));
        let first = replies.len() == 1;
        drop(replies);
        if first {
            wake_later(&self.arrived);
        }
    }
}

/// Sends one request and waits for its reply: for callers with nothing else under way.
pub async fn ask(bookies: &dyn Bookies, bookie: &BookieId, request: Request) -> Reply {
    let inbox = Inbox::new();
    bookies.send(bookie, request, inbox.expect(0));
    match inbox.take().await.pop_front() {
        Some((_, reply)) => reply,
        None => Err(Failure::Unreachable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dropped_duty_is_answered() {
        let inbox = Inbox::new();
        drop(inbox.expect(7));
        inbox.expect(8).answer(Ok(Answer::Added));
        assert_eq!(inbox.take().await, [(7, Err(Failure::Unreachable)), (8, Ok(Answer::Added))]);
    }
}
