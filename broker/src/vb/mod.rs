//! A virtual broker: a state machine over one log.
//!
//! * [`core`] — the machine: records in, entries, effects and visible rows out.
//! * [`record`] — what goes in and what becomes of it.
//! * [`recover`] — taking a checkpoint back and reading the log behind it.
//! * [`replay`] — the machine as its log says it was.
//! * [`tail`] — the newest entries, kept as they were appended.
//! * [`read`], [`fetch`], [`demand`] — messages and rows that are elsewhere.
//! * [`keeping`] — checkpoints and merges; [`retention`] — what is kept no longer; [`sizing`] — topics that are too large.
//! * [`holding`] — what of the log is still needed, and by whom; [`thinning`] — links of which little is.
//! * [`lock`] — the machine's lock.
//! * [`clock`] — time, from outside.
//!
//! Whoever has a record stages it under the lock, lets go of it and calls [`Vb::drive`]: there is no task between a
//! request and its entry. Whoever brings an acknowledgement gives the log its next entry likewise; one task per virtual
//! broker fires the effects.

pub mod clock;
pub mod core;
mod demand;
mod fetch;
pub mod holding;
mod keeping;
mod lock;
pub mod read;
pub mod record;
mod recover;
mod replay;
mod retention;
mod sizing;
mod tail;
mod thinning;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;

use ledger::error::Ended;
use ledger::log::{self, Health, Log, LogName, Logs, Progress};
use net::Wake;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use crate::checkpoint::Cold;
use crate::error::Error;
use crate::state::{Settings, TopicId};
use clock::Clock;
use fetch::Fetch;
use lock::CoreLock;
use recover::Recovered;
use replay::Replay;

pub use self::core::{Core, Limits};
pub use crate::index::{Row, Rows};
pub use clock::Now;
pub use lock::CoreGuard;
pub use read::Bound;
pub use record::{Effect, NewMessage, Outcome, Placed, Record, Refused, Staged};

/// Who is told what a virtual broker does by itself. Called outside the lock.
pub trait Watcher: Send + Sync + 'static {
    /// These queues have more acknowledged messages.
    fn visible(&self, vb: &Arc<Vb>, queues: &[(TopicId, u16)]);

    /// Nothing more will be acknowledged: drop it, and open it again if it should still be ours.
    fn ended(&self, vb: &Arc<Vb>);
}

/// What a virtual broker is.
pub struct VbSettings {
    pub id: u32,
    /// The brokerName that clients know.
    pub name: Arc<str>,
    /// Where it is served; messages keep it.
    pub address: SocketAddr,
    pub log: LogName,
    pub checkpoints: LogName,
    pub limits: Limits,
    /// The configuration's settings; those that operators changed are in the log.
    pub settings: Settings,
}

pub struct Vb {
    pub id: u32,
    pub name: Arc<str>,
    pub address: SocketAddr,
    epoch: u64,
    core: CoreLock,
    log: Arc<dyn Log>,
    progress: watch::Receiver<Progress>,
    /// What acknowledgements let go, and nobody was told yet.
    released: Mutex<core::Released>,
    cold: Cold,
    fetch: Fetch,
    clock: Arc<dyn Clock>,
    /// The watcher was told that it has ended.
    over: AtomicBool,
    watcher: Arc<dyn Watcher>,
    needs: Arc<Needs>,
    /// Held by whoever takes a checkpoint.
    keeping: tokio::sync::Mutex<()>,
    /// Held by whoever looks at what holds the log: one at a time.
    looking: tokio::sync::Mutex<()>,
    me: Weak<Vb>,
}

/// What wakes the virtual broker's tasks.
#[derive(Default)]
struct Needs {
    /// Something waits for an acknowledgement; whether the task that looks after it is awake.
    acknowledgement: Notify,
    ticking: AtomicBool,
    /// There is something to tell.
    news: Notify,
    /// Something was acknowledged that no checkpoint has; and it is much.
    checkpoint: Notify,
    checkpoint_now: Notify,
    /// More is acknowledged, or nothing will be any more.
    progress: Notify,
}

/// How often it is looked for senders who wait too long, while something waits.
const TICK: Duration = Duration::from_millis(100);

