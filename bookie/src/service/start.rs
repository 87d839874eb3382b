//! From folders and metadata to a bookie that serves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use disk::Disk;
use metadata::Ledgers;
use metadata::schema::Cookie;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::{Notify, mpsc};
use uuid::Uuid;

use super::admission;
use super::alarm::Alarm;
use super::budget::Budget;
use super::doubts::{self, Doubts};
use super::duty::Held;
use super::keeper::{Around, Keeper, Work, flush_beside};
use super::lanes::{Lanes, Run};
use super::long_poll::LongPolls;
use super::placement::Placement;
use super::questions::ask_each;
use super::queue::Queue;
use super::reading::ReadQueue;
use super::turns::Turns;
use super::{Bookie, Core, ShelfHandle};
use crate::identity::{Claim, Found, Identity, Membership, Refused, Verdict, file, judge};
use crate::index::IndexStore;
use crate::life;
use crate::metrics::Metrics;
use crate::settings::{Budgets, Settings};
use crate::shelf::{self, Order, StartReport};
use crate::upkeep;
use crate::{Error, Shelf};

/// One data folder.
pub struct Volume {
    /// As the operator wrote it: for cookies and messages.
    pub name: String,
    pub disk: Arc<dyn Disk>,
    pub index: Arc<dyn IndexStore>,
}

/// What a bookie needs of the process that it runs in.
pub struct Surroundings {
    /// Any number not used before: names of new disks, and marks of this start, come from it.
    pub seed: u64,
    pub run: Run,
}

/// A disk with its place in the bookie, before it is opened.
struct Member {
    volume: Volume,
    disk: Uuid,
    is_new: bool,
    /// A bookie has served from it.
    is_used: bool,
    doubtful: bool,
}

struct Opened {
    shelf: Shelf<Held>,
    disk: Arc<dyn Disk>,
    doubtful: bool,
    /// The disk remembers the doubt already.
    in_limbo: bool,
}

/// Everything opened and written, and nothing running yet.
struct Prepared {
    hold: Hold,
    claim: Claim,
    epoch: u64,
    shelves: Vec<Opened>,
}

pub(super) async fn start(
    settings: Settings,
    volumes: Vec<Volume>,
    ledgers: Ledgers,
    surroundings: Surroundings,
) -> Result<Bookie, Error> {
    settings.check().map_err(Error::Config)?;
    let mut rng = StdRng::seed_from_u64(surroundings.seed);
    let prepared = prepare(&settings, volumes, &ledgers, &mut rng).await?;
    Ok(assemble(settings, ledgers, prepared, surroundings.run))
}

/// Decides whether to serve; opens the disks; makes doubt durable; takes the name. In this order.
async fn prepare(
    settings: &Settings,
    volumes: Vec<Volume>,
    ledgers: &Ledgers,
    rng: &mut StdRng,
) -> Result<Prepared, Error> {
    let found = look(&volumes)?;
    let on_disk = found.iter().find_map(|found| found.identity.as_ref());
    let id = on_disk.map_or(&settings.id, |identity| &identity.bookie).clone();
    let (mut claim, known) = Claim::read(ledgers, &id).await?;
    // A volume keeps its name under another host name, unless that is somebody's: clients that dial by name would take
    // its answers for the other's.
    if id != settings.id && Claim::read(ledgers, &settings.id).await?.1.cookie {
        return Err(Refused::Swapped { found: id, configured: settings.id.clone() }.into());
    }
    let verdict = judge(&found, &known, &id, settings.on_lost_data)?;
    for suspicion in &verdict.suspicions {
        tracing::warn!(bookie = %id, "{suspicion}; serving in limbo until what should be here is here again");
    }
    let names: Vec<String> = volumes.iter().map(|volume| volume.name.clone()).collect();
    let members = members(volumes, &found, &verdict, rng);
    let hold = Hold {
        id: id.clone(),
        cluster: known.cluster.clone(),
        disks: members.iter().map(|member| member.disk).collect(),
        incarnation: verdict.incarnation,
        lost_until: known.lost_until,
    };
    for member in members.iter().filter(|member| member.is_new) {
        hold.identity(member.disk, 0)
            .store(&*member.volume.disk)
            .map_err(Error::disk("writing the identity"))?;
    }
    let mut shelves = Vec::new();
    for member in members {
        shelves.push(open(member, settings, hold.disks.len(), rng.random())?);
    }
    doubt(&mut shelves, &verdict)?;
    // Only now, with the doubt on disk, may the disks look as new as they should be.
    hold.write(shelves.iter().map(|shelf| &*shelf.disk), verdict.epoch)?;
    let cookie = Cookie {
        bookie: id,
        journal_dirs: names.join(","),
        ledger_dirs: names,
        index_dirs: None,
        instance_id: known.cluster,
    };
    claim.take(&cookie, &hold.membership(verdict.epoch)).await?;
    Ok(Prepared { hold, claim, epoch: verdict.epoch, shelves })
}

