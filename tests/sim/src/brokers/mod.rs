//! Brokers over the simulated ledger layer: real virtual brokers, with all that they do for clients, on the real log.
//!
//! * [`owner`] — a process that owns the virtual broker, or believes so
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
use tokio::time::{sleep, timeout};

use crate::chance::Chance;
use crate::load::Clients;
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
    /// How likely an owner is robbed while it serves.
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
}

impl Plan {
    pub fn draw(chance: &Chance) -> Plan {
        let pause = chance.one_of([2, 10, 50]);
        Plan {
            producers: 1 + chance.index(3),
            consumers: 1 + chance.index(2),
            topics: 1 + chance.index(2),
            queues: chance.one_of([1, 2, 4]),
            sizes: chance.one_of([(0, 50), (50, 500), (0, 3000)]),
            pause_ms: (pause / 2, pause * 2),
            steals: chance.one_of([0.0, 0.3, 0.8]),
            losses: chance.one_of([0.0, 0.01, 0.1]),
            way_ms: chance.one_of([(0, 2), (0, 20)]),
            entry_bytes: chance.one_of([1_000, 10_000, 100_000]),
            roll_bytes: chance.one_of([5_000, 50_000]),
            tail_bytes: chance.one_of([1_000, 1 << 20]),
            read_bytes: chance.one_of([64 << 10, 1 << 20]),
            checkpoint_bytes: chance.one_of([5_000, 50_000, 1 << 30]),
            checkpoint_rows: chance.one_of([30, 10_000]),
            checkpoint_after: Duration::from_millis(chance.one_of([500, 3_000, 15_000])),
            skew_ms: chance.one_of([0, 100, 10_000_000]),
            // At 100 every link is replaced once: its commits and marks are not needed.
            sparse_percent: chance.one_of([0, 60, 100]),
            thin_every: Duration::from_millis(chance.one_of([300, 2_000])),
        }
    }
}

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
    /// Owners one after another, now and then two at a time.
    pub async fn run_owners(self: Arc<BrokerLoad>) {
        loop {
            let owning = tokio::spawn(self.clone().own());
            if self.chance.hits(self.plan.steals) {
                sleep(self.chance.millis(200..6000)).await;
            } else {
                let _ = timeout(Duration::from_secs(15), owning).await;
                sleep(self.chance.millis(0..500)).await;
            }
        }
    }

    async fn own(self: Arc<BrokerLoad>) {
        let peer = self.clients.join(&self.world, "broker");
        if let Ok(owner) = owner::open(&self, &peer).await {
            while !owner.process.is_dead() && !owner.is_over() {
                sleep(Duration::from_millis(100)).await;
            }
            // Clients may go on asking it for a while.
            sleep(self.chance.millis(0..3000)).await;
            self.owners.lock().retain(|other| !Arc::ptr_eq(other, &owner));
        }
        self.clients.leave(&peer);
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
