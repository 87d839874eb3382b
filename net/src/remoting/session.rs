//! The task of a connection: reads, decodes, hands over; minds limits and deadlines.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use protocol::Garbage;
use protocol::frame::Oversized;
use protocol::remoting::Command;
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::{Instant, Sleep};

use super::connection::{Connection, Look, Phase};
use crate::allowance::Allowance;
use crate::gather;
use crate::pipe::Flushed;
use crate::receive::{Read, Receive};

/// How long a frame may take while frames that are not whole keep others out.
const HURRY: Duration = Duration::from_secs(1);
/// A TLS handshake begins with this byte.
const TLS: u8 = 0x16;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("closed by the peer")]
    Closed,
    #[error("closed by us")]
    Finished,
    #[error("broken: {0}")]
    Io(#[from] io::Error),
    #[error("cut off, it sent garbage: {0}")]
    Garbage(#[from] Garbage),
    #[error("cut off, this is not RocketMQ's protocol: {0}")]
    Oversized(Oversized),
    #[error("cut off, it speaks TLS and this port does not: switch TLS off in the client (tls.enable=false)")]
    Tls,
    #[error("cut off, a frame was not whole in time")]
    HalfFrame,
    #[error("cut off, it does not take what is sent to it")]
    SlowReader,
    #[error("closed, nothing was said for too long")]
    Idle,
}

pub(super) async fn run(conn: Arc<Connection>, read: OwnedReadHalf) {
    let now = Instant::now();
    let mut session = Session {
        receive: Receive::new(read, conn.shared.settings.max_frame),
        conn: &conn,
        allowance: Allowance::default(),
        left: false,
        begun: None,
        stuck: None,
        heard: now,
        written: 0,
        looked: now,
        alarm: Alarm::new(now),
    };
    match session.serve().await {
        Ok(()) | Err(End::Closed | End::Finished) => {}
        Err(end @ (End::Io(_) | End::Idle)) => tracing::debug!("{}: {end}", conn.peer()),
        Err(end) => conn.shared.complaints.log(conn.peer(), end),
    }
    session.receive.shut();
    session.allowance.give_up(&conn.shared.budget);
    conn.abandon();
    gather(|| conn.shared.handler.closed(&conn));
}

struct Session<'a> {
    receive: Receive,
    conn: &'a Arc<Connection>,
    allowance: Allowance,
    /// Whole frames may be left in the receive buffer, because the peer had enough to wait for.
    left: bool,
    /// When the frame began that is not whole.
    begun: Option<Instant>,
    /// Since when, and at how many bytes, the peer takes no more.
    stuck: Option<(Instant, u64)>,
    /// When something was read.
    heard: Instant,
    /// Bytes that were written when silence was last looked at.
    written: u64,
    /// When the alarm last rang.
    looked: Instant,
    alarm: Alarm,
}