/// A bookie's hold on its name: what it writes to its disks and to metadata with each epoch.
pub(crate) struct Hold {
    pub id: protocol::BookieId,
    pub cluster: String,
    pub disks: Vec<Uuid>,
    pub incarnation: u64,
    /// See [`Membership::lost_until`].
    pub lost_until: i64,
}

impl Hold {
    pub fn membership(&self, epoch: u64) -> Membership {
        let mut membership = Membership::new(self.incarnation, epoch, &self.disks);
        membership.lost_until = self.lost_until;
        membership
    }

    /// Writes the epoch to all disks. Metadata MUST hear of it only afterwards.
    pub fn write<'a>(&self, disks: impl Iterator<Item = &'a dyn Disk>, epoch: u64) -> Result<(), Error> {
        for (disk, uuid) in disks.zip(&self.disks) {
            self.identity(*uuid, epoch).store(disk).map_err(Error::disk("writing the identity"))?;
        }
        Ok(())
    }

    fn identity(&self, disk: Uuid, epoch: u64) -> Identity {
        Identity {
            bookie: self.id.clone(),
            cluster: self.cluster.clone(),
            disk,
            disks: self.disks.clone(),
            incarnation: self.incarnation,
            epoch,
        }
    }
}

fn look(volumes: &[Volume]) -> Result<Vec<Found>, Error> {
    let mut found = Vec::new();
    for (folder, volume) in volumes.iter().enumerate() {
        let names = volume.disk.list().map_err(Error::disk("listing a data folder"))?;
        let has_data = names.iter().any(|(name, _)| !name.starts_with(file::FILE));
        let identity = Identity::load(&*volume.disk).map_err(Error::disk("reading the identity"))?;
        let identity = identity
            .transpose()
            .map_err(|why| Refused::Unreadable { folder, why: format!("{}: {why}", volume.name) })?;
        found.push(Found { identity, has_data });
    }
    Ok(found)
}

fn members(volumes: Vec<Volume>, found: &[Found], verdict: &Verdict, rng: &mut StdRng) -> Vec<Member> {
    let mut members = Vec::new();
    for (folder, volume) in volumes.into_iter().enumerate() {
        let known = verdict.disks.get(folder).copied().flatten();
        let new = uuid::Builder::from_random_bytes(rng.random()).into_uuid();
        let is_used =
            found.get(folder).and_then(|found| found.identity.as_ref()).is_some_and(|i| i.epoch > 0);
        let doubtful = verdict.is_stale(folder) || (known.is_none() && verdict.lost_something());
        members.push(Member {
            volume,
            disk: known.unwrap_or(new),
            is_new: known.is_none(),
            is_used,
            doubtful,
        });
    }
    members
}

