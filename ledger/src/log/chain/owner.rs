//! The task that owns a log: rolls it from ledger to ledger, keeps one ledger ready, files repairs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use metadata::Stored;
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
/// How long a bookie that failed is avoided; twice as long each time that it fails again soon.
const AVOID_FOR: Duration = Duration::from_secs(10);
const AVOID_AT_MOST: Duration = Duration::from_secs(300);

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
            better_at: now,
            look_at: now,
            began: now,
        }
    }

    pub async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>, wake: Arc<Notify>) {
        loop {
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

    fn set_health(&self, health: Health) {
        if let Some(driver) = self.driver.upgrade() {
            driver.with(|core, _| core.set_health(health));
        }
    }

    async fn react(&mut self, reason: Reason) -> Answered {
        match reason {
            Reason::Slow(bookie) => {
                let since = self.last_slow_roll.map(|at| at.elapsed());
                if let Some(left) = since.and_then(|since| self.settings.slow_roll_every.checked_sub(since)) {
                    self.look_again_in(left.max(FIRST_PAUSE));
                    return Ok(());
                }
                self.avoid([bookie]);
                self.last_slow_roll = Some(Instant::now());
                self.roll_if_better().await
            }
            Reason::Lost(bookie) => {
                self.avoid_absent();
                tracing::info!(log = %self.ownership.name(), %bookie, "a bookie is lost");
                self.roll_if_better().await
            }
            Reason::Reduced => self.roll_if_better().await,
            Reason::Full => self.roll_anyway().await,
            Reason::Dead(trouble) => self.leave_dead(trouble).await,
        }
    }

    /// Notes that these bookies failed just now.
    fn avoid(&mut self, bookies: impl IntoIterator<Item = BookieId>) {
        let now = Instant::now();
        for bookie in bookies {
            let avoided = self.avoided.entry(bookie).or_insert(Avoided { until: now, spell: Duration::ZERO });
            if avoided.until <= now {
                let again = now < avoided.until + avoided.spell * 4 && avoided.spell > Duration::ZERO;
                avoided.spell = if again { (avoided.spell * 2).min(AVOID_AT_MOST) } else { AVOID_FOR };
                avoided.until = now + avoided.spell;
            }
        }
    }

    /// Avoids the members that the current ledger does without, but not those that it was begun without: they are
    /// tried again as soon as they are registered.
    fn avoid_absent(&mut self) {
        let Some(driver) = self.driver.upgrade() else { return };
        let lost = driver.look(|core| core.lost_since_begin());
        self.avoid(lost);
    }

    fn avoided_now(&self) -> BTreeSet<BookieId> {
        let now = Instant::now();
        self.avoided.iter().filter(|(_, a)| a.until > now).map(|(b, _)| b.clone()).collect()
    }

    /// Goes on in a ledger whose bookies are all there; stays if there is none, as this one still acknowledges.
    async fn roll_if_better(&mut self) -> Answered {
        if Instant::now() < self.better_at {
            self.look_at = self.look_at.min(self.better_at);
            return Ok(());
        }
        self.better_at = Instant::now() + AGAIN;
        let next = match self.take_ready() {
            Some(next) => next,
            None => {
                let bookies = self.cluster.registered().await?;
                if !placement::is_whole_again(&bookies, self.settings.quorums, &self.avoided_now()) {
                    if let Some(driver) = self.driver.upgrade() {
                        driver.with(|core, _| core.set_health(reduced(core)));
                    }
                    self.look_again_in(AGAIN);
                    return Ok(());
                }
                self.create().await?
            }
        };
        self.roll(next).await
    }

    async fn roll_anyway(&mut self) -> Answered {
        // Nothing is frozen before it is known that the transaction has a chance.
        self.ownership.check().await?;
        let next = match self.take_ready() {
            Some(next) => next,
            None => self.create().await?,
        };
        self.roll(next).await
    }

    /// The current ledger acknowledges nothing more: any other is better.
    async fn leave_dead(&mut self, trouble: Trouble) -> Answered {
        let why = match trouble {
            Trouble::Stuck(why) => why,
            Trouble::Fenced(bookie) => format!("bookie {bookie} says that the ledger is fenced"),
            Trouble::Refused(bookie, refusal) => {
                self.avoid([bookie.clone()]);
                format!("bookie {bookie} refuses entries: {refusal}")
            }
            Trouble::Slow(bookie) | Trouble::Lost(bookie, _) => format!("bookie {bookie} does not answer"),
        };
        self.avoid_absent();
        tracing::warn!(log = %self.ownership.name(), why, "the ledger cannot go on");
        sleep(self.pause).await;
        let next = match self.take_ready() {
            Some(next) => Ok(next),
            None => self.create().await,
        };
        match next {
            Ok(next) => self.roll(next).await,
            Err(error @ Error::Ended(_)) => Err(error),
            Err(error) => {
                self.set_health(Health::Stalled(format!("{why}; and there is no other ledger: {error}")));
                self.lengthen_pause();
                self.look_again_in(self.pause);
                Ok(())
            }
        }
    }

    fn lengthen_pause(&mut self) {
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
    }

    /// The ledger that was made ahead, if none of its bookies is to be avoided.
    fn take_ready(&mut self) -> Option<Next> {
        let avoided = self.avoided_now();
        let names =
            |next: &Next| next.ledger.metadata.segments.iter().flat_map(|s| s.ensemble.clone()).collect();
        let ensemble: BTreeSet<BookieId> = names(self.ready.as_ref()?);
        if ensemble.is_disjoint(&avoided) { self.ready.take() } else { None }
    }

    async fn create(&self) -> Result<Next, Error> {
        let placement = self.cluster.place(self.settings.quorums, &self.avoided_now()).await?;
        self.create_on(placement).await
    }

    async fn create_on(&self, placement: Placement) -> Result<Next, Error> {
        let metadata = metadata_of(&self.settings, &self.ownership, &placement, self.cluster.random());
        Ok(Next { ledger: self.ownership.create(&metadata).await?, absent: placement.absent })
    }

    /// Freezes the current ledger and goes on in `next`. Once it has begun this does not give up: only the outcome of
    /// the transaction says which ledger may acknowledge.
    async fn roll(&mut self, next: Next) -> Answered {
        let Next { mut ledger, absent } = next;
        let target = target_of(&ledger, absent)?;
        let Some(driver) = self.driver.upgrade() else { return Ok(()) };
        let mut end = driver.with(|core, now| {
            match core.has_acknowledged() {
                true => self.pause = Duration::ZERO,
                false => self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE),
            }
            core.begin_roll(target, now)
        });
        drop(driver);
        let old = self.tip.clone();
        let mut tip = Some(old.clone());
        let mut pause = FIRST_PAUSE;
        let linked = loop {
            let base = end_position(old.link.link.base, end);
            match self.ownership.link(tip.as_ref(), end, base, &ledger).await {
                Ok(Linked::Done(linked)) => break linked,
                Ok(Linked::Again(changed)) => tip = changed,
                Ok(Linked::ClosedBeyond(changed, beyond)) => {
                    (tip, end) = (Some(changed), beyond);
                    ledger = self.begin_beyond(&old, end, ledger).await?;
                    continue;
                }
                Err(Error::Unavailable(why)) => self.set_health(Health::Stalled(why)),
                Err(error) => return Err(error),
            }
            if self.driver.strong_count() == 0 {
                return Ok(());
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        };
        self.went_on(linked, end)
    }

    /// The last ledger was closed by somebody else, behind what is acknowledged: begins again there, and gives up the
    /// ledger that was begun.
    async fn begin_beyond(&mut self, old: &Tip, end: End, begun: Stored) -> Result<Stored, Error> {
        let next = loop {
            match self.create().await {
                Ok(next) => break next,
                Err(error @ (Error::Ended(_) | Error::Corrupt(_) | Error::Invalid(_))) => return Err(error),
                Err(error) => self.set_health(Health::Stalled(error.to_string())),
            }
            sleep(AGAIN).await;
        };
        let base = end_position(old.link.link.base, end);
        let target = target_of(&next.ledger, next.absent)?;
        let Some(driver) = self.driver.upgrade() else { return Err(Ended::Sealed.into()) };
        let fits = driver.with(|core, now| {
            let fits = core.holds(base);
            if fits {
                core.adopt_end(base, end, target, now);
            }
            fits
        });
        if !fits {
            return Err(Error::Corrupt(format!(
                "ledger {} was closed at {base}, which no entry of log {} reaches",
                old.ledger.id,
                self.ownership.name()
            )));
        }
        let discarded = self.ownership.discard(&[begun.id]).await;
        self.note(discarded);
        Ok(next.ledger)
    }

    fn went_on(&mut self, linked: Tip, end: End) -> Answered {
        tracing::info!(
            log = %self.ownership.name(),
            from = %self.tip.ledger.id,
            to = %linked.ledger.id,
            base = linked.link.link.base.0,
            "rolled"
        );
        self.shared.readers.closed(self.tip.ledger.id, end);
        self.shared.readers.made(linked.link.link.base, &linked.ledger)?;
        {
            let mut links = self.shared.links.lock();
            if end.last.is_none() {
                links.pop();
            }
            if let Some(last) = links.last_mut() {
                last.link.end = Some(linked.link.link.base);
            }
            links.push(linked.link.clone());
        }
        self.tip = linked;
        self.began = Instant::now();
        self.look_at = self.next_look();
        self.ready_at = Instant::now();
        self.better_at = Instant::now();
        if let Some(driver) = self.driver.upgrade() {
            driver.with(|core, _| {
                core.link_is_done();
                core.set_health(reduced(core));
            });
        }
        self.look_again_in(AGAIN);
        Ok(())
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

    /// Makes a ledger ahead, if all its bookies are there; a roll then needs one transaction only.
    async fn make_ready(&mut self) {
        if self.ready.is_some() && self.take_ready_or_discard().await {
            return;
        }
        if Instant::now() < self.ready_at {
            return self.look_again_at_ready();
        }
        self.ready_at = Instant::now() + AGAIN * 5;
        match self.create_whole().await {
            Ok(made) => self.ready = made,
            Err(error @ Error::Ended(_)) => self.note(Err(error)),
            Err(error) => {
                tracing::info!(log = %self.ownership.name(), %error, "no ledger could be made ahead");
            }
        }
        self.look_again_at_ready();
    }

    /// A ledger of which no bookie is absent or to be avoided; `None` if there are too few for that.
    async fn create_whole(&self) -> Result<Option<Next>, Error> {
        let placement = self.cluster.place(self.settings.quorums, &self.avoided_now()).await?;
        let avoided = self.avoided_now();
        if placement.absent != Members::NONE || placement.ensemble.iter().any(|b| avoided.contains(b)) {
            return Ok(None);
        }
        self.create_on(placement).await.map(Some)
    }

    fn look_again_at_ready(&mut self) {
        if self.ready.is_none() {
            self.look_at = self.look_at.min(self.ready_at);
        }
    }

    /// Whether the ledger made ahead is still good; one that is not is deleted.
    async fn take_ready_or_discard(&mut self) -> bool {
        if let Some(good) = self.take_ready() {
            self.ready = Some(good);
            return true;
        }
        if let Some(bad) = self.ready.take() {
            let discarded = self.ownership.discard(&[bad.ledger.id]).await;
            self.note(discarded);
        }
        false
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

fn reduced(core: &Core) -> Health {
    let absent = core.absent();
    if absent.is_empty() { Health::Good } else { Health::Reduced(absent) }
}