impl Session<'_> {
    async fn serve(&mut self) -> Result<(), End> {
        let conn = self.conn;
        let mut poor = false;
        loop {
            let blocked = conn.flush()? == Flushed::Blocked;
            let look = conn.look();
            match look.phase {
                Phase::Open => {}
                Phase::Finishing if !look.settled => {}
                Phase::Finishing | Phase::Cut => return Err(End::Finished),
            }
            let reads = !poor && look.may_read;
            if reads && self.left {
                self.take_in()?;
                continue;
            }
            if !reads && !poor {
                // It is we who do not read on: the peer is not to blame.
                self.begun = self.begun.map(|_| Instant::now());
            }
            self.set_alarm(&look, blocked);
            tokio::select! {
                biased;
                ready = self.receive.ready(), if reads => {
                    ready?;
                    match self.allowance.pay(&conn.shared.budget, &self.receive) {
                        None => poor = true,
                        Some(room) => self.read(room)?,
                    }
                }
                writable = conn.writable(), if blocked => writable?,
                () = conn.kick.notified() => {}
                () = conn.shared.budget.freed(), if poor => poor = false,
                () = &mut self.alarm.sleep => self.ring(blocked)?,
            }
        }
    }

    fn read(&mut self, room: usize) -> Result<(), End> {
        match self.receive.read(room)? {
            Read::Some => {
                self.heard = Instant::now();
                self.take_in()
            }
            Read::None => Ok(()),
            Read::End => Err(End::Closed),
        }
    }

    /// Hands over what has arrived. What is said about it is written once, at the end.
    fn take_in(&mut self) -> Result<(), End> {
        let result = gather(|| {
            let result = self.hand_over();
            self.conn.shared.handler.drained(self.conn);
            result
        });
        let partial = !self.receive.partial().is_empty();
        self.begun = if partial && !self.left { self.begun.or(Some(self.heard)) } else { None };
        self.receive.shrink();
        self.allowance.settle(&self.conn.shared.budget, &self.receive);
        result
    }

    fn hand_over(&mut self) -> Result<(), End> {
        self.left = false;
        loop {
            match self.receive.frame() {
                Ok(Some(frame)) => {
                    self.begun = None;
                    self.conn.received(Command::decode(frame)?);
                }
                Ok(None) => return Ok(()),
                Err(_) if self.receive.partial().first() == Some(&TLS) => return Err(End::Tls),
                Err(oversized) => return Err(End::Oversized(oversized)),
            }
            if self.conn.has_enough() {
                self.left = true;
                return Ok(());
            }
        }
    }

    /// Sees to it that the alarm rings when there may be something to do. It may ring too soon: [`Session::ring`]
    /// looks.
    fn set_alarm(&mut self, look: &Look, blocked: bool) {
        let settings = &self.conn.shared.settings;
        if blocked {
            let written = self.conn.written();
            let now = Instant::now();
            self.stuck = self.stuck.filter(|(_, then)| *then == written).or(Some((now, written)));
        } else {
            self.stuck = None;
        }
        // Looked at sooner than it is due: patience may become less.
        let begun = self.begun.map(|begun| begun.max(self.looked) + settings.half_frame.min(HURRY));
        let stuck = self.stuck.map(|(since, _)| since + settings.slow_reader);
        let due = [begun, stuck, look.due].into_iter().flatten();
        let idle = self.heard + settings.idle;
        self.alarm.no_later(due.min().map_or(idle, |due| due.min(idle)));
    }

    fn ring(&mut self, blocked: bool) -> Result<(), End> {
        let now = Instant::now();
        let shared = &self.conn.shared;
        let settings = &shared.settings;
        self.conn.expire(now);
        let patience =
            if shared.budget.is_clogged() { settings.half_frame.min(HURRY) } else { settings.half_frame };
        if self.begun.is_some_and(|begun| begun + patience <= now) {
            return Err(End::HalfFrame);
        }
        if blocked && self.stuck.is_some_and(|(since, _)| since + settings.slow_reader <= now) {
            return Err(End::SlowReader);
        }
        if self.heard + settings.idle <= now {
            let written = self.conn.written();
            if written == self.written {
                return Err(End::Idle);
            }
            // It was not silent: we have said something meanwhile.
            (self.written, self.heard) = (written, now);
        }
        self.looked = now;
        self.alarm.far(now);
        Ok(())
    }
}

/// One timer for all deadlines. Deadlines mostly move away: it is set again only for one that is nearer.
struct Alarm {
    sleep: Pin<Box<Sleep>>,
}

const FAR: Duration = Duration::from_secs(3600);

impl Alarm {
    fn new(now: Instant) -> Alarm {
        Alarm { sleep: Box::pin(tokio::time::sleep_until(now + FAR)) }
    }

    fn no_later(&mut self, deadline: Instant) {
        if self.sleep.deadline() > deadline {
            self.sleep.as_mut().reset(deadline);
        }
    }

    fn far(&mut self, now: Instant) {
        self.sleep.as_mut().reset(now + FAR);
    }
}
