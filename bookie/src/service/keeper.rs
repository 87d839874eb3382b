//! What owns a shelf: stages what it is given, and commits it. Whose turn it is: [`super::turns`].

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use net::gather;
use protocol::LedgerId;
use protocol::bookie::{Refusal, Request};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use super::admission::Admission;
use super::duty::Held;
use super::long_poll::LongPolls;
use super::queue::Queue;
use super::reading::ReadQueue;
use crate::metrics::Metrics;
use crate::shelf::{Flush, Flushed, Order, Room, SegmentUse, Staged};
use crate::{Duty, Error, SegmentId, Shelf};

/// What a shelf is given to do. Answers by [`oneshot`] come after the commit of what they are about.
pub enum Work {
    Serve(Request, Held),
    Admitted(LedgerId, Admission),
    Order(Vec<Order>, oneshot::Sender<()>),
    /// Look for room, and whether the index should be flushed.
    Tick {
        flush: bool,
    },
    Flushed(Flushed),
    /// Copies live entries out of a segment; where to go on. Not answered if it could not be done.
    Copy {
        segment: SegmentId,
        from: u32,
        max_bytes: u64,
        then: oneshot::Sender<Option<u32>>,
    },
    /// False if something in it is live.
    Drop(SegmentId, oneshot::Sender<bool>),
    Segments(oneshot::Sender<Vec<SegmentUse>>),
    /// Commits, flushes, marks the end as clean; the loop ends.
    Close(oneshot::Sender<()>),
}

/// How many ledgers wait for metadata at most.
const PARKED: usize = 4096;
/// An add is small that takes so small a part of what may wait for metadata.
const MODEST: u64 = 1024;

/// What a shelf's loop shares with the rest of the bookie.
pub struct Around {
    pub number: usize,
    pub reads: Arc<ReadQueue>,
    pub flushes: Arc<Queue<Flush>>,
    pub questions: mpsc::UnboundedSender<(usize, LedgerId)>,
    pub long_polls: Arc<LongPolls>,
    pub metrics: Arc<Metrics>,
    /// Whether this shelf takes normal adds.
    pub writable: Arc<AtomicBool>,
    /// Whether there is room for the next segment too.
    pub plenty: Arc<AtomicBool>,
    /// Told when one of the two has changed.
    pub room_changed: Arc<Notify>,
    /// While set, data of any ledger may be lost: unknown ledgers take no adds.
    pub limbo_all: Arc<AtomicBool>,
    /// How many bytes may wait for metadata: a part of what may be in flight, so that others go on meanwhile.
    pub parked_limit: u64,
    /// How long a turn takes: simulations give the disk its time here, between deciding and committing.
    pub turn: Option<Pause>,
}

pub type Pause = Arc<dyn Fn() -> Duration + Send + Sync>;

pub struct Keeper {
    shelf: Shelf<Held>,
    around: Around,
    parked: BTreeMap<LedgerId, Vec<(Request, Held)>>,
    parked_bytes: u64,
    /// Told after the next commit.
    told: Vec<Box<dyn FnOnce() + Send>>,
}

impl Keeper {
    pub fn new(shelf: Shelf<Held>, around: Around) -> Keeper {
        Keeper { shelf, around, parked: BTreeMap::new(), parked_bytes: 0, told: Vec::new() }
    }

    /// How long simulations let a turn take.
    pub fn pause(&self) -> Option<Pause> {
        self.around.turn.clone()
    }

    pub fn close(self) -> Result<(), Error> {
        self.shelf.close()
    }

    /// Stages what waited: one group, or a few, of which all but the last are committed.
    pub fn take(&mut self, work: VecDeque<Work>) -> Result<Option<oneshot::Sender<()>>, Error> {
        let mut closing = None;
        for item in work {
            match item {
                Work::Serve(request, held) => match self.waits_behind(&request) {
                    Some(waiting) => waiting.push((request, held)),
                    None => self.stage(request, held)?,
                },
                Work::Close(then) => closing = Some(then),
                other => self.other(other)?,
            }
        }
        Ok(closing)
    }

    /// What was staged is committed and answered.
    pub fn end_turn(&mut self) -> Result<(), Error> {
        self.commit()?;
        if self.shelf.flush_due() {
            self.flush()?;
        }
        Ok(())
    }

    fn other(&mut self, work: Work) -> Result<(), Error> {
        match work {
            Work::Admitted(ledger, admission) => self.admitted(ledger, admission)?,
            Work::Order(orders, then) => {
                for order in orders {
                    let done = self.shelf.order(order);
                    if self.survived(done)?.is_none() {
                        // Dropped, `then` tells that it was not done.
                        return Ok(());
                    }
                }
                self.tell(then, ());
            }
            Work::Tick { flush } => {
                if self.shelf.room() != Room::Plenty {
                    self.shelf.look_for_room()?;
                }
                if flush {
                    self.flush()?;
                }
                self.note_room();
            }
            Work::Flushed(flushed) => self.shelf.finish_flush(flushed)?,
            Work::Copy { segment, from, max_bytes, then } => {
                let copied = self.shelf.copy_live(segment, from, max_bytes);
                if let Some(next) = self.survived(copied)? {
                    self.tell(then, next);
                }
            }
            Work::Drop(segment, then) => {
                let dropped = self.shelf.drop_segment(segment);
                let dropped = self.survived(dropped)?.is_some();
                self.tell(then, dropped);
            }
            Work::Segments(then) => self.tell(then, self.shelf.segments()),
            Work::Serve(..) | Work::Close(_) => {}
        }
        Ok(())
    }