fn open(member: Member, settings: &Settings, disks: usize, nonce: u64) -> Result<Opened, Error> {
    let budgets = Budgets::of(settings.memory);
    let config = shelf::Config {
        identity: member.disk.into_bytes(),
        segment_bytes: settings.segment_bytes,
        reserve_bytes: settings.reserve_bytes,
        index_reserve: settings.index_reserve,
        flush_entries: (budgets.recent_entries / disks).max(1024),
        ledgers_in_memory: (budgets.ledgers / disks).max(256),
        readahead_bytes: budgets.readahead as usize / disks,
        group_bytes: (settings.segment_bytes / 8).min(2 << 20),
        flush_bytes: u64::from(settings.segment_bytes / 4),
        ..shelf::Config::default()
    };
    let Volume { name, disk, index } = member.volume;
    let (shelf, report) = Shelf::open(disk.clone(), index, config, nonce)?;
    tell(&name, &report);
    // Each start leaves a mark in the log, before the disk says that it was used.
    let emptied = member.is_used && report.begins_anew();
    if emptied {
        tracing::error!(folder = name, "nothing is left of what was written to this disk: limbo");
    }
    let doubtful = member.doubtful || report.limbo || emptied;
    Ok(Opened { shelf, disk, doubtful, in_limbo: report.limbo })
}

fn tell(name: &str, report: &StartReport) {
    let StartReport { empty, clean, scanned, index, .. } = report;
    tracing::info!(folder = name, empty, clean, scanned, ?index, "disk opened");
    if let Some(at) = report.torn {
        tracing::info!(folder = name, %at, "a torn tail was cut: nothing in it had been acknowledged");
    }
    for (from, to) in &report.damaged {
        tracing::error!(folder = name, %from, %to, "acknowledged data cannot be read: limbo");
    }
    if !report.missing.is_empty() {
        tracing::error!(folder = name, segments = ?report.missing, "segment files are missing: limbo");
    }
}

/// Makes doubt durable: from here on nothing is denied by these shelves.
fn doubt(opened: &mut [Opened], verdict: &Verdict) -> Result<(), Error> {
    if verdict.lost_something() && !opened.iter().any(|opened| opened.doubtful)
        // A disk is gone and none has come for it: one of the others has to remember that.
        && let Some(first) = opened.first_mut()
    {
        first.doubtful = true;
    }
    for opened in opened.iter_mut().filter(|opened| opened.doubtful && !opened.in_limbo) {
        opened.shelf.order(Order::LimboAll)?;
        drop(opened.shelf.commit()?);
    }
    Ok(())
}

