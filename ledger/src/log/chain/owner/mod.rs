//! The task that owns a log: rolls it from ledger to ledger, keeps one ledger ready, files repairs.

mod ahead;
mod react;
mod roll;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use metadata::Stored;
use metadata::registry::Directory;
use protocol::BookieId;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};

use super::core::{Core, Reason, Settled, end_position};
use super::ownership::{Linked, Ownership, Tip};
use super::{ChainLogs, ChainSettings, Shared, metadata_of, target_of};
use crate::cluster::Cluster;
use crate::drive::Driver;
use crate::error::{Ended, Error};
use crate::log::Health;
use crate::placement::{self, Placement};
use crate::quorum::Members;
use crate::writer::{End, Trouble};

/// What the log's handle asks for.
pub enum Order {
    Roll(oneshot::Sender<Result<(), Error>>),
    /// Close the last ledger: everything is acknowledged, and nothing more is taken.
    Close(oneshot::Sender<Result<(), Error>>),
}

/// How soon a log that is not as it should be is looked at again.
const AGAIN: Duration = Duration::from_secs(1);
const LONGEST_AGE: Duration = Duration::from_secs(365 * 24 * 3600);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// A ledger that exists and is not a link.
struct Next {
    ledger: Stored,
    absent: Members,
}

struct Avoided {
    until: Instant,
    spell: Duration,
}

pub struct Owner {
    cluster: Cluster,
    settings: Arc<ChainSettings>,
    ownership: Ownership,
    driver: Weak<Driver<Core>>,
    shared: Shared,
    tip: Tip,
    ready: Option<Next>,
    /// When to try again to make a ledger ahead.
    ready_at: Instant,
    avoided: BTreeMap<BookieId, Avoided>,
    last_slow_roll: Option<Instant>,
    /// Before the next roll, as long as ledgers are given up without having acknowledged anything.
    pause: Duration,
    directory: Option<Directory>,
    /// Why there is no room for much more.
    short: Option<String>,
    /// Not before this is a ledger that still acknowledges looked at for a better one.
    better_at: Instant,
    look_at: Instant,
    began: Instant,
}

type Answered = Result<(), Error>;

impl Owner {
    pub fn new(
        logs: &ChainLogs,
        ownership: Ownership,
        driver: &Arc<Driver<Core>>,
        shared: Shared,
        tip: Tip,
    ) -> Owner {
        let now = Instant::now();
        Owner {
            cluster: logs.cluster.clone(),
            settings: logs.settings.clone(),
            ownership,
            driver: Arc::downgrade(driver),
            shared,
            tip,
            ready: None,
            ready_at: now,
            avoided: BTreeMap::new(),
            last_slow_roll: None,
            pause: Duration::ZERO,
            directory: logs.directory.clone(),
            short: None,
            better_at: now,
            look_at: now,
            began: now,
        }
    }

    pub async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>, wake: Arc<Notify>) {
        loop {
            self.look_at_room();
            let Some(driver) = self.driver.upgrade() else { return };
            let (reason, ended, settled) = driver.with(|core, now| {
                core.owner_looks();
                (core.reason_to_roll(now), core.ended(), core.take_settled())
            });
            drop(driver);
            if ended.is_some() {
                return;
            }
            self.look_at = self.next_look();
            if let Some(reason) = reason {
                let result = self.react(reason).await;
                self.note(result);
            }
            self.file(settled).await;
            self.make_ready().await;
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(order) => self.obey(order).await,
                    None => return,
                },
                () = wake.notified() => {}
                () = changed(&mut self.directory) => {}
                () = sleep_until(self.look_at) => {}
            }
        }
    }

    async fn obey(&mut self, order: Order) {
        match order {
            Order::Roll(answer) => {
                let rolled = self.roll_anyway().await;
                let _ = answer.send(rolled.clone());
                self.note(rolled);
            }
            Order::Close(answer) => {
                let closed = self.close().await;
                let _ = answer.send(closed.clone());
                self.note(closed);
            }
        }
    }

    /// Ends the log after an error that nothing can be done about; the others are tried again.
    fn note(&mut self, result: Answered) {
        let (Err(error), Some(driver)) = (result, self.driver.upgrade()) else { return };
        let log = self.ownership.name();
        match error {
            Error::Ended(ended) => driver.with(|core, _| core.finish(ended)),
            Error::Corrupt(_) | Error::Invalid(_) => {
                tracing::error!(%log, %error, "the log cannot go on");
                driver.with(|core, _| core.finish(Ended::Failed(error.to_string())));
            }
            error => {
                tracing::warn!(%log, %error, "going on as it is; trying again");
                self.look_again_in(AGAIN);
            }
        }
    }

    /// When there is something to do if nothing happens: the ledger is old. An empty one only gets older.
    fn next_look(&self) -> Instant {
        let old = self.began + self.settings.limits.roll_age.min(LONGEST_AGE);
        old.max(Instant::now() + AGAIN * 10)
    }

    fn look_again_in(&mut self, pause: Duration) {
        self.look_at = self.look_at.min(Instant::now() + pause);
    }

    /// Says so when bookies run short of room or have some again; then a ledger that could not be left may be left at
    /// once.
    fn look_at_room(&mut self) {
        let Some(directory) = &self.directory else { return };
        let short = placement::is_short(&directory.bookies(), self.settings.quorums);
        if short == self.short {
            return;
        }
        if short.is_some() != self.short.is_some() {
            tracing::warn!(log = %self.ownership.name(), "{}", short.as_deref().unwrap_or("bookies have room again"));
            self.pause = Duration::ZERO;
        }
        self.short = short;
        if let Some(driver) = self.driver.upgrade() {
            driver.with(|core, _| core.set_short(self.short.clone()));
        }
    }

    fn set_health(&self, health: Health) {
        if let Some(driver) = self.driver.upgrade() {
            driver.with(|core, _| core.set_health(health));
        }
    }

    /// Files for repair what the bookies of retired ledgers turned out to lack.
    async fn file(&mut self, settled: Vec<Settled>) {
        for settled in settled.into_iter().filter(|s| !s.missing.is_empty()) {
            let linked = self.shared.links.lock().iter().any(|s| s.link.ledger == settled.ledger);
            if !linked {
                continue;
            }
            match self.ownership.file(&settled).await {
                Ok(()) => {
                    tracing::info!(ledger = %settled.ledger, bookies = settled.missing.len(), "filed for repair")
                }
                Err(error) => {
                    tracing::warn!(ledger = %settled.ledger, %error, "not filed for repair: left to the auditor");
                }
            }
        }
    }

    async fn close(&mut self) -> Answered {
        let Some(driver) = self.driver.upgrade() else { return Ok(()) };
        let end = driver.with(|core, _| core.freeze());
        let ready = self.ready.take().map(|next| next.ledger.id);
        self.ownership.close(&self.tip, end, ready).await?;
        // Bookies that are a little behind are no reason to repair.
        let until = Instant::now() + self.settings.patience.deadline;
        while !driver.look(|core| core.is_current_settled()) && Instant::now() < until {
            sleep(FIRST_PAUSE).await;
        }
        let mut settled = driver.with(|core, _| core.take_settled());
        settled.push(driver.look(|core| core.missing_now()));
        self.file(settled).await;
        driver.with(|core, _| core.finish(Ended::Sealed));
        Ok(())
    }
}

async fn changed(directory: &mut Option<Directory>) {
    match directory {
        Some(directory) => directory.changed().await,
        None => std::future::pending().await,
    }
}

fn reduced(core: &Core) -> Health {
    let absent = core.absent();
    if absent.is_empty() { Health::Good } else { Health::Reduced(absent) }
}
