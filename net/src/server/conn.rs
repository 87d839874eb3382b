//! What a connection owes.
//!
//! Whoever answers a duty encodes the reply into the connection at once; it is written at the end of his
//! [`crate::gather`] on his own thread, or by the connection's task. What a connection holds is counted: requests
//! from decoding to their answer, replies from their answer until the peer has taken them.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use protocol::bookie::{Answer, Echo, Op, Outcome, Outgoing, Refusal, Request, extension, v2, v3};
use slab::Slab;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::Notify;

use super::Shared;
use crate::gather::{Wake, wake_at_end};
use crate::pipe::{Flushed, Pipe, Source};
use crate::receive::FIRST;
use crate::{Failure, Replies, Reply, ReplyTo};

/// What a request costs besides its bytes, and a reply at least.
const OVERHEAD: usize = 128;
/// What a read is expected to bring before any has been answered.
const FIRST_READ: usize = 16 * 1024;

/// Places for duties that a connection keeps when it owes nothing.
const KEEP: usize = 1024;

pub(super) struct Conn {
    pipe: Pipe,
    state: Mutex<State>,
    /// Wakes the task: there is something to write, room to read, or the end.
    pub kick: Notify,
    pub shared: Arc<Shared>,
    me: Weak<Conn>,
}

pub(super) struct State {
    owed: Slab<Owed>,
    statuses: extension::Statuses,
    pub out: Outgoing,
    /// Bytes counted for requests that are not answered.
    asked: usize,
    /// Bytes counted for replies in `out`, and for those given to the pipe.
    queued: usize,
    leaving: usize,
    /// A flush is on its way that will see what is answered now.
    woken: bool,
    /// The task has stopped reading because of what is held.
    stalled: bool,
    /// What a read brings, as far as one can tell from the last ones.
    read_size: usize,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// Nothing more is read; closes when all is answered.
    Finishing,
    /// Closes at once.
    Cut,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    V2,
    V3,
    Extension,
}

struct Owed {
    wire: Wire,
    echo: Echo,
    /// Bytes counted for the request.
    bytes: usize,
}

impl Conn {
    pub fn new(write: OwnedWriteHalf, shared: Arc<Shared>) -> Arc<Conn> {
        let state = State {
            owed: Slab::new(),
            statuses: Default::default(),
            out: Outgoing::default(),
            asked: 0,
            queued: 0,
            leaving: 0,
            woken: false,
            stalled: false,
            read_size: FIRST_READ,
            phase: Phase::Open,
        };
        Arc::new_cyclic(|me| Conn {
            pipe: Pipe::new(write),
            state: Mutex::new(state),
            kick: Notify::new(),
            shared,
            me: me.clone(),
        })
    }

    pub fn lock(&self) -> parking_lot::MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Takes the duty to answer a request on.
    pub fn owe(self: &Arc<Conn>, state: &mut State, wire: Wire, echo: Echo, request: &Request) -> ReplyTo {
        let bytes = OVERHEAD
            + match request {
                Request::Add { body, .. } => body.len(),
                Request::WriteLac { packet, .. } => packet.len(),
                Request::BatchRead { max_bytes, .. } => (*max_bytes as usize).min(extension::MAX_FRAME),
                _ => state.read_size,
            };
        state.asked += bytes;
        self.shared.budget.take(bytes);
        ReplyTo::new(self.clone(), state.owed.insert(Owed { wire, echo, bytes }) as u64)
    }

    /// Whether so little is held that one may read on. If not, the task is kicked when that changes.
    pub fn may_read(&self) -> bool {
        let mut state = self.state.lock();
        state.stalled = state.held() >= self.shared.settings.per_connection;
        !state.stalled && state.phase == Phase::Open
    }

    pub fn holds_at_most(&self, bytes: usize) -> bool {
        self.state.lock().held() <= bytes
    }

    pub fn phase(&self) -> Phase {
        self.state.lock().phase
    }

    /// Whether all is answered and written.
    pub fn settled(&self) -> bool {
        let state = self.state.lock();
        state.owed.is_empty() && state.held() == 0
    }

    pub fn finish(&self) {
        self.enter(Phase::Finishing);
    }

    pub fn cut(&self) {
        self.enter(Phase::Cut);
    }

    fn enter(&self, phase: Phase) {
        self.state.lock().phase = phase;
        self.kick.notify_one();
    }

    /// Forgets what is owed: the connection is gone. Duties that are answered later find nobody.
    pub fn abandon(&self) {
        let mut state = self.state.lock();
        state.phase = Phase::Cut;
        state.owed.clear();
        (state.out, state.statuses) = Default::default();
        self.shared.budget.give(state.asked + state.queued + state.leaving);
        (state.asked, state.queued, state.leaving) = (0, 0, 0);
    }

    /// Writes what there is, on the calling thread.
    pub fn flush(&self) -> std::io::Result<Flushed> {
        self.pipe.flush(self)
    }

    pub async fn writable(&self) -> std::io::Result<()> {
        self.pipe.writable().await
    }

    /// Bytes that the peer has taken so far.
    pub fn written(&self) -> u64 {
        self.pipe.written()
    }

