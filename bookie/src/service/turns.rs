//! Whose turn it is at a shelf: that of the shelf's own lane, or of whoever brings a little work to an idle shelf.
//!
//! Waking the lane costs a quarter of what a sync costs. So a few requests that find the shelf idle are committed by the
//! thread that brought them, as long as the disk is quick and has more rest than work; what comes meanwhile goes to the
//! lane. Under load the lane is better: while it syncs, others bring what makes the next group larger. Work is taken in the
//! order in which it came, and by one at a time: it leaves the queue under the lock that the keeper is behind.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::keeper::{Keeper, Work};
use super::queue::Queue;
use crate::Error;

/// How much may be committed by the thread that brings it. More is worth a wake-up, during which it grows.
const FEW: usize = 4;
const LITTLE: u32 = 64 << 10;
/// A disk is quick while a turn takes less.
const QUICK: Duration = Duration::from_millis(1);

pub struct Turns {
    queue: Arc<Queue<Work>>,
    desk: Mutex<Desk>,
}

#[derive(Default)]
struct Desk {
    keeper: Option<Keeper>,
    /// Work was taken out of the queue and is not done. Left behind by a turn that panicked.
    busy: bool,
    /// When the last turn ended, and how long it took.
    last: Option<(Instant, Duration)>,
    /// Told when the shelf has closed, after the turn that is under way.
    closing: Option<oneshot::Sender<()>>,
    /// Why a turn beside the lane failed.
    failed: Option<Error>,
}

impl Turns {
    pub fn new(queue: Arc<Queue<Work>>) -> Turns {
        Turns { queue, desk: Mutex::default() }
    }

    /// Puts work into the queue, and does it at once where that is little and nothing else is under way.
    pub fn bring(&self, work: Vec<Work>) {
        self.queue.push_silently(work);
        let done = self.desk.try_lock().is_some_and(|mut desk| desk.try_turn(&self.queue));
        if !done {
            self.queue.ring();
        }
    }

    /// The shelf's lane: serves until the queue is closed, the shelf is told to close, or it fails. After an error
    /// nothing that was taken is answered.
    pub async fn serve(self: Arc<Turns>, keeper: Keeper) -> Result<(), Error> {
        keeper.note_room();
        let pause = keeper.pause();
        self.desk.lock().keeper = Some(keeper);
        let _end = End(&self);
        while self.queue.arrived().await {
            if !self.desk.lock().begin(&self.queue, |_| true)? {
                continue;
            }
            if let Some(pause) = &pause {
                tokio::time::sleep(pause()).await;
            }
            let closing = self.desk.lock().end()?;
            if let Some((keeper, closed)) = closing {
                keeper.close()?;
                let _ = closed.send(());
                return Ok(());
            }
        }
        self.desk.lock().failed.take().map_or(Ok(()), Err)
    }
}

impl Desk {
    /// Stages all that waits, if there is anything and `wanted` agrees; [`Desk::end`] MUST follow.
    fn begin(
        &mut self,
        queue: &Queue<Work>,
        wanted: impl FnOnce(&VecDeque<Work>) -> bool,
    ) -> Result<bool, Error> {
        if self.busy {
            return Err(Error::Stopped("a turn ended unexpectedly; the log says where".into()));
        }
        let Some(keeper) = &mut self.keeper else { return Ok(false) };
        let Some(work) = queue.take_if(wanted) else { return Ok(false) };
        self.busy = true;
        self.closing = keeper.take(work)?;
        Ok(true)
    }

    /// Commits what was staged. Returns the keeper if it is to close.
    fn end(&mut self) -> Result<Option<(Keeper, oneshot::Sender<()>)>, Error> {
        let Some(keeper) = &mut self.keeper else { return Ok(None) };
        let began = Instant::now();
        keeper.end_turn()?;
        let ended = Instant::now();
        self.last = Some((ended, ended - began));
        self.busy = false;
        let closing = self.closing.take();
        Ok(closing.and_then(|closing| Some((self.keeper.take()?, closing))))
    }

    /// Whether the work is done, by this thread.
    fn try_turn(&mut self, queue: &Queue<Work>) -> bool {
        let idle = self.last.is_some_and(|(ended, took)| took < QUICK && ended.elapsed() >= took);
        let Some(keeper) = self.keeper.as_ref().filter(|_| !self.busy && idle) else { return false };
        // In a simulation a disk that takes its time has to let time pass.
        if keeper.pause().is_some_and(|pause| !pause().is_zero()) {
            return false;
        }
        let done = self.begin(queue, is_little).and_then(|begun| match begun {
            true => self.end().map(|_| true),
            false => Ok(false),
        });
        done.unwrap_or_else(|error| {
            // The lane tells: its end is the shelf's.
            self.failed = Some(error);
            queue.close();
            true
        })
    }
}

fn is_little(work: &VecDeque<Work>) -> bool {
    let cost = |work: &Work| match work {
        Work::Serve(_, held) => Some(held.cost()),
        _ => None,
    };
    work.len() <= FEW
        && work
            .iter()
            .try_fold(0u32, |sum, work| sum.checked_add(cost(work)?))
            .is_some_and(|sum| sum <= LITTLE)
}

/// The shelf ends with its lane, however that ends.
struct End<'a>(&'a Turns);

impl Drop for End<'_> {
    fn drop(&mut self) {
        let keeper = self.0.desk.lock().keeper.take();
        drop(keeper);
    }
}
