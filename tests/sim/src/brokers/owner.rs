//! A process that owns the virtual broker, or believes so.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use broker::serve::Served;
use broker::state::Settings;
use broker::vb::clock::Clock;
use broker::vb::{Limits, Now, VbSettings};
use ledger::error::Error;
use ledger::log::chain::{ChainLogs, ChainSettings};
use ledger::log::{self, LogName};
use ledger::quorum::Quorums;
use net::remoting::Handler;
use tokio::time::Instant;

use super::BrokerLoad;
use crate::load::ledgers::cluster;
use crate::process::Process;
use crate::world::Peer;

/// The one virtual broker there is.
pub const VB: u32 = 3;
const LOG: &str = "vb-3";
const CHECKPOINTS: &str = "vb-3-checkpoint";

pub struct Owner {
    pub process: Arc<Process>,
    pub served: Arc<Served>,
    pub door: Arc<dyn Handler>,
    connections: AtomicU64,
}

impl Owner {
    pub fn is_over(&self) -> bool {
        *self.served.ended().borrow()
    }

    pub fn next_connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed)
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.served.abandon();
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

/// Takes the virtual broker over; the judge compares what the owner knows with what was ever promised.
pub async fn open(load: &BrokerLoad, peer: &Peer) -> Result<Arc<Owner>, broker::Error> {
    load.world.judge.hear(|model| model.logs.owns(peer.process.id));
    let off = load.chance.within(0..load.plan.skew_ms * 2 + 1) as i64 - load.plan.skew_ms as i64;
    let clock = Arc::new(Clocks { began: Instant::now(), off: off + load.world.age().as_millis() as i64 });
    let served = Served::open("cluster".into(), settings(load)?, &logs(load, peer)?, clock).await?;
    let vb = &served.vb;
    load.world.trace.note(&format!("vb {VB}: p{} owns it, epoch {}", peer.process.id.0, vb.epoch()));
    load.world.judge.hear(|model| model.broker_opened(vb.epoch(), &vb.core()));
    let door = served.door();
    let owner = Owner { process: peer.process.clone(), served, door, connections: AtomicU64::new(1) };
    let owner = Arc::new(owner);
    load.owners.lock().push(owner.clone());
    Ok(owner)
}

fn settings(load: &BrokerLoad) -> Result<VbSettings, Error> {
    let limits = Limits {
        entry_bytes: load.plan.entry_bytes,
        unacknowledged: 256 << 10,
        reserve: 64 << 10,
        age: Duration::from_secs(1),
        tail_bytes: load.plan.tail_bytes,
        read_bytes: load.plan.read_bytes,
        checkpoint_bytes: load.plan.checkpoint_bytes,
        checkpoint_rows: load.plan.checkpoint_rows,
        checkpoint_after: load.plan.checkpoint_after,
        thin_every: load.plan.thin_every,
        ..Limits::default()
    };
    Ok(VbSettings {
        id: VB,
        name: "broker-3".into(),
        address: SocketAddr::from((Ipv4Addr::new(10, 0, 0, 3), 10911)),
        log: LogName::new(LOG)?,
        checkpoints: LogName::new(CHECKPOINTS)?,
        limits,
        settings: Settings { sparse_percent: load.plan.sparse_percent, ..Settings::default() },
    })
}

fn logs(load: &BrokerLoad, peer: &Peer) -> Result<ChainLogs, Error> {
    let (e, w, a) = load.quorums;
    let roll_bytes = load.plan.roll_bytes;
    let limits = log::Limits { window_bytes: 512 << 10, roll_bytes, ..log::Limits::default() };
    let settings = ChainSettings { limits, ..ChainSettings::new(&peer.process.name, Quorums::new(e, w, a)?) };
    Ok(ChainLogs::new(cluster(&load.world, peer, &load.chance), settings))
}
