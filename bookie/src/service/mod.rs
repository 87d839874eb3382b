//! A bookie: shelves, and all that makes a service of them.
//!
//! ```text
//! submit ─► placement ─┬─ reads in memory ─────────────────────────► answered in the caller's task
//!                      ├─ ReadQueue ─► read lanes (per shelf) ─────► answered there
//!                      └─ Queue ─► Turns ─► Keeper: stage*, commit ► answered after the sync
//!                                    └─ first adds ─► admission (metadata) ─► back into the queue
//! ```

mod admission;
mod alarm;
mod budget;
mod doubts;
mod duty;
mod keeper;
mod lanes;
mod long_poll;
mod placement;
mod questions;
mod queue;
mod reading;
mod serve;
mod start;
mod stop;
#[cfg(test)]
mod tests;
mod turns;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use disk::Disk;
use metadata::Ledgers;
use net::{Pressure, ReplyTo, Service};
use parking_lot::Mutex;
use protocol::BookieId;
use protocol::bookie::Request;
use tokio::sync::{Notify, oneshot, watch};

pub use alarm::Reason;
pub use lanes::Run;
pub(crate) use start::Hold;
pub use start::{Surroundings, Volume};

use crate::life::Leaving;
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::shelf::{Order, SegmentUse};
use crate::{Error, SegmentId};
use alarm::Alarm;
use budget::Budget;
use doubts::Doubts;
pub(crate) use keeper::Work;
use lanes::Lanes;
use long_poll::LongPolls;
use placement::Placement;
use queue::Queue;
use reading::ReadQueue;
use turns::Turns;

/// A storage process, without its sockets. Dropped, it is as dead as a killed process; [`Bookie::stop`] is the
/// orderly way.
pub struct Bookie {
    pub(crate) core: Arc<Core>,
    /// Its tasks and threads: they end with it.
    _lanes: Mutex<Lanes>,
}

/// What the lanes of a bookie share.
pub(crate) struct Core {
    pub settings: Settings,
    pub id: BookieId,
    pub incarnation: u64,
    pub ledgers: Ledgers,
    pub shelves: Vec<ShelfHandle>,
    pub placement: Placement,
    pub budget: Arc<Budget>,
    pub metrics: Arc<Metrics>,
    pub alarm: Alarm,
    /// Data of any ledger may be lost: nothing is denied, and no unknown ledger takes adds.
    pub limbo_all: Arc<AtomicBool>,
    pub doubts: Doubts,
    pub stopping: AtomicBool,
    /// Its operator wants it emptied.
    pub draining: AtomicBool,
    pub registered: AtomicBool,
    pub leaving: watch::Sender<Leaving>,
    pub space: Space,
    /// A shelf has more room than before, or less. (No `watch`: that wakes those who wait for it in any order.)
    pub room_changed: Arc<Notify>,
    /// Bytes of entries, smoothed.
    pub written_per_second: AtomicU64,
}

/// Bytes on all disks, as last seen.
#[derive(Default)]
pub(crate) struct Space {
    pub free: AtomicU64,
    pub total: AtomicU64,
}

/// One shelf, as everybody but its keeper sees it.
pub(crate) struct ShelfHandle {
    pub queue: Arc<Queue<Work>>,
    pub turns: Arc<Turns>,
    pub reads: Arc<ReadQueue>,
    pub flushes: Arc<Queue<crate::shelf::Flush>>,
    pub long_polls: Arc<LongPolls>,
    pub disk: Arc<dyn Disk>,
    pub writable: Arc<AtomicBool>,
    /// Whether there is room for the next segment too.
    pub plenty: Arc<AtomicBool>,
    /// Some of what it held may be gone.
    pub doubtful: bool,
}

/// Whether a bookie works, for `/health` and `/ready`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The process does what it should; if not, it is about to end.
    pub alive: bool,
    /// It serves and is registered.
    pub ready: bool,
    pub writable: bool,
    /// What is not as it should be; empty if all is.
    pub why: String,
}

impl Bookie {
    /// Opens the disks and serves. Returns once requests are taken; registration follows by itself.
    pub async fn start(
        settings: Settings,
        volumes: Vec<Volume>,
        ledgers: Ledgers,
        surroundings: Surroundings,
    ) -> Result<Bookie, Error> {
        start::start(settings, volumes, ledgers, surroundings).await
    }

    pub fn id(&self) -> &BookieId {
        &self.core.id
    }

    /// How often this bookie has been started.
    pub fn incarnation(&self) -> u64 {
        self.core.incarnation
    }

