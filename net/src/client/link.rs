//! One bookie: what waits to be sent to it, what is under way, and who writes it.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use protocol::BookieId;
use protocol::bookie::{Body, Outgoing, Refusal, Request};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::dialect::{Dialect, Encoded};
use super::pending::{Asked, Done, UnderWay};
use super::{Surroundings, Wire, serve};
use crate::gather::{Wake, gather, wake_at_end};
use crate::pipe::{Flushed, Pipe, Source};
use crate::{Failure, ReplyTo};

/// What a request costs besides its bytes.
const OVERHEAD: usize = 256;

pub(super) struct Link {
    pub bookie: BookieId,
    pub wire: Wire,
    pub surroundings: Arc<Surroundings>,
    state: Mutex<State>,
    /// Wakes the task: there is something to write, a timer to set, or the end.
    pub kick: Notify,
}

struct State {
    phase: Phase,
    waiting: VecDeque<Asked>,
    /// Bytes of all that is unanswered.
    bytes: usize,
    /// A flush is on its way that will see what is pushed now.
    woken: bool,
    /// The task's timer runs.
    armed: bool,
    /// No unanswered request is due before this.
    earliest: Option<Instant>,
    /// Connections that failed in a row.
    failures: u32,
    /// v3 beside v2.
    side: Option<Arc<Link>>,
}

enum Phase {
    /// No connection, and none is tried before this time.
    Down(Instant),
    Connecting,
    Up(Box<Dialect>, Arc<Pipe>),
    /// For good.
    Closed,
}

fn size(request: &Request) -> usize {
    OVERHEAD
        + match request {
            Request::Add { body, .. } => Body::len(body),
            Request::WriteLac { packet, .. } => packet.len(),
            _ => 0,
        }
}

impl Link {
    pub fn new(bookie: BookieId, wire: Wire, surroundings: Arc<Surroundings>) -> Arc<Link> {
        let state = State {
            phase: Phase::Down(Instant::now()),
            waiting: VecDeque::new(),
            bytes: 0,
            woken: false,
            armed: false,
            earliest: None,
            failures: 0,
            side: None,
        };
        Arc::new(Link { bookie, wire, surroundings, state: Mutex::new(state), kick: Notify::new() })
    }

    pub fn send(self: &Arc<Link>, request: Request, duty: ReplyTo) {
        let now = Instant::now();
        let patience = match &request {
            Request::Read { options, .. } if options.previous_lac.is_some() => options.wait_ms,
            _ => 0,
        };
        let deadline =
            now + self.surroundings.settings.timeout + std::time::Duration::from_millis(patience.into());
        let under_way = UnderWay { duty, op: request.op(), deadline, bytes: size(&request), range: None };
        let mut state = self.state.lock();
        let full =
            state.bytes + under_way.bytes > self.surroundings.settings.max_unanswered && state.bytes > 0;
        let down = match state.phase {
            Phase::Down(until) => until > now,
            Phase::Closed => true,
            Phase::Connecting | Phase::Up(..) => false,
        };
        if full || down {
            drop(state);
            return under_way.duty.answer(Err(Failure::Unreachable));
        }
        let idle = state.bytes == 0;
        state.bytes += under_way.bytes;
        state.armed &= state.earliest.is_some_and(|earliest| earliest <= deadline);
        state.earliest = Some(state.earliest.map_or(deadline, |earliest| earliest.min(deadline)));
        state.waiting.push_back(Asked { request, under_way });
        self.see_to_it(state, idle);
    }

    /// Has what was pushed written: at the end of a gather; at once if nothing else is under way; otherwise by the
    /// task, which takes along what comes meanwhile.
    fn see_to_it(self: &Arc<Link>, mut state: parking_lot::MutexGuard<'_, State>, idle: bool) {
        if let Phase::Down(_) = state.phase {
            state.phase = Phase::Connecting;
            state.armed = true;
            drop(state);
            self.surroundings.runtime.spawn(serve::run(self.clone()));
            return;
        }
        let arm = !std::mem::replace(&mut state.armed, true);
        let up = matches!(state.phase, Phase::Up(..));
        let first = up && !std::mem::replace(&mut state.woken, true);
        drop(state);
        let gathered = first && wake_at_end(self);
        if first && !gathered && idle {
            self.clone().wake();
        }
        if arm || (first && !gathered && !idle) {
            self.kick.notify_one();
        }
    }

    /// The connection stands: what waits can go.
    pub fn up(&self, dialect: Dialect, pipe: Arc<Pipe>) {
        let mut state = self.state.lock();
        if !matches!(state.phase, Phase::Closed) {
            state.phase = Phase::Up(Box::new(dialect), pipe);
            state.failures = 0;
            state.woken = false;
        }
    }

    /// The connection is gone, or could not be had: all that is unanswered fails.
    pub fn down(&self) {
        let settings = &self.surroundings.settings;
        let mut state = self.state.lock();
        let mut failed: Vec<UnderWay> = state.waiting.drain(..).map(|asked| asked.under_way).collect();
        if let Phase::Up(dialect, _) = &mut state.phase {
            failed.extend(dialect.drain());
        }
        if !matches!(state.phase, Phase::Closed) {
            let doubled = settings.back_off.saturating_mul(1 << state.failures.min(10));
            state.phase = Phase::Down(Instant::now() + doubled.min(settings.most_back_off));
        }
        state.failures = state.failures.saturating_add(1);
        (state.bytes, state.woken, state.armed, state.earliest) = (0, false, false, None);
        drop(state);
        fail(failed, Failure::Unreachable);
    }

