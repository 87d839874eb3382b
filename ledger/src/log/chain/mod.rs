//! The log that lasts: a chain of ledgers, one after the other, with one owner.
//!
//! [`core`] holds the state between the ledgers and is pure; [`ownership`] makes the changes in metadata; the task in
//! [`owner`] rolls from ledger to ledger; [`read`] finds positions in ledgers; [`thin`] replaces links by copies of what
//! is needed of them.

pub mod core;
mod owner;
mod ownership;
mod part;
mod read;
mod spans;
mod thin;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use metadata::registry::Directory;
use metadata::schema::Origin;
use metadata::schema::ledger::KIND_LOG;
use metadata::{LedgerMetadata, State, Stored};
use net::Wake;
use parking_lot::Mutex;
use protocol::EntryId;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep};

use self::core::{Core, end_position};
use self::owner::{Order, Owner};
use self::ownership::{Linked, Ownership, StoredLink, Tip, read_links};
use self::read::Readers;
use super::format::Head;
use super::{
    Asking, Doing, Entry, Epoch, Keep, Limits, Link, Log, LogName, Logs, Position, Progress, Refused,
};
use crate::cluster::Cluster;
use crate::drive::Driver;
use crate::error::{Ended, Error};
use crate::layout::Layout;
use crate::placement::Placement;
use crate::quorum::{Members, Quorums};
use crate::reader::{LedgerReader, ReadPatience};
use crate::recovery::recover;
use crate::writer::{End, Patience, Plan, Target};

#[derive(Clone, Debug)]
pub struct ChainSettings {
    /// Who opens logs, for people.
    pub owner: String,
    pub quorums: Quorums,
    pub limits: Limits,
    pub patience: Patience,
    /// Rolls because a bookie is slow are at least so far apart.
    pub slow_roll_every: Duration,
    /// How long an open keeps trying to recover the last ledger.
    pub recover_for: Duration,
    /// Bytes per second of a link of which a sparse copy is made.
    pub thin_rate: u64,
}

impl ChainSettings {
    pub fn new(owner: &str, quorums: Quorums) -> ChainSettings {
        ChainSettings {
            owner: owner.into(),
            quorums,
            limits: Limits::default(),
            patience: Patience::default(),
            slow_roll_every: Duration::from_secs(10),
            recover_for: Duration::from_secs(30),
            thin_rate: 8 << 20,
        }
    }
}

/// All logs of one cluster. Clones share its connections.
#[derive(Clone)]
pub struct ChainLogs {
    cluster: Cluster,
    settings: Arc<ChainSettings>,
    directory: Option<Directory>,
}

impl ChainLogs {
    pub fn new(cluster: Cluster, settings: ChainSettings) -> ChainLogs {
        ChainLogs { cluster, settings: Arc::new(settings), directory: None }
    }

    /// The same, but what bookies say of their room counts at once: see [`Health::Short`](super::Health::Short).
    pub fn following(self, directory: Directory) -> ChainLogs {
        ChainLogs { directory: Some(directory), ..self }
    }

    async fn take_over(&self, name: &LogName) -> Result<ChainLog, Error> {
        let (cluster, settings) = (&self.cluster, &self.settings);
        let ownership = Ownership::steal(cluster, name, &settings.owner).await?;
        let mut links = read_links(cluster, name).await?;
        let stale = ownership.ready().await?;
        let (tip, end) = self.recover_last(&links).await?;
        let base = match &tip {
            Some(tip) => self.checked_end(tip, end).await?,
            None => Position::START,
        };
        let placement = cluster.place(settings.quorums, &Default::default()).await?;
        let made = ownership.create(&metadata_of(settings, &ownership, &placement, cluster.random())).await?;
        let tip = link_first(&ownership, tip, end, base, &made).await?;
        ownership.discard(&stale).await?;
        if end.last.is_none() {
            links.pop();
        }
        if let Some(last) = links.last_mut() {
            last.link.end = Some(base);
        }
        links.push(tip.link.clone());
        tracing::info!(log = %name, epoch = ownership.epoch.0, end = base.0, "opened");
        self.start(ownership, links, tip, placement)
    }

