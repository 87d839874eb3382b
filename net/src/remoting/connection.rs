//! One connection, of either end.
//!
//! Whoever has something to say encodes it into the connection at once; it is written at the end of his
//! [`crate::gather`] on his own thread, or else by the connection's task.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::Outgoing;
use protocol::remoting::Command;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::asks::{Asks, Then, Unanswered};
use super::kept::Kept;
use super::server::Shared;
use super::{Handler, Settings};
use crate::gather::{Wake, wake_at_end};
use crate::pipe::{Flushed, Pipe, Source};

/// A connection over which so little waits is never cut off for want of memory.
const HARMLESS: usize = 1 << 20;

pub struct Connection {
    id: u64,
    peer: SocketAddr,
    local: SocketAddr,
    way: Way,
    kept: Kept,
    state: Mutex<State>,
    /// Wakes the task: there is something to write, room to read, an earlier deadline, or the end.
    pub(super) kick: Notify,
    /// Wakes whoever waits to say much: there is room, or nobody to say it to.
    room: Notify,
    pub(super) shared: Arc<Shared>,
    me: Weak<Connection>,
}

/// Where what is said goes.
enum Way {
    Socket(Pipe),
    Elsewhere(Box<dyn Fn(Command) + Send + Sync>),
}

#[derive(Default)]
struct State {
    out: Outgoing,
    /// Bytes in `out`, and those given to the pipe.
    queued: usize,
    leaving: usize,
    /// A flush is on its way that will see what is said now.
    woken: bool,
    /// The task has stopped reading because too much is unsent.
    stalled: bool,
    /// Somebody waits for room to say more.
    awaited: bool,
    asks: Asks,
    /// Requests that were handed over, are not one-way, and are not answered.
    owed: usize,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    #[default]
    Open,
    /// Nothing more is read; closes when all is answered.
    Finishing,
    /// Closes at once.
    Cut,
}

/// What the task has to know before it waits.
pub(super) struct Look {
    pub phase: Phase,
    pub may_read: bool,
    pub settled: bool,
    pub due: Option<Instant>,
}

impl Connection {
    pub(super) fn new(
        id: u64,
        (peer, local): (SocketAddr, SocketAddr),
        pipe: Pipe,
        shared: Arc<Shared>,
    ) -> Arc<Connection> {
        Connection::over(id, (peer, local), Way::Socket(pipe), shared)
    }

    /// A connection without a socket: what is said on it goes to `said`, bodies in one piece. For tests and
    /// simulations, which hand replies in by [`Connection::answered`] and time by [`Connection::expire`].
    pub fn without_socket(
        id: u64,
        (peer, local): (SocketAddr, SocketAddr),
        handler: Arc<dyn Handler>,
        said: impl Fn(Command) + Send + Sync + 'static,
    ) -> Arc<Connection> {
        let shared = Shared::new(handler, Settings::default());
        Connection::over(id, (peer, local), Way::Elsewhere(Box::new(said)), shared)
    }

    fn over(id: u64, ends: (SocketAddr, SocketAddr), way: Way, shared: Arc<Shared>) -> Arc<Connection> {
        // A listener for both families calls an IPv4 client ::ffff:a.b.c.d. Messages are stored with their sender's
        // address, and not every client reads one of IPv6.
        let [peer, local] = [ends.0, ends.1].map(|end| SocketAddr::new(end.ip().to_canonical(), end.port()));
        let state = Mutex::default();
        Arc::new_cyclic(|me| Connection {
            id,
            peer,
            local,
            way,
            kept: Kept::default(),
            state,
            kick: Notify::new(),
            room: Notify::new(),
            shared,
            me: me.clone(),
        })
    }

    /// Unique among the connections of one [`super::Server`] or [`super::Client`].
    pub fn id(&self) -> u64 {
        self.id
    }

    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Our end: which listener it came by.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    pub fn is_open(&self) -> bool {
        self.state.lock().phase == Phase::Open
    }

    /// Bytes that the peer has not taken yet.
    pub fn unsent(&self) -> usize {
        let state = self.state.lock();
        state.queued + state.leaving
    }

    /// Waits until little enough is unsent that more may be said; false if the connection is gone. For those who have
    /// much to say and can wait: beyond a limit the peer is cut off.
    pub async fn has_room(&self) -> bool {
        loop {
            let mut room = pin!(self.room.notified());
            room.as_mut().enable();
            {
                let mut state = self.state.lock();
                if state.phase == Phase::Cut {
                    return false;
                }
                if state.queued + state.leaving < self.shared.settings.much_unsent {
                    return true;
                }
                state.awaited = true;
            }
            room.await;
        }
    }