    /// Ends the link for good; its task sees that and fails what is under way.
    pub fn close(&self) {
        let mut state = self.state.lock();
        let connected = matches!(state.phase, Phase::Connecting | Phase::Up(..));
        let mut failed: Vec<UnderWay> = state.waiting.drain(..).map(|asked| asked.under_way).collect();
        if let Phase::Up(dialect, _) = &mut state.phase {
            failed.extend(dialect.drain());
        }
        state.phase = Phase::Closed;
        let side = state.side.take();
        drop(state);
        if connected {
            self.kick.notify_one();
        }
        side.iter().for_each(|side| side.close());
        fail(failed, Failure::Unreachable);
    }

    pub fn closed(&self) -> bool {
        matches!(self.state.lock().phase, Phase::Closed)
    }

    /// Takes in replies.
    pub fn received(&self, frames: &mut Vec<bytes::Bytes>) -> Result<(), protocol::bookie::Garbage> {
        let mut done = Vec::new();
        let mut state = self.state.lock();
        let Phase::Up(dialect, _) = &mut state.phase else { return Ok(()) };
        let result = frames.drain(..).try_for_each(|frame| dialect.decode(frame, &mut done));
        state.bytes -= done.iter().map(|done| done.under_way.bytes).sum::<usize>();
        drop(state);
        answer(done);
        result
    }

    /// Fails what is due. The time to look again, if anything is unanswered.
    pub fn expire(&self, now: Instant) -> Result<Option<Instant>, protocol::bookie::Garbage> {
        let mut expired = Vec::new();
        let mut state = self.state.lock();
        if state.earliest.is_some_and(|earliest| earliest > now) {
            return Ok(state.earliest);
        }
        let waiting = std::mem::take(&mut state.waiting);
        let mut next: Option<Instant> = None;
        for asked in waiting {
            if asked.under_way.deadline <= now {
                expired.push(asked.under_way);
            } else {
                next = Some(next.map_or(asked.under_way.deadline, |next| next.min(asked.under_way.deadline)));
                state.waiting.push_back(asked);
            }
        }
        let mut result = Ok(());
        if let Phase::Up(dialect, _) = &mut state.phase {
            match dialect.expire(now, &mut expired) {
                Ok(others) => next = next.into_iter().chain(others).min(),
                Err(garbage) => result = Err(garbage),
            }
        }
        state.bytes -= expired.iter().map(|one| one.bytes).sum::<usize>();
        (state.earliest, state.armed) = (next, next.is_some());
        drop(state);
        fail(expired, Failure::TimedOut);
        result.map(|()| next)
    }

    pub fn under_way(&self) -> usize {
        match &self.state.lock().phase {
            Phase::Up(dialect, _) => dialect.under_way(),
            _ => 0,
        }
    }

    fn side(self: &Arc<Link>) -> Option<Arc<Link>> {
        let mut state = self.state.lock();
        if matches!(state.phase, Phase::Closed) || self.wire == Wire::V3 {
            return None;
        }
        let new = || Link::new(self.bookie.clone(), Wire::V3, self.surroundings.clone());
        Some(state.side.get_or_insert_with(new).clone())
    }

    /// Writes what waits, on the calling thread.
    pub fn flush(self: &Arc<Link>) -> std::io::Result<Flushed> {
        let pipe = match &self.state.lock().phase {
            Phase::Up(_, pipe) => pipe.clone(),
            _ => return Ok(Flushed::All),
        };
        let source = FromLink { link: self, rest: Mutex::default() };
        let flushed = pipe.flush(&source);
        let Rest { elsewhere, done } = source.rest.into_inner();
        answer(done);
        elsewhere.into_iter().for_each(|asked| self.send_elsewhere(asked));
        flushed
    }

    fn send_elsewhere(self: &Arc<Link>, asked: Asked) {
        match self.side() {
            Some(side) => side.send(asked.request, asked.under_way.duty),
            None => asked.under_way.duty.answer(Err(Failure::Refused(Refusal::BadVersion))),
        }
    }
}

impl Wake for Link {
    fn wake(self: Arc<Self>) {
        // A blocked or broken connection is the task's business.
        if !matches!(self.flush(), Ok(Flushed::All)) {
            self.kick.notify_one();
        }
    }
}

fn answer(done: Vec<Done>) {
    gather(|| done.into_iter().for_each(|done| done.under_way.duty.answer(done.reply)));
}

fn fail(failed: Vec<UnderWay>, failure: Failure) {
    gather(|| failed.into_iter().for_each(|one| one.duty.answer(Err(failure))));
}

/// What could not be sent during a flush, seen to when no lock is held.
#[derive(Default)]
struct Rest {
    elsewhere: Vec<Asked>,
    done: Vec<Done>,
}

struct FromLink<'a> {
    link: &'a Link,
    rest: Mutex<Rest>,
}

impl Source for FromLink<'_> {
    fn refill(&self, out: &mut Outgoing) {
        let mut rest = self.rest.lock();
        let mut state = self.link.state.lock();
        let State { phase, waiting, bytes, woken, .. } = &mut *state;
        *woken = false;
        let Phase::Up(dialect, _) = phase else { return };
        while let Some(asked) = waiting.pop_front() {
            match dialect.encode(asked, out) {
                Encoded::Sent => {}
                Encoded::Wait(asked) => {
                    waiting.push_front(asked);
                    break;
                }
                Encoded::Elsewhere(asked) => {
                    *bytes -= asked.under_way.bytes;
                    rest.elsewhere.push(asked);
                }
                Encoded::Done(done) => {
                    *bytes -= done.under_way.bytes;
                    rest.done.push(done);
                }
            }
        }
        dialect.finish(out);
    }

    fn waiting(&self) -> bool {
        self.link.state.lock().woken
    }
}