    /// Encodes something that was never owed: a greeting, or a refusal of what was not understood. It counts as well:
    /// nonsense must not cost more than sense.
    pub fn say(&self, state: &mut State, encode: impl FnOnce(&mut State)) {
        self.shared.budget.take(OVERHEAD);
        state.queued += OVERHEAD;
        encode(state);
    }

    pub fn refuse(&self, state: &mut State, wire: Wire, echo: &Echo, refusal: Refusal) {
        self.say(state, |state| state.encode(wire, echo, Err(refusal)));
    }

    fn put(&self, state: &mut State, token: u64, reply: Reply) {
        // An abandoned connection owes nothing any more.
        let Some(owed) = usize::try_from(token).ok().and_then(|slot| state.owed.try_remove(slot)) else {
            return;
        };
        state.asked -= owed.bytes;
        self.shared.budget.give(owed.bytes);
        let outcome = reply.map_err(|failure| match failure {
            Failure::Refused(refusal) => refusal,
            // The service let go of the request: nothing is known of it.
            Failure::Unreachable | Failure::TimedOut => Refusal::Io,
        });
        let outcome = self.admit(state, outcome);
        state.encode(owed.wire, &owed.echo, outcome);
    }

    /// Counts a reply. One for which there is no room is refused instead, however it was come by: a peer that asks
    /// for more than it takes must not cost more than the memory it was given.
    fn admit(&self, state: &mut State, outcome: Outcome) -> Outcome {
        let bytes = size(&outcome);
        if matches!(&outcome, Ok(Answer::Entry { .. } | Answer::Entries(_) | Answer::Range(_))) {
            state.read_size = bytes.max(state.read_size - state.read_size / 8).max(OVERHEAD);
        }
        let unwritten = state.queued + state.leaving;
        // What every connection may hold anyway is not asked for.
        let admitted = if bytes <= OVERHEAD || unwritten + bytes <= FIRST {
            self.shared.budget.take(bytes);
            true
        } else {
            let fits = unwritten == 0 || unwritten + bytes <= self.shared.settings.per_connection;
            fits && self.shared.budget.try_take(bytes)
        };
        if !admitted {
            self.shared.budget.take(OVERHEAD);
            state.queued += OVERHEAD;
            return Err(Refusal::TooManyRequests);
        }
        state.queued += bytes;
        outcome
    }
}

fn size(outcome: &Outcome) -> usize {
    match outcome {
        Ok(Answer::Entry { body, .. }) => OVERHEAD + body.len(),
        Ok(Answer::Entries(entries)) => OVERHEAD + entries.iter().map(|entry| entry.len() + 4).sum::<usize>(),
        Ok(Answer::Range(bytes)) => OVERHEAD + bytes.len(),
        Ok(Answer::Lengths(lengths)) => OVERHEAD + 4 * lengths.len(),
        Ok(Answer::Lac { packet, last_entry }) => {
            let len = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, bytes::Bytes::len);
            OVERHEAD + len(packet) + len(last_entry)
        }
        Ok(Answer::List(runs)) => OVERHEAD + 24 * runs.groups().len(),
        // A bare reply: its place in a run, or a v2 frame.
        Ok(Answer::Added | Answer::LacWritten | Answer::Forced | Answer::Info { .. }) | Err(_) => 32,
    }
}

impl State {
    /// Bytes counted in all.
    pub fn held(&self) -> usize {
        self.asked + self.queued + self.leaving
    }

    /// Encodes a reply.
    fn encode(&mut self, wire: Wire, echo: &Echo, outcome: Outcome) {
        match wire {
            Wire::V2 => v2::encode_reply(echo, outcome, &mut self.out),
            Wire::V3 => v3::encode_reply(echo, outcome, &mut self.out),
            Wire::Extension => {
                extension::encode_answer(echo.id, outcome, &mut self.statuses, &mut self.out);
            }
        }
    }

    /// What an extension reply repeats.
    pub fn extension_echo(id: u64) -> Echo {
        Echo { op: Op::Other(0), ledger: protocol::LedgerId(-1), entry: protocol::EntryId::NONE, id }
    }
}

impl Replies for Conn {
    fn answer(&self, token: u64, reply: Reply) {
        let mut state = self.state.lock();
        self.put(&mut state, token, reply);
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
}

impl Wake for Conn {
    fn wake(self: Arc<Self>) {
        // A blocked or broken connection is the task's business.
        if !matches!(self.flush(), Ok(Flushed::All)) {
            self.kick.notify_one();
        }
    }
}

impl Source for Conn {
    fn refill(&self, out: &mut Outgoing) {
        let mut state = self.state.lock();
        let State { statuses, out: encoded, .. } = &mut *state;
        statuses.encode(encoded);
        out.append(encoded);
        self.shared.budget.give(state.leaving);
        state.leaving = std::mem::take(&mut state.queued);
        state.woken = false;
        if state.owed.is_empty() && state.owed.capacity() > KEEP {
            state.owed = Slab::new();
        }
        let over = state.owed.is_empty() && state.leaving == 0 && state.phase != Phase::Open;
        let room = state.stalled && state.held() < self.shared.settings.per_connection;
        if over || room {
            self.kick.notify_one();
        }
    }

    fn waiting(&self) -> bool {
        self.state.lock().woken
    }
}