fn assemble(settings: Settings, ledgers: Ledgers, prepared: Prepared, run: Run) -> Bookie {
    let Prepared { hold, claim, epoch, shelves } = prepared;
    let alarm = Alarm::default();
    let mut lanes = Lanes::new(run, alarm.clone());
    let metrics: Arc<Metrics> = Arc::default();
    let budgets = Budgets::of(settings.memory);
    let limbo_all = Arc::new(AtomicBool::new(shelves.iter().any(|shelf| shelf.doubtful)));
    metrics.limbo_all.set(u64::from(shelves.iter().any(|shelf| shelf.doubtful)));
    // Until metadata has taken note of a loss, any ledger is old enough to be lost; also where a sound disk is asked, while
    // the one that is gone had it.
    let lost_until = if limbo_all.load(Ordering::Relaxed) { i64::MAX } else { hold.lost_until };
    let (questions, asked) = mpsc::unbounded_channel();
    let (doubting, doubted) = mpsc::unbounded_channel();
    let handles: Vec<ShelfHandle> =
        shelves.iter().map(|shelf| handle(shelf, &budgets, shelves.len(), &metrics)).collect();
    let readers = shelves.iter().map(|opened| opened.shelf.reader()).collect();
    let room_changed = Arc::<Notify>::default();
    let around = |number: usize, handle: &ShelfHandle| Around {
        number,
        reads: handle.reads.clone(),
        flushes: handle.flushes.clone(),
        questions: questions.clone(),
        long_polls: handle.long_polls.clone(),
        metrics: metrics.clone(),
        writable: handle.writable.clone(),
        plenty: handle.plenty.clone(),
        room_changed: room_changed.clone(),
        limbo_all: limbo_all.clone(),
        parked_limit: budgets.in_flight / 4 / handles.len() as u64,
        turn: lanes.turn(),
    };
    let arounds: Vec<Around> = handles.iter().enumerate().map(|(n, handle)| around(n, handle)).collect();
    let core = Arc::new(Core {
        id: hold.id.clone(),
        incarnation: hold.incarnation,
        ledgers,
        placement: Placement::new(readers, budgets.ledgers),
        budget: Arc::new(Budget::new(budgets.in_flight, handles.len(), metrics.clone())),
        shelves: handles,
        metrics,
        alarm,
        limbo_all,
        doubts: Doubts::new(lost_until, budgets.cold_reads, doubting),
        stopping: AtomicBool::new(false),
        draining: AtomicBool::new(false),
        registered: AtomicBool::new(false),
        leaving: tokio::sync::watch::Sender::new(life::Leaving::default()),
        space: Default::default(),
        room_changed: room_changed.clone(),
        written_per_second: Default::default(),
        settings,
    });
    life::space::look(&core);
    for (opened, around) in shelves.into_iter().zip(arounds) {
        serve_shelf(&core, &mut lanes, around.number, Keeper::new(opened.shelf, around));
    }
    let of = core.clone();
    lanes.task(ask_each(asked, move |(shelf, ledger)| admission::admit(of.clone(), shelf, ledger)));
    let of = core.clone();
    lanes.task(ask_each(doubted, move |(shelf, ledger)| doubts::resolve(of.clone(), shelf, ledger)));
    lanes.task(life::registration::keep(core.clone()));
    lanes.task(life::draining::watch(core.clone()));
    lanes.task(life::space::watch(core.clone()));
    lanes.background("upkeep".into(), upkeep::run(core.clone(), hold, claim, epoch));
    Bookie { core, _lanes: parking_lot::Mutex::new(lanes) }
}

fn handle(opened: &Opened, budgets: &Budgets, shelves: usize, metrics: &Arc<Metrics>) -> ShelfHandle {
    let queue = Arc::<Queue<Work>>::default();
    ShelfHandle {
        turns: Arc::new(Turns::new(queue.clone())),
        queue,
        reads: ReadQueue::new(budgets.cold_reads / shelves),
        flushes: Arc::default(),
        long_polls: LongPolls::new(budgets.long_polls / shelves, metrics.clone()),
        disk: opened.disk.clone(),
        writable: Arc::new(AtomicBool::new(true)),
        plenty: Arc::new(AtomicBool::new(true)),
        doubtful: opened.doubtful,
    }
}

/// Gives a shelf its lanes.
fn serve_shelf(core: &Arc<Core>, lanes: &mut Lanes, number: usize, keeper: Keeper) {
    let (Some(shelf), Some(reader)) = (core.shelves.get(number), core.placement.reader(number)) else {
        return;
    };
    let (ending, turns) = (core.clone(), shelf.turns.clone());
    lanes.disk(format!("shelf-{number}"), async move {
        if let Err(error) = turns.serve(keeper).await {
            ending.alarm.fail(&error);
            ending.close();
        }
    });
    for lane in 0..core.settings.cold_readers {
        lanes.disk(format!("read-{number}-{lane}"), shelf.reads.clone().serve(reader.clone()));
    }
    let flushing = flush_beside(shelf.flushes.clone(), shelf.queue.clone(), core.metrics.clone());
    lanes.disk(format!("flush-{number}"), flushing);
    lanes.task(shelf.long_polls.clone().run(reader.clone(), shelf.reads.clone()));
}