    /// Counts what a request of the peer takes in memory until it is answered. While that is much, for this connection or
    /// all together, nothing more is read from it. Everything that is kept MUST be let go of.
    pub fn keep(&self, bytes: usize) {
        self.kept.add(bytes, &self.shared.kept);
    }

    /// Bytes of requests that have no answer yet.
    pub fn kept(&self) -> usize {
        self.kept.bytes()
    }

    pub fn let_go(&self, bytes: usize) {
        if self.kept.remove(bytes, &self.shared.kept, self.shared.settings.much_unanswered) {
            self.kick.notify_one();
        }
    }

    /// Whether so much of the peer waits, to be sent or to be answered, that nothing more is to be taken in.
    pub(super) fn has_enough(&self) -> bool {
        let settings = &self.shared.settings;
        self.unsent() >= settings.much_unsent
            || self.kept.is_much(&self.shared.kept, settings.much_unanswered)
    }

    /// Answers a request of the peer.
    pub fn reply(&self, reply: Command) {
        self.reply_with(reply, &[]);
    }

    /// Answers with a body of many pieces, which are not copied: `more` comes behind the reply's own body.
    pub fn reply_with(&self, reply: Command, more: &[Bytes]) {
        // Nobody waits for it, and it was never owed.
        if reply.is_one_way() {
            return;
        }
        let mut state = self.state.lock();
        state.owed = state.owed.saturating_sub(1);
        self.say(state, &reply, more);
    }

    /// Sends a request to which no reply will come. False if the connection is closed.
    pub fn tell(&self, mut request: Command) -> bool {
        let mut state = self.state.lock();
        if state.phase != Phase::Open {
            return false;
        }
        request.opaque = state.asks.opaque();
        self.say(state, &request, &[]);
        true
    }

    /// Sends a request and waits for its reply.
    pub async fn ask(&self, request: Command, patience: Duration) -> Result<Command, Unanswered> {
        let (answer, reply) = oneshot::channel();
        self.ask_then(request, Instant::now() + patience, move |result| {
            // Nobody waits any more.
            let _ = answer.send(result);
        });
        reply.await.unwrap_or(Err(Unanswered::Closed))
    }

    /// Sends a request. `then` runs exactly once: with the reply, on the task of this connection; or when the
    /// deadline passes, or the connection closes, on whichever thread finds that out.
    pub fn ask_then(
        &self,
        mut request: Command,
        deadline: Instant,
        then: impl FnOnce(Result<Command, Unanswered>) + Send + 'static,
    ) {
        let mut state = self.state.lock();
        let refused = if state.phase != Phase::Open {
            Some(Unanswered::Closed)
        } else if state.queued + state.leaving + request.size() > self.shared.settings.most_unsent {
            Some(Unanswered::Clogged)
        } else {
            None
        };
        if let Some(refused) = refused {
            drop(state);
            return then(Err(refused));
        }
        let (opaque, first) = state.asks.add(deadline, Box::new(then));
        request.opaque = opaque;
        self.say(state, &request, &[]);
        if first {
            self.kick.notify_one();
        }
    }

    /// Closes the connection. What was said and not written is lost.
    pub fn close(&self) {
        self.enter(Phase::Cut);
    }

