//! A broker process: the real one, but for its front. It claims, serves, steps down and stops as in the product.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use broker::own::front::{Bound, Doing, Doors, Front};
use broker::own::{Broker, Settings};
use broker::serve::Served;
use broker::vb::clock::Clock;
use broker::vb::{Limits, Now};
use ledger::log::chain::{ChainLogs, ChainSettings};
use ledger::log::{self, Log, LogName, Logs};
use ledger::quorum::Quorums;
use net::remoting::Handler;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::BrokerLoad;
use crate::load::ledgers::cluster;
use crate::process::Process;
use crate::world::Peer;

/// Of the one virtual broker there is.
pub const PORT: u16 = 10911;
pub const LOG: &str = "vb-0";
pub const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 3);
/// Doors that are no use any more are closed within this time.
const CLOSING: Duration = Duration::from_secs(2);

/// A process that serves the virtual broker, or believes so: where clients ask.
pub struct Owner {
    pub process: Arc<Process>,
    pub served: Arc<Served>,
    pub door: Arc<dyn Handler>,
    connections: AtomicU64,
    /// Takes requests.
    open: AtomicBool,
    /// Its connections are there still: answers leave.
    connected: AtomicBool,
    /// Requests without an answer.
    asked: AtomicUsize,
    answered: Notify,
}

impl Owner {
    pub fn is_over(&self) -> bool {
        *self.served.ended().borrow()
    }

    pub fn is_open(&self) -> bool {
        self.open.load(Relaxed)
    }

    pub fn is_connected(&self) -> bool {
        self.connected.load(Relaxed)
    }

    /// A request comes in, by a connection of this number.
    pub fn asked(&self) -> u64 {
        self.asked.fetch_add(1, Relaxed);
        self.connections.fetch_add(1, Relaxed)
    }

    pub fn answered(&self) {
        self.asked.fetch_sub(1, Relaxed);
        self.answered.notify_one();
    }
}

/// The front of one process: clients come in by simulated ways.
struct Street {
    load: Arc<BrokerLoad>,
    process: Arc<Process>,
}

impl Front for Street {
    fn bind(&self, _vb: u32) -> Doing<'_, io::Result<Box<dyn Bound>>> {
        self.load.world.judge.hear(|model| model.logs.owns(self.process.id));
        let (load, process) = (self.load.clone(), self.process.clone());
        Box::pin(async move { Ok(Box::new(Street { load, process }) as Box<dyn Bound>) })
    }

    /// Clients know already, since the doors are open.
    fn offer(&self, _vb: u32, _port: u16, _served: &Arc<Served>) {}

    fn withdraw(&self, _vb: u32, _unregister: bool) {}

    fn news(&self) {}

    fn told(&self, _virtual_brokers: usize) -> Doing<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    fn unregister_all(&self) -> Doing<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

impl Bound for Street {
    fn port(&self) -> u16 {
        PORT
    }

    /// The judge compares what the owner knows with what was ever promised.
    fn open(self: Box<Self>, served: &Arc<Served>) -> io::Result<Box<dyn Doors>> {
        let (Street { load, process }, vb) = (*self, &served.vb);
        load.world.trace.note(&format!("p{} owns {}, epoch {}", process.id.0, vb.name, vb.epoch()));
        let kept = load.plan.retention_bytes;
        load.world.judge.hear(|model| model.broker_opened(process.id, vb.epoch(), &vb.core(), kept));
        let owner = Arc::new(Owner {
            process,
            door: served.door(),
            served: served.clone(),
            connections: AtomicU64::new(1),
            open: AtomicBool::new(true),
            connected: AtomicBool::new(true),
            asked: AtomicUsize::new(0),
            answered: Notify::new(),
        });
        load.route_to(&owner);
        tokio::spawn(must_close(load.clone(), owner.clone()));
        Ok(Box::new(Gate { load, owner }))
    }
}

struct Gate {
    load: Arc<BrokerLoad>,
    owner: Arc<Owner>,
}

impl Doors for Gate {
    fn close(self: Box<Self>, patience: Duration) -> Doing<'static, ()> {
        self.owner.open.store(false, Relaxed);
        Box::pin(async move {
            let owner = &self.owner;
            let all = async {
                while owner.asked.load(Relaxed) > 0 {
                    owner.answered.notified().await;
                }
            };
            let _ = timeout(patience, all).await;
        })
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let Gate { load, owner } = self;
        owner.open.store(false, Relaxed);
        owner.connected.store(false, Relaxed);
        load.world.judge.hear(|model| model.brokers.closed(owner.process.id));
        load.world.trace.note(&format!("p{} closes its doors", owner.process.id.0));
    }
}

