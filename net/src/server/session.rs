//! The task of a connection: reads, decodes, submits; minds limits and deadlines.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use protocol::bookie::{Garbage, extension, frame::Oversized};
use protocol::entry::MAX_FRAME;
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::Instant;

use super::conn::{Conn, Phase};
use super::intake::Intake;
use crate::allowance::Allowance;
use crate::gather;
use crate::pipe::Flushed;
use crate::receive::{Read, Receive};
use crate::service::Pressure;

/// How long a frame may take to be whole while frames that are not whole keep others out; ten times as long if it
/// holds little.
const HURRY: Duration = Duration::from_secs(1);
const MODEST: usize = 128 * 1024;

/// A connection that holds no more than this is read from however busy the service is with others: it is they who
/// have to wait.
const SHARE: usize = 16 * 1024;

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
    #[error("cut off: {0}")]
    Oversized(#[from] Oversized),
    #[error("cut off, a frame was not whole in time")]
    HalfFrame,
    #[error("cut off, it does not take its replies")]
    SlowReader,
}

pub(super) async fn run(conn: Arc<Conn>, read: OwnedReadHalf, peer: SocketAddr, slot: usize) {
    let mut session = Session {
        receive: Receive::new(read, MAX_FRAME),
        intake: Intake::new(),
        conn: &conn,
        allowance: Allowance::default(),
        left: false,
        begun: None,
        stuck: None,
    };
    match session.serve().await {
        Ok(()) | Err(End::Closed | End::Finished) => {}
        Err(End::Io(error)) => tracing::debug!("{peer}: broken: {error}"),
        Err(end) => conn.shared.complain(peer, end),
    }
    session.allowance.give_up(&conn.shared.budget);
    conn.abandon();
    conn.shared.closed(slot);
}

struct Session<'a> {
    receive: Receive,
    intake: Intake,
    conn: &'a Arc<Conn>,
    allowance: Allowance,
    /// Whole frames may be left in the receive buffer, because too much was held to take them in.
    left: bool,
    /// When the frame began that is not whole.
    begun: Option<Instant>,
    /// Since when, and at how many bytes, the peer takes no more.
    stuck: Option<(Instant, u64)>,
}

impl Session<'_> {
    async fn serve(&mut self) -> Result<(), End> {
        let conn = self.conn;
        let mut full: Option<Pin<Box<dyn Future<Output = ()> + Send + '_>>> = None;
        let mut poor = false;
        loop {
            let blocked = conn.flush()? == Flushed::Blocked;
            let reads = !poor && full.is_none() && conn.may_read();
            if reads && self.left {
                if self.take_in()? == Pressure::Full && !conn.holds_at_most(SHARE) {
                    full = Some(conn.shared.service.room());
                }
                continue;
            }
            if !reads && !poor {
                // It is we who do not read on: the peer is not to blame.
                self.begun = self.begun.map(|_| Instant::now());
            }
            let deadline = self.deadline(blocked)?;
            tokio::select! {
                biased;
                ready = self.receive.ready(), if reads => {
                    ready?;
                    match self.allowance.pay(&conn.shared.budget, &self.receive) {
                        None => poor = true,
                        Some(room) => {
                            if self.read(room)? == Pressure::Full && !conn.holds_at_most(SHARE) {
                                full = Some(conn.shared.service.room());
                            }
                        }
                    }
                }
                writable = conn.writable(), if blocked => writable?,
                () = conn.kick.notified() => match conn.phase() {
                    Phase::Open => {}
                    Phase::Finishing if !conn.settled() => {}
                    Phase::Finishing | Phase::Cut => return Err(End::Finished),
                },
                () = conn.shared.budget.freed(), if poor => poor = false,
                () = wait(&mut full), if full.is_some() => full = None,
                () = until(deadline), if deadline.is_some() => {}
            }
        }
    }

    fn read(&mut self, room: usize) -> Result<Pressure, End> {
        match self.receive.read(room)? {
            Read::Some => {}
            Read::None => return Ok(Pressure::Room),
            Read::End => return Err(End::Closed),
        }
        self.take_in()
    }

    /// Submits what has arrived, as far as there is room for it.
    fn take_in(&mut self) -> Result<Pressure, End> {
        self.decode()?;
        let partial = self.receive.partial().len();
        self.begun = match partial {
            0 => None,
            _ if self.left => None,
            _ => self.begun.or_else(|| Some(Instant::now())),
        };
        self.receive.shrink();
        self.allowance.settle(&self.conn.shared.budget, &self.receive);
        if self.intake.batch.is_empty() {
            return Ok(Pressure::Room);
        }
        let batch = std::mem::take(&mut self.intake.batch);
        Ok(gather(|| self.conn.shared.service.submit(batch)))
    }

    /// Decodes the frames that are whole, as long as there is room for what they ask for.
    fn decode(&mut self) -> Result<(), End> {
        let mut state = self.conn.lock();
        self.left = false;
        loop {
            if state.held() >= self.conn.shared.settings.per_connection {
                self.left = true;
                return Ok(());
            }
            match self.receive.frame() {
                Ok(Some(frame)) => {
                    self.begun = None;
                    self.intake.frame(self.conn, &mut state, frame)?;
                    if self.intake.extension {
                        self.receive.max_frame = extension::MAX_FRAME;
                    }
                }
                Ok(None) => return Ok(()),
                Err(frame) => {
                    match self.intake.oversized(self.conn, &mut state, self.receive.partial(), frame)? {
                        Some(size) => self.receive.skip(size),
                        None => return Ok(()),
                    }
                }
            }
        }
    }

    /// When to look again at a frame that is not whole, and at a peer that takes no replies; an error if it is over.
    fn deadline(&mut self, blocked: bool) -> Result<Option<Instant>, End> {
        let settings = &self.conn.shared.settings;
        if !blocked {
            self.stuck = None;
            if self.begun.is_none() {
                return Ok(None);
            }
        }
        let now = Instant::now();
        if blocked {
            let written = self.conn.written();
            self.stuck = self.stuck.filter(|(_, then)| *then == written).or(Some((now, written)));
        }
        let hurry = if self.receive.partial().len() < MODEST { 10 * HURRY } else { HURRY };
        let clogged = self.conn.shared.budget.is_clogged();
        let patience = if clogged { settings.half_frame.min(hurry) } else { settings.half_frame };
        let whole = self.begun.map(|begun| begun + patience);
        let taken = self.stuck.map(|(since, _)| since + settings.slow_reader);
        if whole.is_some_and(|whole| whole <= now) {
            return Err(End::HalfFrame);
        }
        if taken.is_some_and(|taken| taken <= now) {
            return Err(End::SlowReader);
        }
        // Looked at again sooner than it is due: patience may have become less.
        Ok(whole.map(|whole| whole.min(now + HURRY / 4)).into_iter().chain(taken).min())
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

async fn wait(full: &mut Option<Pin<Box<dyn Future<Output = ()> + Send + '_>>>) {
    match full {
        Some(room) => room.await,
        None => std::future::pending().await,
    }
}