impl Vb {
    /// Takes the virtual broker's log over, and makes of it what it says.
    pub async fn open(
        settings: VbSettings,
        logs: &dyn Logs,
        clock: Arc<dyn Clock>,
        watcher: Arc<dyn Watcher>,
    ) -> Result<Arc<Vb>, Error> {
        let (log, checkpoints) =
            tokio::try_join!(logs.open(&settings.log), logs.open(&settings.checkpoints))?;
        let recovered = recover::recover(&settings, log.clone(), checkpoints).await?;
        let epoch = log.epoch().0;
        let Recovered { cold, replay: Replay { state, index, last_time, next, .. } } = recovered;
        let limits = settings.limits;
        let core = Core::new(core::Beginning {
            vb: settings.id,
            epoch,
            store_host: settings.address,
            limits,
            state,
            index,
            end: next,
            covered: cold.manifest().covered,
            last_time,
        });
        let needs = Arc::new(Needs::default());
        let vb = Arc::new_cyclic(|me| Vb {
            id: settings.id,
            name: settings.name,
            address: settings.address,
            epoch,
            core: CoreLock::new(core),
            fetch: Fetch::new(log.clone(), limits.read_bytes),
            progress: log.progress(),
            released: Mutex::default(),
            log,
            cold,
            clock,
            over: AtomicBool::new(false),
            watcher,
            needs: needs.clone(),
            keeping: tokio::sync::Mutex::new(()),
            looking: tokio::sync::Mutex::new(()),
            me: me.clone(),
        });
        tokio::spawn(tell(Arc::downgrade(&vb), needs.clone()));
        tokio::spawn(tick(Arc::downgrade(&vb), needs.clone()));
        tokio::spawn(keeping::keep(Arc::downgrade(&vb), needs, limits.checkpoint_after));
        tokio::spawn(sizing::run(Arc::downgrade(&vb)));
        tokio::spawn(thinning::run(Arc::downgrade(&vb), limits.thin_every));
        let follower: Weak<Vb> = Arc::downgrade(&vb);
        vb.log.follow(follower);
        vb.clone().wake();
        Ok(vb)
    }

    /// Leaves nothing to recover: what was staged is acknowledged, a checkpoint is taken, both logs are closed. What
    /// is staged meanwhile may not be stored.
    pub async fn close(&self) -> Result<(), Error> {
        self.cold.store.pace.end();
        self.checkpoint().await?;
        let (log, checkpoints) = tokio::join!(self.log.seal(), self.cold.store.seal());
        log?;
        checkpoints
    }

    fn cold(&self) -> &Cold {
        &self.cold
    }

    fn fetch(&self) -> &Fetch {
        &self.fetch
    }

