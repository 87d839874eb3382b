//! A bookie's machine: disks that outlive processes, and the process that runs on them now.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use bookie::index::memory::{MemoryIndex, MemoryIndexDisk};
use bookie::service::{Bookie, Run, Surroundings, Volume};
use bookie::settings::Settings;
use disk::simulated::Device;
use ledger::Cluster;
use ledger::repair::{self, run_autorecovery};
use metadata::Ledgers;
use parking_lot::Mutex;
use protocol::BookieId;
use tokio::task::AbortHandle;

use crate::chance::Chance;
use crate::plan::Storage;
use crate::process::Process;
use crate::world::World;

/// One disk with its index folder.
#[derive(Clone)]
pub struct Platter {
    /// Whose it was first. It may sit in another machine.
    pub home: BookieId,
    pub device: Device,
    pub index: MemoryIndexDisk,
}

pub struct Node {
    pub id: BookieId,
    pub settings: Settings,
    platters: Mutex<Vec<Platter>>,
    running: Mutex<Option<Running>>,
    /// An operator keeps it down.
    out_of_service: AtomicBool,
    /// How often in a row it did not start.
    refusals: AtomicU32,
    /// How long a sync takes, in µs: from, to.
    pace: Arc<(AtomicU64, AtomicU64)>,
}

struct Running {
    process: Arc<Process>,
    bookie: Arc<Mutex<Option<Arc<Bookie>>>>,
    task: AbortHandle,
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Kill,
    PowerLoss,
}

impl Node {
    pub fn new(number: usize, disks: usize, storage: &Storage, chance: &Chance) -> Arc<Node> {
        let id: BookieId =
            format!("b{number}:3181").parse().unwrap_or_else(|_| unreachable!("it is host:port"));
        let platter = |_| Platter {
            home: id.clone(),
            device: Device::new(chance.number(), storage.capacity),
            index: MemoryIndexDisk::new(),
        };
        let (from, to) = (storage.sync_ms.0 * 1000, storage.sync_ms.1 * 1000);
        Arc::new(Node {
            settings: settings(&id, storage),
            platters: Mutex::new((0..disks).map(platter).collect()),
            id,
            running: Mutex::new(None),
            out_of_service: AtomicBool::new(false),
            refusals: AtomicU32::new(0),
            pace: Arc::new((AtomicU64::new(from), AtomicU64::new(to))),
        })
    }

    pub fn platters(&self) -> Vec<Platter> {
        self.platters.lock().clone()
    }

    /// Takes a disk out and puts another in; the process has to be down.
    pub fn exchange(&self, slot: usize, with: Platter) -> Option<Platter> {
        let mut platters = self.platters.lock();
        let place = platters.get_mut(slot)?;
        Some(std::mem::replace(place, with))
    }

    /// Whether this disk is in this machine.
    pub fn has(&self, platter: &Platter) -> bool {
        self.platters.lock().iter().any(|own| own.device.is(&platter.device))
    }

    pub fn is_out_of_service(&self) -> bool {
        self.out_of_service.load(Ordering::Relaxed)
    }

    pub fn take_out_of_service(&self, out: bool) {
        self.out_of_service.store(out, Ordering::Relaxed);
    }

    pub fn is_running(&self) -> bool {
        self.running.lock().as_ref().is_some_and(|running| !running.process.is_dead())
    }

    /// It has refused to start so often that an operator would look at its disks.
    pub fn is_given_up(&self) -> bool {
        self.refusals.load(Ordering::Relaxed) >= 20
    }

    /// The operator puts new disks in; the process has to be down.
    pub fn renew_disks(&self, world: &World) {
        self.refusals.store(0, Ordering::Relaxed);
        for platter in self.platters() {
            world.damaged(&platter);
            platter.device.wipe();
            platter.index.wipe();
        }
    }

    pub fn serves(&self) -> bool {
        self.running.lock().as_ref().is_some_and(|running| running.bookie.lock().is_some())
    }

    pub fn process(&self) -> Option<Arc<Process>> {
        self.running.lock().as_ref().map(|running| running.process.clone())
    }

    pub fn set_pace(&self, from_us: u64, to_us: u64) {
        self.pace.0.store(from_us, Ordering::Relaxed);
        self.pace.1.store(to_us, Ordering::Relaxed);
    }

    /// Starts a process on the disks, unless one runs. When it stops by itself, the machine is as after a kill.
    pub fn start(self: &Arc<Node>, world: &World) {
        let mut running = self.running.lock();
        if self.is_out_of_service() {
            return;
        }
        if running.as_ref().is_some_and(|running| !running.process.is_dead()) {
            return;
        }
        let process = world.process(self.id.as_str());
        let bookie = Arc::default();
        let life = self.clone().live(world.clone(), process.clone(), Arc::clone(&bookie));
        *running = Some(Running { process, bookie, task: tokio::spawn(life).abort_handle() });
    }

