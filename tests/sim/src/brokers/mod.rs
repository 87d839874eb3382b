//! Brokers over the simulated ledger layer: real virtual brokers, with all that they do for clients, on the real log.
//!
//! * [`owner`] — broker processes: the product's claims and step-down, and what they serve
//! * [`door`] — how clients reach owners: late, or not at all
//! * [`requests`] — RocketMQ's requests and replies
//! * [`producers`], [`consumers`] — the load
//! * [`scrub`] — at the end: everything is read back
//!
//! What must be true is in [`crate::judge::brokers`].

pub mod consumers;
pub mod door;
pub mod owner;
pub mod producers;
pub mod requests;
pub mod scrub;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::sleep;

use crate::chance::Chance;
use crate::load::Clients;
use crate::process::Process;
use crate::world::World;
use owner::Owner;

/// How brokers and their clients behave in a run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub producers: usize,
    pub consumers: usize,
    pub topics: usize,
    pub queues: u16,
    /// Bytes of a message, beside its number.
    pub sizes: (u64, u64),
    /// Milliseconds between two requests of a client.
    pub pause_ms: (u64, u64),
    /// Broker processes: all but one stand by.
    pub brokers: usize,
    /// For how long one holds its claims without a renewal.
    pub lease: Duration,
    /// How likely one is stopped in order.
    pub stops: f64,
    /// How likely an owner's lease ends early, or late.
    pub steals: f64,
    /// How likely a request or its answer is lost.
    pub losses: f64,
    /// Milliseconds one way between a client and a broker.
    pub way_ms: (u64, u64),
    /// Bytes of an entry, at which it is closed.
    pub entry_bytes: usize,
    /// Bytes of a log's ledger before the next one begins.
    pub roll_bytes: u64,
    /// Bytes of the newest entries that are kept in memory.
    pub tail_bytes: usize,
    /// Bytes of older entries, read again, that are kept.
    pub read_bytes: usize,
    /// When a checkpoint is taken: so many bytes or rows later, or after this time.
    pub checkpoint_bytes: u64,
    pub checkpoint_rows: usize,
    pub checkpoint_after: Duration,
    /// How far clocks are off, in milliseconds, either way.
    pub skew_ms: u64,
    /// Links of which less is needed are replaced by sparse copies, and how often one is looked for.
    pub sparse_percent: u16,
    pub thin_every: Duration,
    /// Bytes of the log that are kept; 0: all.
    pub retention_bytes: u64,
    /// Whether some messages are transactional. One that nobody decides keeps the log as it is.
    pub transactions: bool,
}

impl Plan {
    pub fn draw(chance: &Chance) -> Plan {
        let pause = chance.one_of([2, 10, 50]);
        let roll_bytes = chance.one_of([5_000, 50_000]);
        let retention_bytes = chance.one_of([0, 3 * roll_bytes]);
        Plan {
            producers: 1 + chance.index(3),
            consumers: 1 + chance.index(2),
            topics: 1 + chance.index(2),
            queues: chance.one_of([1, 2, 4]),
            sizes: chance.one_of([(0, 50), (50, 500), (0, 3000)]),
            pause_ms: (pause / 2, pause * 2),
            brokers: 1 + chance.index(3),
            lease: Duration::from_secs(chance.one_of([1, 3])),
            stops: chance.one_of([0.0, 0.5]),
            steals: chance.one_of([0.0, 0.3, 0.8]),
            losses: chance.one_of([0.0, 0.01, 0.1]),
            way_ms: chance.one_of([(0, 2), (0, 20)]),
            entry_bytes: chance.one_of([1_000, 10_000, 100_000]),
            roll_bytes,
            tail_bytes: chance.one_of([1_000, 1 << 20]),
            read_bytes: chance.one_of([64 << 10, 1 << 20]),
            checkpoint_bytes: chance.one_of([5_000, 50_000, 1 << 30]),
            checkpoint_rows: chance.one_of([30, 10_000]),
            checkpoint_after: Duration::from_millis(chance.one_of([500, 3_000, 15_000])),
            skew_ms: chance.one_of([0, 100, 10_000_000]),
            // At 100 every link is replaced once: its commits and marks are not needed.
            sparse_percent: chance.one_of([0, 60, 100]),
            thin_every: Duration::from_millis(chance.one_of([300, 2_000])),
            retention_bytes,
            transactions: retention_bytes == 0 || chance.hits(0.3),
        }
    }