    /// One request; see [`Service::submit`].
    pub fn handle(&self, request: Request, reply: ReplyTo) {
        self.core.submit(vec![(request, reply)]);
    }

    /// Waits until so little is under way that connections may read on.
    pub async fn room(&self) {
        self.core.budget.room().await;
    }

    /// Whether so much is under way that connections should stop reading until [`Bookie::room`] returns.
    pub fn is_busy(&self) -> bool {
        self.core.budget.is_high()
    }

    /// Why it does not serve any more, once it does not.
    pub async fn stopped(&self) -> Reason {
        self.core.alarm.rung().await
    }

    /// Stops in order: takes no more adds, finishes what it has, flushes, marks its disks as clean, deregisters.
    pub async fn stop(&self) {
        stop::stop(&self.core).await;
    }

    pub fn health(&self) -> Health {
        self.core.health()
    }

    /// Prometheus' text.
    pub fn metrics_text(&self) -> String {
        self.core.metrics.in_flight.set(self.core.budget.used());
        self.core.metrics.text()
    }
}

impl Service for Bookie {
    fn submit(&self, batch: Vec<(Request, ReplyTo)>) -> Pressure {
        self.core.submit(batch);
        if self.is_busy() { Pressure::Full } else { Pressure::Room }
    }

    fn room(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.core.budget.room())
    }
}

impl Drop for Bookie {
    fn drop(&mut self) {
        self.core.alarm.ring(Reason::Stopped);
        self.core.close();
    }
}

impl Core {
    /// Does `orders` on a shelf, and returns once they are durable; false if the shelf is gone.
    pub async fn order(&self, shelf: usize, orders: Vec<Order>) -> bool {
        self.work(shelf, |then| Work::Order(orders, then)).await.is_some()
    }

    pub async fn segments(&self, shelf: usize) -> Vec<SegmentUse> {
        self.work(shelf, Work::Segments).await.unwrap_or_default()
    }

    pub async fn drop_segment(&self, shelf: usize, segment: SegmentId) -> bool {
        self.work(shelf, |then| Work::Drop(segment, then)).await == Some(true)
    }

    /// Copies some of a segment's live entries; `None` if the shelf is gone, else where to go on.
    pub async fn copy(
        &self,
        shelf: usize,
        segment: SegmentId,
        from: u32,
        max_bytes: u64,
    ) -> Option<Option<u32>> {
        self.work(shelf, |then| Work::Copy { segment, from, max_bytes, then }).await
    }

    /// What was deleted counts as dead, and its ids as free for repair, once the indexes are flushed.
    pub fn flush_soon(&self) {
        for shelf in &self.shelves {
            shelf.queue.push([Work::Tick { flush: true }]);
        }
    }

    async fn work<T>(&self, shelf: usize, work: impl FnOnce(oneshot::Sender<T>) -> Work) -> Option<T> {
        let (then, done) = oneshot::channel();
        self.shelves.get(shelf)?.queue.push([work(then)]);
        done.await.ok()
    }

    /// No lane does anything any more; what waits is dropped, and its askers hear that nothing is known.
    pub fn close(&self) {
        self.doubts.close();
        for shelf in &self.shelves {
            shelf.queue.close();
            shelf.reads.close();
            shelf.flushes.close();
            shelf.long_polls.close();
        }
    }

    /// Whether new ledgers may be put here.
    pub fn is_writable(&self) -> bool {
        !self.stopping.load(Ordering::Relaxed)
            && !self.draining.load(Ordering::Relaxed)
            && !self.limbo_all.load(Ordering::Relaxed)
            && self.shelves.iter().any(|shelf| shelf.writable.load(Ordering::Relaxed))
    }

    /// Whether no shelf has room for another segment.
    pub fn is_short(&self) -> bool {
        !self.shelves.iter().any(|shelf| shelf.plenty.load(Ordering::Relaxed))
    }

    fn health(&self) -> Health {
        let alive = !self.alarm.is_rung();
        let registered = self.registered.load(Ordering::Relaxed);
        let stopping = self.stopping.load(Ordering::Relaxed);
        let writable = self.is_writable();
        let why = if !alive {
            "stopped: see the log"
        } else if stopping {
            "stopping"
        } else if self.limbo_all.load(Ordering::Relaxed) {
            "data may be lost here: comparing with metadata"
        } else if !registered {
            "not registered in metadata yet"
        } else if self.draining.load(Ordering::Relaxed) {
            "read-only: it is being drained"
        } else if !writable {
            "read-only: no disk has room"
        } else {
            ""
        };
        Health { alive, ready: alive && registered && !stopping, writable, why: why.into() }
    }
}
