//! Requests that wait for their replies.

use protocol::remoting::Command;
use rustc_hash::FxHashMap;
use tokio::time::Instant;

/// Why a request has no reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// Nothing of the request has left.
    #[error("cannot connect to {address}: {reason}")]
    Unreachable { address: String, reason: String },
    /// Nothing is known of the request's effect.
    #[error("the connection closed before the reply came")]
    Closed,
    /// Nothing is known of the request's effect.
    #[error("no reply came in time")]
    TimedOut,
    /// Nothing of the request has left.
    #[error("too much is waiting to be sent to this peer already")]
    Clogged,
}

pub(super) type Then = Box<dyn FnOnce(Result<Command, Unanswered>) + Send>;

#[derive(Default)]
pub(super) struct Asks {
    next: i32,
    waiting: FxHashMap<i32, (Instant, Then)>,
    /// No request is due before.
    earliest: Option<Instant>,
}

impl Asks {
    /// Takes a request on: its opaque, and whether it is due before all others.
    pub fn add(&mut self, deadline: Instant, then: Then) -> (i32, bool) {
        let opaque = self.opaque();
        self.waiting.insert(opaque, (deadline, then));
        let first = self.earliest.is_none_or(|earliest| deadline < earliest);
        if first {
            self.earliest = Some(deadline);
        }
        (opaque, first)
    }

    /// One that is not in use: those still waiting after two thousand million others have long timed out.
    pub fn opaque(&mut self) -> i32 {
        self.next = self.next.wrapping_add(1) & i32::MAX;
        self.next
    }

    pub fn take(&mut self, opaque: i32) -> Option<Then> {
        self.waiting.remove(&opaque).map(|(_, then)| then)
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// When to look for what is due.
    pub fn earliest(&self) -> Option<Instant> {
        self.earliest
    }

    /// Takes out what is due.
    pub fn expire(&mut self, now: Instant) -> Vec<Then> {
        if self.earliest.is_none_or(|earliest| earliest > now) {
            return Vec::new();
        }
        let mut due: Vec<(i32, Then)> = self
            .waiting
            .extract_if(|_, (deadline, _)| *deadline <= now)
            .map(|(opaque, (_, then))| (opaque, then))
            .collect();
        self.earliest = self.waiting.values().map(|(deadline, _)| *deadline).min();
        due.sort_unstable_by_key(|(opaque, _)| *opaque);
        due.into_iter().map(|(_, then)| then).collect()
    }

    pub fn drain(&mut self) -> Vec<Then> {
        let mut all: Vec<(i32, Then)> =
            self.waiting.drain().map(|(opaque, (_, then))| (opaque, then)).collect();
        all.sort_unstable_by_key(|(opaque, _)| *opaque);
        self.earliest = None;
        all.into_iter().map(|(_, then)| then).collect()
    }
}