    /// Nothing is lost, and nobody is robbed: what scenarios begin with.
    pub fn calm() -> Plan {
        Plan {
            producers: 1,
            consumers: 1,
            topics: 1,
            queues: 1,
            sizes: (10, 100),
            pause_ms: (5, 20),
            brokers: 2,
            lease: Duration::from_secs(3),
            stops: 0.0,
            steals: 0.0,
            losses: 0.0,
            way_ms: (0, 2),
            entry_bytes: 10_000,
            roll_bytes: 50_000,
            tail_bytes: 1 << 20,
            read_bytes: 1 << 20,
            checkpoint_bytes: 50_000,
            checkpoint_rows: 10_000,
            checkpoint_after: Duration::from_secs(3),
            skew_ms: 0,
            sparse_percent: 0,
            thin_every: Duration::from_secs(600),
            retention_bytes: 0,
            transactions: true,
        }
    }
}

/// How many owners clients know of.
const KNOWN: usize = 4;

/// One virtual broker, whose owners and clients come and go.
pub struct BrokerLoad {
    pub world: World,
    pub clients: Clients,
    pub plan: Plan,
    pub quorums: (u32, u32, u32),
    pub chance: Chance,
    /// Owners that clients may know, the newest last.
    pub owners: Mutex<Vec<Arc<Owner>>>,
}

impl BrokerLoad {
    /// Broker processes of one name, one after another: some are stopped, some are killed by the nemesis.
    pub async fn run_broker(self: Arc<BrokerLoad>, number: usize) {
        loop {
            let name = format!("broker-{number}");
            let peer = self.clients.join(&self.world, &name);
            if let Ok(broker) = owner::start(&self, &peer, &name).await {
                let stops = self.chance.hits(self.plan.stops);
                let time = if stops { self.chance.millis(500..10_000) } else { Duration::MAX };
                if !self.world.until(time, || peer.process.is_dead()).await {
                    self.world.trace.note(&format!("p{} is stopped", peer.process.id.0));
                    broker.stop().await;
                }
            }
            self.clients.leave(&peer);
            sleep(self.chance.millis(0..2000)).await;
        }
    }

    /// Leases of brokers end before their time, or after it.
    pub async fn run_leases(self: Arc<BrokerLoad>) {
        loop {
            sleep(self.chance.millis(200..6000)).await;
            let owners = self.owners.lock().clone();
            let Some(owner) = owners.last().filter(|_| self.chance.hits(self.plan.steals)) else { continue };
            match self.chance.hits(0.8) {
                true => self.world.meta.expire_leases_of(owner.process.id).await,
                false => {
                    self.world.meta.prolong_leases_of(owner.process.id, self.chance.millis(0..9000)).await
                }
            }
        }
    }

    /// Clients hear of this owner: they go by epochs, and know some that are gone.
    pub fn route_to(&self, owner: &Arc<Owner>) {
        let mut owners = self.owners.lock();
        owners.push(owner.clone());
        owners.sort_by_key(|owner| owner.served.vb.epoch());
        let old = owners.len().saturating_sub(KNOWN);
        owners.drain(..old);
    }

    /// What this process serves, if it does.
    pub fn owner_of(&self, process: &Process) -> Option<Arc<Owner>> {
        let owners = self.owners.lock();
        owners.iter().rfind(|owner| owner.process.id == process.id && owner.is_open()).cloned()
    }

    /// An owner as a client's routes name it: mostly the newest.
    pub fn some_owner(&self) -> Option<Arc<Owner>> {
        let owners = self.owners.lock();
        match self.chance.hits(0.8) {
            true => owners.last().cloned(),
            false => self.chance.pick(&owners).cloned(),
        }
    }

    pub fn pause(&self) -> Duration {
        self.chance.millis(self.plan.pause_ms.0..self.plan.pause_ms.1)
    }
}
