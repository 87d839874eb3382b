//! Everything there is in one run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use disk::simulated::Device;
use metadata::Scope;
use metadata::embedded::{Embedded, Sizes};
use metadata::store::Store;
use net::Bookies;
use tokio::time::{Instant, sleep, timeout};

use crate::agenda::Agenda;
use crate::chance::Chance;
use crate::judge::Judge;
use crate::metastore::{MetaStore, Moods};
use crate::network::{Network, Weather};
use crate::node::{Ending, Node, Platter};
use crate::plan::Storage;
use crate::process::{Process, ProcessId};
use crate::trace::Trace;

/// A cheap handle on one simulated world.
#[derive(Clone)]
pub struct World {
    pub chance: Chance,
    pub trace: Arc<Trace>,
    pub judge: Arc<Judge>,
    pub agenda: Arc<Agenda>,
    pub network: Arc<Network>,
    pub meta: Arc<MetaStore>,
    pub meta_device: Device,
    pub nodes: Arc<Vec<Arc<Node>>>,
    pub repair: bool,
    began: Instant,
    processes: Arc<AtomicU32>,
}

/// What a world is made of; [`Setting::calm`] has no faults of its own.
#[derive(Clone, Debug)]
pub struct Setting {
    pub nodes: usize,
    pub disks_per_node: usize,
    pub weather: Weather,
    pub moods: Moods,
    pub storage: Storage,
    /// Auditor and workers run beside the bookies.
    pub repair: bool,
}

impl Setting {
    /// A cluster where nothing fails by itself: what scenarios begin with.
    pub fn calm(nodes: usize) -> Setting {
        Setting {
            nodes,
            disks_per_node: 1,
            weather: Weather {
                latency_us: (100, 400),
                spikes: 0.0,
                spike_ms: 0,
                resets: 0.0,
                duplicates: 0.0,
                deadline: Duration::from_secs(3),
            },
            moods: Moods { latency_us: (200, 800), ..Moods::default() },
            storage: Storage {
                segment_bytes: 128 << 10,
                reserve_bytes: 16 << 10,
                capacity: 64 << 20,
                flush_ms: 1000,
                gc_ms: 2000,
                scrub_ms: 10_000,
                sync_ms: (0, 1),
            },
            repair: false,
        }
    }
}

/// A process that is not a bookie, with its ways to the others.
#[derive(Clone)]
pub struct Peer {
    pub process: Arc<Process>,
    pub store: Arc<dyn Store>,
    pub bookies: Arc<dyn Bookies>,
}

impl World {
    /// Builds the world and starts all bookies. Inside a paused current-thread runtime.
    pub async fn start(setting: &Setting, seed: u64, printed: bool) -> World {
        let chance = Chance::new(seed);
        let (trace, judge, agenda) = (Trace::new(printed), Judge::new(), Agenda::start());
        let network = Network::new(
            setting.weather.clone(),
            agenda.clone(),
            chance.fork(),
            judge.clone(),
            trace.clone(),
        );
        let scope = Scope::new("/ledgers").unwrap_or_else(|_| unreachable!("it is a path"));
        let meta = MetaStore::new(scope, setting.moods.clone(), chance.fork(), judge.clone(), trace.clone());
        let dice = chance.fork();
        let nodes = (0..setting.nodes)
            .map(|n| Node::new(n, setting.disks_per_node, &setting.storage, &dice))
            .collect();
        let world = World {
            meta_device: Device::new(chance.number(), 64 << 20),
            chance,
            trace,
            judge,
            agenda,
            network,
            meta,
            nodes: Arc::new(nodes),
            repair: setting.repair,
            began: Instant::now(),
            processes: Arc::default(),
        };
        world.start_store().await;
        world.format().await;
        for node in world.nodes.iter() {
            node.start(&world);
        }
        world
    }

    /// What `admin cluster init` does.
    async fn format(&self) {
        let Some(store) = self.meta.inner() else { return };
        let instance = "7b1c9a52-0000-4000-8000-000000000001";
        if let Err(error) = metadata::cluster::init(&*store, &self.meta.scope, instance).await {
            self.judge
                .hear(|model| model.violation("I18", format!("the cluster cannot be formatted: {error}")));
        }
    }

    /// A disk does not hold any more what it was given. Whoever has it now may be another bookie than the one it belongs to.
    pub fn damaged(&self, platter: &Platter) {
        let holders = self.nodes.iter().filter(|node| node.has(platter)).map(|node| &node.id);
        self.judge.hear(|model| {
            holders.chain([&platter.home]).for_each(|bookie| model.wire.forgets_deletions(bookie));
        });
    }

    /// How long the world has been there.
    pub fn age(&self) -> Duration {
        self.began.elapsed()
    }

    pub fn process(&self, name: &str) -> Arc<Process> {
        let id = ProcessId(self.processes.fetch_add(1, Ordering::Relaxed));
        Process::new(id, name)
    }

    /// A new client process.
    pub fn peer(&self, name: &str) -> Peer {
        let process = self.process(name);
        let (store, bookies) = (self.meta.client(&process), self.network.endpoint(&process));
        Peer { process, store, bookies }
    }

    /// An operator at his terminal.
    pub fn operator(&self) -> Peer {
        let process = self.process("operator");
        let (store, bookies) = (self.meta.operator(&process), self.network.endpoint(&process));
        Peer { process, store, bookies }
    }

    /// Opens the metadata store on its disk.
    pub async fn start_store(&self) {
        match Embedded::open(self.meta_device.mount(), Sizes { log: 64 << 10, history: 1000 }) {
            Ok(store) => {
                self.meta.set_inner(Some(store));
                if let Err(error) = self.meta.tell_judge().await {
                    self.trace.note(&format!("the store cannot be listed: {error}"));
                }
            }
            Err(error) => {
                let text = format!("the metadata store does not open again: {error}");
                self.judge.hear(|model| model.violation("I18", text));
            }
        }
    }

    pub fn stop_store(&self, power_loss: bool) {
        self.meta.set_inner(None);
        match power_loss {
            true => self.meta_device.lose_power(),
            false => self.meta_device.kill(),
        }
    }

    /// Lets go of everything, at the end of a run.
    pub fn end(&self) {
        self.nodes.iter().for_each(|node| node.stop(self, Ending::Kill));
        self.agenda.clear();
        self.network.clear();
    }

    /// Waits until `condition` holds, for at most `bound` of simulated time.
    pub async fn until(&self, bound: Duration, mut condition: impl FnMut() -> bool) -> bool {
        let waiting = async {
            while !condition() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(bound, waiting).await.is_ok()
    }
}