    /// Whether this machine's clock is to be trusted: if not, nothing is given up for its age, and no timer fires. MUST be
    /// called without the core's lock.
    pub fn trusts_clock(&self) -> bool {
        let newest = self.core().last_time();
        self.clock.doubt(newest).is_none()
    }

    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// Locks the core. MUST be held for a moment only, and never while waiting; twice in one statement
    /// panics.
    #[track_caller]
    pub fn core(&self) -> CoreGuard<'_> {
        self.core.lock()
    }

    /// Gives the log what is staged, if few entries are on their way. To be called after staging, without the lock.
    pub fn drive(&self) {
        if !self.needs.ticking.swap(true, Relaxed) {
            self.needs.acknowledgement.notify_one();
        }
        let mut core = self.core();
        while let Some((base, body)) = core.take(self.clock.now()) {
            drop(core);
            let taken = self.log.append(&[body]);
            core = self.core();
            match taken {
                Ok(position) if position.0 == base => core.appended(),
                Ok(position) => {
                    core.appended();
                    tracing::error!(
                        "the log of {} put an entry at {position} that was made for {base}: it is given up",
                        self.name
                    );
                    drop(core);
                    return self.end();
                }
                // The next acknowledgement makes room, and drives again.
                Err(log::Refused::Full) => {
                    if !core.not_appended() {
                        return;
                    }
                }
                Err(refused) => {
                    core.appended();
                    tracing::info!("the log of {} takes no more: {refused}", self.name);
                    drop(core);
                    return self.end();
                }
            }
        }
    }

    /// Nothing more is acknowledged and nothing more is taken; everybody who waits is told, and the watcher once.
    fn end(&self) {
        let mut released = core::Released::default();
        self.core().end(&mut released);
        self.fire(released);
        self.needs.progress.notify_waiters();
        if !self.over.swap(true, Relaxed)
            && let Some(me) = self.me.upgrade()
        {
            self.watcher.ended(&me);
        }
    }

    /// Fires what an event let go; what that sends leaves in one write per connection.
    fn fire(&self, released: core::Released) {
        net::gather(|| {
            if !released.grown.is_empty()
                && let Some(me) = self.me.upgrade()
            {
                self.watcher.visible(&me, &released.grown);
            }
            for (effect, outcome) in released.effects {
                effect.fire(outcome);
            }
        });
    }

    /// Waits until everything before `position` is acknowledged. (Not on the log's own progress: a `watch` wakes those who
    /// wait for it in any order, and senders are to hear first.)
    pub(crate) async fn reached(&self, position: u64) -> Result<(), Error> {
        loop {
            let told = self.needs.progress.notified();
            {
                let core = self.core.lock();
                if core.acknowledged() >= position {
                    return Ok(());
                }
                if core.ended() {
                    let ended = self.log.progress().borrow().ended.clone();
                    return Err(ledger::Error::Ended(ended.unwrap_or(Ended::Sealed)).into());
                }
            }
            told.await;
        }
    }
}

impl Vb {
    fn want_checkpoint(&self, core: &Core) {
        let (some, much) = core.uncovered();
        self.cold.store.pace.press(core.is_pressed());
        if some {
            self.needs.checkpoint.notify_one();
        }
        if much {
            self.needs.checkpoint_now.notify_one();
        }
    }
}

impl Wake for Vb {
    /// The log has come further. On the thread that brought the news, which is a disk's where the bookie is in this process:
    /// so that gets its next entry at once, and senders get their answers from the virtual broker's own task meanwhile.
    fn wake(self: Arc<Self>) {
        {
            let mut core = self.core();
            // Looked at under the lock: whoever has it last knows the newest.
            let progress = self.progress.borrow();
            core.stall(match &progress.health {
                Health::Stalled(why) | Health::Short(why) => Some(why.clone()),
                Health::Good | Health::Reduced(_) => None,
            });
            let mut released = self.released.lock();
            core.advance(progress.acknowledged.0, &mut released);
            if progress.ended.is_some() {
                core.end(&mut released);
            }
            self.want_checkpoint(&core);
        }
        self.drive();
        self.needs.news.notify_one();
    }
}

impl Drop for Vb {
    /// Its tasks look whether it is still there.
    fn drop(&mut self) {
        self.needs.news.notify_one();
        self.needs.acknowledgement.notify_one();
    }
}

/// Tells what acknowledgements let go, until the log ends or nobody has the virtual broker any more.
async fn tell(vb: Weak<Vb>, needs: Arc<Needs>) {
    loop {
        needs.news.notified().await;
        let Some(vb) = vb.upgrade() else { return };
        // Looked at first: what was let go before the end is told before it.
        let ended = vb.progress.borrow().ended.clone();
        let released = std::mem::take(&mut *vb.released.lock());
        vb.fire(released);
        vb.needs.progress.notify_waiters();
        if let Some(ended) = ended {
            tracing::info!("the log of {} has ended: {ended}", vb.name);
            return vb.end();
        }
    }
}

/// Looks for senders who wait too long, while somebody waits.
async fn tick(vb: Weak<Vb>, needs: Arc<Needs>) {
    loop {
        needs.acknowledgement.notified().await;
        loop {
            sleep(TICK).await;
            let Some(vb) = vb.upgrade() else { return };
            let mut released = core::Released::default();
            needs.ticking.store(false, Relaxed);
            let waits = {
                let mut core = vb.core();
                core.tick(vb.clock.now(), &mut released);
                core.is_waiting()
            };
            vb.fire(released);
            if !waits {
                break;
            }
            needs.ticking.store(true, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