    /// An error that has not stopped the shelf is only of this piece of work.
    fn survived<T>(&self, outcome: Result<T, Error>) -> Result<Option<T>, Error> {
        match outcome {
            Ok(done) => Ok(Some(done)),
            Err(error) if self.shelf.stopped().is_some() => Err(error),
            Err(error) => {
                tracing::info!(shelf = self.around.number, %error, "not done now");
                Ok(None)
            }
        }
    }

    fn tell<T: Send + 'static>(&mut self, then: oneshot::Sender<T>, what: T) {
        self.told.push(Box::new(move || drop(then.send(what))));
    }

    fn stage(&mut self, request: Request, held: Held) -> Result<(), Error> {
        let (mut request, mut held) = (request, held);
        loop {
            match self.shelf.stage(request, held) {
                Staged::Taken => return Ok(()),
                Staged::Full(again, duty) => {
                    self.commit()?;
                    (request, held) = (again, duty);
                }
                Staged::Read(read, duty) => {
                    self.around.reads.push(read, duty);
                    return Ok(());
                }
                Staged::Stranger(add, duty) => {
                    self.park(add, duty);
                    return Ok(());
                }
            }
        }
    }

    /// Append, sync and publish happen in here, in this order; what comes after may rely on them.
    fn commit(&mut self) -> Result<(), Error> {
        if self.shelf.has_work() || self.shelf.stopped().is_some() {
            let began = Instant::now();
            let committed = gather(|| self.shelf.commit())?;
            let metrics = &self.around.metrics;
            metrics.commit_time.record_time(began.elapsed());
            metrics.group_entries.record(committed.entries);
            metrics.group_bytes.record(committed.bytes);
            metrics.added_bytes.add(committed.bytes);
            for (request, held) in committed.reads {
                self.around.reads.push(request, held);
            }
            self.around.long_polls.something_came();
            self.note_room();
        }
        self.told.drain(..).for_each(|tell| tell());
        Ok(())
    }

    pub fn note_room(&self) {
        let (room, around) = (self.shelf.room(), &self.around);
        let differs = |flag: &AtomicBool, now| flag.swap(now, Ordering::Relaxed) != now;
        let writable = differs(&around.writable, room != Room::ReadOnly);
        if differs(&around.plenty, room == Room::Plenty) || writable {
            around.room_changed.notify_waiters();
        }
    }

    /// A force is about the adds before it, and these may still wait for what metadata says.
    fn waits_behind(&mut self, request: &Request) -> Option<&mut Vec<(Request, Held)>> {
        match request {
            Request::Force { ledger } => self.parked.get_mut(ledger),
            _ => None,
        }
    }

    /// An add for a ledger that is not known waits for what metadata says; so does all that comes after it.
    fn park(&mut self, add: Request, held: Held) {
        let Some(ledger) = add.ledger() else { return held.answer(Err(Refusal::BadRequest)) };
        if self.around.limbo_all.load(Ordering::Relaxed) {
            return held.answer(Err(Refusal::Fenced));
        }
        let cost = u64::from(held.cost());
        let bytes = self.parked_bytes + cost;
        // Others' large adds do not keep a small one out, which is counted elsewhere too.
        if bytes > self.around.parked_limit && cost > self.around.parked_limit / MODEST {
            return held.answer(Err(Refusal::TooManyRequests));
        }
        if let Some(waiting) = self.parked.get_mut(&ledger) {
            self.parked_bytes = bytes;
            return waiting.push((add, held));
        }
        if self.parked.len() >= PARKED || self.around.questions.send((self.around.number, ledger)).is_err() {
            return held.answer(Err(Refusal::TooManyRequests));
        }
        self.around.metrics.first_adds.add(1);
        self.parked_bytes = bytes;
        self.parked.insert(ledger, vec![(add, held)]);
        self.around.metrics.parked.set(self.parked.len() as u64);
    }

    fn admitted(&mut self, ledger: LedgerId, admission: Admission) -> Result<(), Error> {
        let waiting = self.parked.remove(&ledger).unwrap_or_default();
        self.parked_bytes -= waiting.iter().map(|(_, held)| u64::from(held.cost())).sum::<u64>();
        self.around.metrics.parked.set(self.parked.len() as u64);
        let admission = match self.around.limbo_all.load(Ordering::Relaxed) {
            true => Err(Refusal::Fenced),
            false => admission,
        };
        match admission {
            Ok(()) => {
                for (add, held) in waiting {
                    self.shelf.vouch(ledger);
                    self.stage(add, held)?;
                }
            }
            Err(refusal) => {
                if refusal == Refusal::Fenced {
                    self.around.metrics.first_adds_fenced.add(1);
                }
                waiting.into_iter().for_each(|(_, held)| held.answer(Err(refusal)));
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        if let Some(flush) = self.shelf.begin_flush()? {
            self.around.flushes.push([flush]);
        }
        Ok(())
    }
}

/// Runs index flushes beside the shelf, and gives back what they came to.
pub async fn flush_beside(flushes: Arc<Queue<Flush>>, shelf: Arc<Queue<Work>>, metrics: Arc<Metrics>) {
    while let Some(taken) = flushes.take(1).await {
        for flush in taken {
            let began = Instant::now();
            let flushed = flush.run();
            metrics.flush_time.record_time(began.elapsed());
            shelf.push([Work::Flushed(flushed)]);
        }
    }
}
