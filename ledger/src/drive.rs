//! Drives a pure core from whoever has an event for it: an appender, a reply, a timer.
//!
//! There is no task between an event and its effects: on an idle machine a wake-up costs a quarter of the sync that a
//! bookie does. The core is behind a lock that is held only while it computes. Requests leave outside the lock, so a
//! transport may answer from inside `send`; one thread at a time sends, so they leave in the order the core made them.

use std::sync::{Arc, Weak};
use std::time::Duration;

use net::{Bookies, Replies, Reply, ReplyTo, gather};
use parking_lot::{Mutex, MutexGuard};
use protocol::BookieId;
use protocol::bookie::Request;
use tokio::time::Instant;

/// A request on its way out; `token` comes back with its reply.
pub struct Dispatch {
    pub bookie: BookieId,
    pub token: u64,
    pub request: Request,
}

pub trait Driven: Send + 'static {
    fn answered(&mut self, token: u64, reply: Reply, now: Duration);

    /// Moves the requests made since the last call to `into`, which is empty.
    fn take_outgoing(&mut self, into: &mut Vec<Dispatch>);
}

pub struct Driver<C> {
    me: Weak<Driver<C>>,
    bookies: Arc<dyn Bookies>,
    began: Instant,
    state: Mutex<State<C>>,
}

struct State<C> {
    core: C,
    /// Somebody is sending; what others make meanwhile goes with it.
    sending: bool,
    /// An empty buffer, kept for its space.
    spare: Vec<Dispatch>,
}

impl<C: Driven> Driver<C> {
    pub fn new(bookies: Arc<dyn Bookies>, core: C) -> Arc<Driver<C>> {
        Arc::new_cyclic(|me| Driver {
            me: me.clone(),
            bookies,
            began: Instant::now(),
            state: Mutex::new(State { core, sending: false, spare: Vec::new() }),
        })
    }

    /// Gives the core an event, then sends what it wants sent. `f` MUST NOT call back into the driver; whoever it has
    /// woken later ([`net::wake_later`]) may.
    pub fn with<R>(&self, f: impl FnOnce(&mut C, Duration) -> R) -> R {
        gather(|| {
            let now = self.began.elapsed();
            let mut state = self.state.lock();
            let result = f(&mut state.core, now);
            self.send_all(state);
            result
        })
    }

    /// Looks at the core.
    pub fn look<R>(&self, f: impl FnOnce(&C) -> R) -> R {
        f(&self.state.lock().core)
    }

    fn send_all<'a>(&'a self, mut state: MutexGuard<'a, State<C>>) {
        if state.sending {
            return;
        }
        let mut batch = std::mem::take(&mut state.spare);
        state.core.take_outgoing(&mut batch);
        if batch.is_empty() {
            state.spare = batch;
            return;
        }
        state.sending = true;
        while !batch.is_empty() {
            drop(state);
            batch.drain(..).for_each(|dispatch| self.send(dispatch));
            state = self.state.lock();
            state.core.take_outgoing(&mut batch);
        }
        state.sending = false;
        state.spare = batch;
    }

    fn send(&self, Dispatch { bookie, token, request }: Dispatch) {
        if let Some(me) = self.me.upgrade() {
            self.bookies.send(&bookie, request, ReplyTo::new(me, token));
        }
    }
}

impl<C: Driven> Replies for Driver<C> {
    fn answer(&self, token: u64, reply: Reply) {
        self.with(|core, now| core.answered(token, reply, now));
    }
}