    /// Closes what the last owner left open, and where that ends. A log without links has no end to speak of: what is
    /// returned only says that there is no empty link to replace.
    async fn recover_last(&self, links: &[StoredLink]) -> Result<(Option<Tip>, End), Error> {
        let Some(link) = links.last() else {
            return Ok((None, End { last: EntryId(0), length: 0 }));
        };
        let until = Instant::now() + self.settings.recover_for;
        let mut pause = Duration::from_millis(50);
        let ledger = loop {
            match recover(&self.cluster, link.link.ledger).await {
                Err(error @ (Error::Unavailable(_) | Error::TooFewBookies(_))) if Instant::now() < until => {
                    tracing::warn!(ledger = %link.link.ledger, %error, "cannot be recovered yet; trying again");
                    sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(2));
                }
                recovered => break recovered?,
            }
        };
        let State::Closed { last, length } = ledger.metadata.state else {
            return Err(Error::Corrupt(format!("ledger {} is not closed after its recovery", ledger.id)));
        };
        Ok((Some(Tip { link: link.clone(), ledger }), End { last, length }))
    }

    /// Where a closed link ends, which its last entry has to say too: a ledger that was closed with a wrong length
    /// would move all positions behind it.
    async fn checked_end(&self, tip: &Tip, end: End) -> Result<Position, Error> {
        let position = end_position(tip.link.link.base, end);
        if end.last.is_none() {
            return Ok(position);
        }
        let id = tip.ledger.id;
        let reader = LedgerReader::of(&self.cluster, &tip.ledger, ReadPatience::default())?;
        for found in reader.read(end.last, end.last, 1).await? {
            let (_, entry) = Head::decode(&found.payload, || format!("entry {} of ledger {id}", end.last))?;
            if entry.end() != position {
                return Err(Error::Corrupt(format!(
                    "ledger {id} was closed at {position}, but its last entry ends at {}",
                    entry.end()
                )));
            }
        }
        Ok(position)
    }

    fn start(
        &self,
        ownership: Ownership,
        links: Vec<StoredLink>,
        tip: Tip,
        placement: Placement,
    ) -> Result<ChainLog, Error> {
        let (cluster, settings) = (&self.cluster, &self.settings);
        let (wake, timer) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let target = target_of(&tip.ledger, placement.absent)?;
        let base = tip.link.link.base;
        let (limits, patience) = (settings.limits, settings.patience);
        let core = Core::new(ownership.epoch, limits, patience, base, target, wake.clone(), timer.clone());
        let progress = core.progress();
        let driver = Driver::new(cluster.bookies.clone(), core);
        let links = Arc::new(Mutex::new(links));
        let (orders, inbox) = mpsc::unbounded_channel();
        tokio::spawn(tick(Arc::downgrade(&driver), timer, patience));
        let readers = Arc::new(Readers::new(cluster.clone()));
        readers.made(base, &tip.ledger)?;
        let owner = Owner::new(
            self,
            ownership.clone(),
            &driver,
            Shared { links: links.clone(), readers: readers.clone() },
            tip,
        );
        tokio::spawn(owner.run(inbox, wake));
        let (cluster, settings) = (cluster.clone(), settings.clone());
        let changing = tokio::sync::Mutex::default();
        Ok(ChainLog { cluster, settings, ownership, driver, links, changing, orders, progress, readers })
    }
}

/// Metadata of a ledger for a log.
fn metadata_of(
    settings: &ChainSettings,
    ownership: &Ownership,
    placement: &Placement,
    token: u64,
) -> LedgerMetadata {
    let vb = ownership.name().as_str().to_owned();
    let custom = Origin { vb, kind: KIND_LOG.into(), epoch: ownership.epoch.0 }.to_custom();
    Plan { custom, ..Plan::new(settings.quorums) }.metadata(placement.ensemble.clone(), token)
}

fn target_of(ledger: &Stored, absent: Members) -> Result<Target, Error> {
    let Layout { ledger, quorums, key, digest, segments } = Layout::of(ledger)?;
    let ensemble = segments.into_iter().next().map(|segment| segment.ensemble).unwrap_or_default();
    Ok(Target { ledger, quorums, ensemble, absent, key, digest, first: EntryId::FIRST, length: 0 })
}