    /// Stops reading; closes once all requests are answered and all replies written.
    pub(super) fn finish(&self) {
        let mut state = self.state.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Finishing;
        }
        drop(state);
        self.kick.notify_one();
    }

    fn enter(&self, phase: Phase) {
        self.state.lock().phase = phase;
        self.kick.notify_one();
    }

    /// Takes in a command of the peer: a reply goes to whoever asked, a request to the handler.
    pub(super) fn received(self: &Arc<Connection>, command: Command) {
        if command.is_reply() {
            return self.answered(command);
        }
        if !command.is_one_way() {
            self.state.lock().owed += 1;
        }
        self.shared.handler.request(self, command);
    }

    /// Takes in a reply. One that nobody waits for is dropped: it may have come too late.
    pub fn answered(&self, reply: Command) {
        let then = self.state.lock().asks.take(reply.opaque);
        if let Some(then) = then {
            then(Ok(reply));
        }
    }

    /// Ends what is due: the time to look again.
    pub fn expire(&self, now: Instant) -> Option<Instant> {
        let mut state = self.state.lock();
        let due = state.asks.expire(now);
        let next = state.asks.earliest();
        drop(state);
        end(due, &Unanswered::TimedOut);
        next
    }

    /// Requests that wait for replies.
    pub fn asked(&self) -> usize {
        self.state.lock().asks.len()
    }

    pub(super) fn look(&self) -> Look {
        let mut state = self.state.lock();
        let unsent = state.queued + state.leaving;
        let settings = &self.shared.settings;
        state.stalled = unsent >= settings.much_unsent;
        let halted = self.kept.halts(&self.shared.kept, settings.much_unanswered);
        Look {
            phase: state.phase,
            may_read: !state.stalled && !halted && state.phase == Phase::Open,
            settled: state.owed == 0 && unsent == 0,
            due: state.asks.earliest(),
        }
    }

    /// The connection is gone: nothing is owed, and no replies will come.
    pub(super) fn abandon(&self) {
        let mut state = self.state.lock();
        state.phase = Phase::Cut;
        state.out = Outgoing::default();
        self.shared.budget.give(state.queued + state.leaving);
        (state.queued, state.leaving, state.owed) = (0, 0, 0);
        let waiting = state.asks.drain();
        drop(state);
        self.room.notify_waiters();
        end(waiting, &Unanswered::Closed);
    }

    fn say(&self, mut state: parking_lot::MutexGuard<'_, State>, command: &Command, more: &[Bytes]) {
        let pipe = match &self.way {
            Way::Elsewhere(said) => {
                drop(state);
                let mut command = command.clone();
                if !more.is_empty() {
                    let pieces: Vec<&[u8]> =
                        std::iter::once(&command.body).chain(more).map(|piece| &piece[..]).collect();
                    command.body = pieces.concat().into();
                }
                return said(command);
            }
            Way::Socket(pipe) => pipe,
        };
        if state.phase == Phase::Cut {
            return;
        }
        let before = state.out.len();
        command.encode_with(more, &mut state.out);
        let bytes = state.out.len() - before;
        state.queued += bytes;
        self.shared.budget.take(bytes);
        let unsent = state.queued + state.leaving;
        let settings = &self.shared.settings;
        if unsent > settings.most_unsent || unsent > HARMLESS && self.shared.budget.is_over() {
            state.phase = Phase::Cut;
            drop(state);
            let taken = pipe.written();
            self.shared.complaints.log(
                self.peer,
                format_args!(
                    "cut off: it leaves {unsent} bytes of what is sent to it untaken (took {taken})"
                ),
            );
            return self.kick.notify_one();
        }
        let first = !std::mem::replace(&mut state.woken, true);
        drop(state);
        if first {
            // The task holds the connection as long as it lives, and nobody else cares.
            let gathered = self.me.upgrade().is_some_and(|me| wake_at_end(&me));
            if !gathered {
                self.kick.notify_one();
            }
        }
    }

    /// Writes what there is, on the calling thread.
    pub(super) fn flush(&self) -> std::io::Result<Flushed> {
        match &self.way {
            Way::Socket(pipe) => pipe.flush(self),
            Way::Elsewhere(_) => Ok(Flushed::All),
        }
    }

    pub(super) async fn writable(&self) -> std::io::Result<()> {
        match &self.way {
            Way::Socket(pipe) => pipe.writable().await,
            Way::Elsewhere(_) => Ok(()),
        }
    }

    /// Bytes that the peer has taken so far.
    pub(super) fn written(&self) -> u64 {
        match &self.way {
            Way::Socket(pipe) => pipe.written(),
            Way::Elsewhere(_) => 0,
        }
    }
}

fn end(asks: Vec<Then>, why: &Unanswered) {
    asks.into_iter().for_each(|then| then(Err(why.clone())));
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "connection {} from {} to {}", self.id, self.peer, self.local)
    }
}

impl Wake for Connection {
    fn wake(self: Arc<Self>) {
        // A blocked or broken connection is the task's business.
        if !matches!(self.flush(), Ok(Flushed::All)) {
            self.kick.notify_one();
        }
    }
}

impl Source for Connection {
    fn refill(&self, out: &mut Outgoing) {
        let mut state = self.state.lock();
        out.append(&mut state.out);
        self.shared.budget.give(state.leaving);
        state.leaving = std::mem::take(&mut state.queued);
        state.woken = false;
        let over = state.leaving == 0 && state.owed == 0 && state.phase != Phase::Open;
        let room = state.leaving < self.shared.settings.much_unsent;
        if over || room && state.stalled {
            self.kick.notify_one();
        }
        let awaited = room && std::mem::take(&mut state.awaited);
        drop(state);
        if awaited {
            self.room.notify_waiters();
        }
    }

    fn waiting(&self) -> bool {
        self.state.lock().woken
    }
}