/// An owner whose log has ended closes its doors soon, unless it is paused.
async fn must_close(load: Arc<BrokerLoad>, owner: Arc<Owner>) {
    let mut ended = owner.served.ended();
    let _ = ended.wait_for(|ended| *ended).await;
    loop {
        owner.process.awake().await;
        let since = Instant::now();
        let paused = || owner.process.is_paused();
        load.world.until(CLOSING, || !owner.is_open() || paused()).await;
        if !owner.is_open() || owner.process.is_dead() {
            return;
        }
        if since.elapsed() >= CLOSING {
            let text = format!("p{} has lost the virtual broker, and its doors are open", owner.process.id.0);
            return load.world.judge.hear(|model| model.violation("O1", text));
        }
    }
}

/// A machine's clocks: one that may be wrong, one that only counts.
struct Clocks {
    began: Instant,
    off: i64,
}

/// 2026-01-01.
const EPOCH_MS: i64 = 1_767_225_600_000;

impl Clock for Clocks {
    fn now(&self) -> Now {
        let at = self.began.elapsed();
        Now { wall: EPOCH_MS + self.off + at.as_millis() as i64, at }
    }
}

/// Starts a broker process of this name.
pub async fn start(load: &Arc<BrokerLoad>, peer: &Peer, name: &str) -> Result<Broker, broker::error::Error> {
    let off = load.chance.within(0..load.plan.skew_ms * 2 + 1) as i64 - load.plan.skew_ms as i64;
    let clock = Arc::new(Clocks { began: Instant::now(), off: off + load.world.age().as_millis() as i64 });
    let front = Arc::new(Street { load: load.clone(), process: peer.process.clone() });
    let metadata = (peer.store.clone(), load.world.meta.scope.clone());
    let logs = Arc::new(logs(load, peer)?);
    Broker::behind(front, settings(load, name), metadata, logs, clock, load.chance.number()).await
}

fn settings(load: &BrokerLoad, name: &str) -> Settings {
    let limits = Limits {
        entry_bytes: load.plan.entry_bytes,
        unacknowledged: 256 << 10,
        reserve: 64 << 10,
        tail_bytes: load.plan.tail_bytes,
        read_bytes: load.plan.read_bytes,
        checkpoint_bytes: load.plan.checkpoint_bytes,
        checkpoint_rows: load.plan.checkpoint_rows,
        checkpoint_after: load.plan.checkpoint_after,
        thin_every: load.plan.thin_every,
        ..Limits::default()
    };
    Settings {
        cluster: "cluster".into(),
        vbs: 1,
        host: name.to_owned(),
        base_port: PORT,
        advertise: name.to_owned(),
        rules: Default::default(),
        store_host: IpAddr::V4(HOST),
        namesrvs: Vec::new(),
        lease: load.plan.lease,
        limits,
        known: broker::state::Settings {
            sparse_percent: load.plan.sparse_percent,
            retention_bytes: load.plan.retention_bytes,
            send_wait: broker::state::Millis(1_000),
            ..Default::default()
        },
        net: Default::default(),
        machine: name.to_owned(),
    }
}

/// Opens the virtual broker's log, without a claim.
pub async fn open_log(load: &BrokerLoad, peer: &Peer) -> Result<Arc<dyn Log>, ledger::Error> {
    load.world.judge.hear(|model| model.logs.owns(peer.process.id));
    logs(load, peer)?.open(&LogName::new(LOG)?).await
}

fn logs(load: &BrokerLoad, peer: &Peer) -> Result<ChainLogs, ledger::Error> {
    let (e, w, a) = load.quorums;
    let roll_bytes = load.plan.roll_bytes;
    let limits = log::Limits { window_bytes: 512 << 10, roll_bytes, ..log::Limits::default() };
    let settings = ChainSettings { limits, ..ChainSettings::new(&peer.process.name, Quorums::new(e, w, a)?) };
    Ok(ChainLogs::new(cluster(&load.world, peer, &load.chance), settings))
}