    async fn live(
        self: Arc<Node>,
        world: World,
        process: Arc<Process>,
        slot: Arc<Mutex<Option<Arc<Bookie>>>>,
    ) {
        let platters = self.platters();
        let volumes = platters
            .iter()
            .enumerate()
            .map(|(slot, platter)| Volume {
                name: format!("/data/{slot}"),
                disk: platter.device.mount(),
                index: Arc::new(MemoryIndex::open(&platter.index)),
            })
            .collect();
        let store = world.meta.client(&process);
        let ledgers = Ledgers::new(store, world.meta.scope.clone(), world.chance.number());
        let settings = self.settings.clone();
        match Bookie::start(settings, volumes, ledgers.clone(), self.surroundings(&world.chance)).await {
            Ok(bookie) => {
                self.refusals.store(0, Ordering::Relaxed);
                let bookie = Arc::new(bookie);
                world.trace.note(&format!("{} serves as {}", self.id, bookie.id()));
                *slot.lock() = Some(bookie.clone());
                // Whose disks they are decides who it is, wherever it runs.
                world.network.listen(bookie.id(), &process, bookie.clone(), self.settings.memory);
                let cluster = Cluster::new(world.network.endpoint(&process), ledgers, world.chance.number());
                let repairing =
                    world.repair.then(|| run_autorecovery(&cluster, &repair_settings(bookie.id())));
                let reason = bookie.stopped().await;
                drop(repairing);
                world.trace.note(&format!("{} has stopped: {reason}", self.id));
            }
            Err(error) => {
                self.refusals.fetch_add(1, Ordering::Relaxed);
                world.trace.note(&format!("{} does not start: {error}", self.id));
            }
        }
        self.end(&world, &process, Ending::Kill);
        slot.lock().take();
    }

    fn surroundings(&self, chance: &Chance) -> Surroundings {
        let (pace, dice) = (self.pace.clone(), chance.fork());
        let turn = move || {
            let (from, to) = (pace.0.load(Ordering::Relaxed), pace.1.load(Ordering::Relaxed));
            dice.micros(from..to)
        };
        Surroundings { seed: chance.number(), run: Run::Tasks { turn: Some(Arc::new(turn)) } }
    }

    fn end(&self, world: &World, process: &Process, how: Ending) {
        process.kill();
        world.network.hang_up(process);
        for platter in self.platters() {
            match how {
                Ending::Kill => platter.device.kill(),
                Ending::PowerLoss => platter.device.lose_power(),
            }
            platter.index.lose_power(world.chance.number());
        }
    }

    /// Ends the process, if one runs, wherever it is just now.
    pub fn stop(&self, world: &World, how: Ending) {
        let Some(running) = self.running.lock().take() else { return };
        self.end(world, &running.process, how);
        running.task.abort();
        running.bookie.lock().take();
    }

    /// Lets the process end by itself, as an operator does.
    pub async fn stop_gracefully(&self, world: &World) {
        let bookie = self.running.lock().as_ref().and_then(|running| running.bookie.lock().clone());
        if let Some(bookie) = bookie
            && tokio::time::timeout(Duration::from_secs(30), bookie.stop()).await.is_err()
        {
            world.trace.note(&format!("{} takes too long to stop", self.id));
            self.stop(world, Ending::Kill);
        }
    }
}

fn repair_settings(id: &BookieId) -> repair::Settings {
    let ms = Duration::from_millis;
    repair::Settings {
        name: id.to_string(),
        grace: ms(3000),
        look_every: ms(500),
        audit_every: ms(5000),
        check_every: ms(10_000),
        checked_percent: 10,
        idle: ms(300),
        lease: ms(3000),
        ..repair::Settings::default()
    }
}

fn settings(id: &BookieId, storage: &Storage) -> Settings {
    let ms = Duration::from_millis;
    Settings {
        memory: 8 << 20,
        segment_bytes: storage.segment_bytes,
        reserve_bytes: storage.reserve_bytes,
        index_reserve: 1 << 20,
        cold_readers: 1,
        metadata_timeout: ms(3000),
        lease: ms(3000),
        tick: ms(300),
        epoch_every: ms(500),
        flush_every: ms(storage.flush_ms),
        gc_every: ms(storage.gc_ms),
        over_replicated_every: ms(storage.gc_ms),
        scrub_every: ms(storage.scrub_ms),
        limbo_every: ms(1000),
        ..Settings::new(id.clone())
    }
}