/// Adds the first link of this epoch.
async fn link_first(
    ownership: &Ownership,
    mut tip: Option<Tip>,
    end: End,
    base: Position,
    made: &Stored,
) -> Result<Tip, Error> {
    loop {
        match ownership.link(tip.as_ref(), end, base, made).await? {
            Linked::Done(tip) => return Ok(tip),
            Linked::Again(changed) => tip = changed,
            Linked::ClosedBeyond(tip, _) => {
                let why = format!("the end of ledger {} moved although it was closed", tip.ledger.id);
                return Err(Error::Corrupt(why));
            }
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Looks for late bookies while answers are awaited; ends with its log.
async fn tick(driver: Weak<Driver<Core>>, timer: Arc<Notify>, patience: Patience) {
    let every = (patience.slow_after / 4).clamp(Duration::from_millis(10), Duration::from_secs(1));
    loop {
        timer.notified().await;
        loop {
            sleep(every).await;
            let Some(driver) = driver.upgrade() else { return };
            if !driver.with(|core, now| core.tick(now)) {
                break;
            }
        }
    }
}

impl Logs for ChainLogs {
    fn open<'a>(&'a self, name: &'a LogName) -> Doing<'a, Arc<dyn Log>> {
        Box::pin(async move { Ok(Arc::new(self.take_over(name).await?) as Arc<dyn Log>) })
    }

    fn links<'a>(&'a self, name: &'a LogName) -> Doing<'a, Vec<Link>> {
        Box::pin(async move {
            let links = read_links(&self.cluster, name).await?;
            Ok(links.into_iter().map(|stored| stored.link).collect())
        })
    }
}

struct ChainLog {
    cluster: Cluster,
    settings: Arc<ChainSettings>,
    ownership: Ownership,
    driver: Arc<Driver<Core>>,
    /// As metadata has them.
    links: Arc<Mutex<Vec<StoredLink>>>,
    /// Held by who changes links before the last: nobody deletes what another is replacing.
    changing: tokio::sync::Mutex<()>,
    orders: mpsc::UnboundedSender<Order>,
    progress: watch::Receiver<Progress>,
    readers: Arc<Readers>,
}

/// What the log's handle and its owner's task both know.
struct Shared {
    links: Arc<Mutex<Vec<StoredLink>>>,
    readers: Arc<Readers>,
}

impl ChainLog {
    fn ended(&self) -> Result<(), Error> {
        match self.progress.borrow().ended.clone() {
            Some(ended) => Err(ended.into()),
            None => Ok(()),
        }
    }

    /// Has the owner's task do something.
    async fn order<T>(
        &self,
        order: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Order,
    ) -> Result<T, Error> {
        self.ended()?;
        let (answer, answered) = oneshot::channel();
        let _ = self.orders.send(order(answer));
        match answered.await {
            Ok(answer) => answer,
            Err(_) => Err(self
                .ended()
                .err()
                .unwrap_or_else(|| Error::Ended(Ended::Failed("the log's owner task is gone".into())))),
        }
    }
}

impl Log for ChainLog {
    fn epoch(&self) -> Epoch {
        self.ownership.epoch
    }

    fn append(&self, parts: &[Bytes]) -> Result<Position, Refused> {
        self.driver.with(|core, now| core.append(parts, now))
    }

    fn room(&self, bytes: usize) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let mut progress = self.progress.clone();
        Box::pin(async move {
            loop {
                let ended = progress.borrow_and_update().ended.is_some();
                if ended || self.driver.look(|core| core.has_room(bytes)) || progress.changed().await.is_err()
                {
                    return;
                }
            }
        })
    }

    fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    fn follow(&self, follower: Weak<dyn Wake>) {
        self.driver.with(|core, _| core.follow(follower));
    }

    fn read(&self, from: Position, max_bytes: usize) -> Doing<'_, Vec<Entry>> {
        Box::pin(self.readers.read(self, from, max_bytes))
    }

    fn read_part(&self, from: Position, len: usize) -> Asking<'_, Bytes> {
        Box::pin(self.readers.read_part(self, from, len))
    }

    fn doubt(&self, at: Position) {
        self.readers.doubt(self, at);
    }

    fn trim(&self, up_to: Position) -> Doing<'_, Position> {
        Box::pin(async move {
            self.ended()?;
            let first =
                |links: &[StoredLink]| links.first().map_or(Position::START, |stored| stored.link.base);
            // Who replaces a link may wait for the metadata store: the next trim is early enough.
            let Ok(_alone) = self.changing.try_lock() else { return Ok(first(&self.links.lock())) };
            let gone = {
                let links = self.links.lock();
                let whole = |stored: &&StoredLink| stored.link.end.is_some_and(|end| end <= up_to);
                links.iter().take_while(whole).cloned().collect::<Vec<_>>()
            };
            self.ownership.trim(&gone).await?;
            let mut links = self.links.lock();
            links.retain(|stored| gone.iter().all(|g| g.link != stored.link));
            Ok(first(&links))
        })
    }

    fn thin<'a>(&'a self, base: Position, keep: &'a Keep) -> Doing<'a, bool> {
        Box::pin(self.thin_link(base, keep))
    }

    fn links(&self) -> Doing<'_, Vec<Link>> {
        Box::pin(async move { Ok(self.links.lock().iter().map(|stored| stored.link.clone()).collect()) })
    }

    fn roll(&self) -> Doing<'_, ()> {
        Box::pin(self.order(Order::Roll))
    }

    fn seal(&self) -> Doing<'_, Position> {
        Box::pin(async move {
            self.ended()?;
            let end = self.driver.with(|core, _| core.begin_seal());
            super::acknowledged(self, end).await?;
            self.order(Order::Close).await?;
            Ok(end)
        })
    }
}

#[cfg(test)]
mod tests;
