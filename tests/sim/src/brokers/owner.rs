//! A process that owns the virtual broker, or believes so.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use broker::state::{Settings, TopicId};
use broker::vb::clock::Clock;
use broker::vb::{Limits, Now, Vb, VbSettings, Watcher};
use ledger::error::Error;
use ledger::log::chain::{ChainLogs, ChainSettings};
use ledger::log::{self, LogName};
use ledger::quorum::Quorums;
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
    pub vb: Arc<Vb>,
    ended: Arc<AtomicBool>,
}

impl Owner {
    pub fn is_over(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
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

struct Ended(Arc<AtomicBool>);

impl Watcher for Ended {
    fn visible(&self, _: &Arc<Vb>, _: &[(TopicId, u16)]) {}

    fn ended(&self, _: &Arc<Vb>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Takes the virtual broker over; the judge compares what the owner knows with what was ever promised.
pub async fn open(load: &BrokerLoad, peer: &Peer) -> Result<Arc<Owner>, broker::Error> {
    load.world.judge.hear(|model| model.logs.owns(peer.process.id));
    let logs = logs(load, peer)?;
    let off = load.chance.within(0..load.plan.skew_ms * 2 + 1) as i64 - load.plan.skew_ms as i64;
    let clock = Arc::new(Clocks { began: Instant::now(), off: off + load.world.age().as_millis() as i64 });
    let ended = Arc::<AtomicBool>::default();
    let vb = Vb::open(settings(load)?, &logs, clock, Arc::new(Ended(ended.clone()))).await?;
    load.world.trace.note(&format!("vb {VB}: p{} owns it, epoch {}", peer.process.id.0, vb.epoch()));
    load.world.judge.hear(|model| model.broker_opened(vb.epoch(), &vb.core()));
    let owner = Arc::new(Owner { process: peer.process.clone(), vb, ended });
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
        ..Limits::default()
    };
    Ok(VbSettings {
        id: VB,
        name: "broker-3".into(),
        address: SocketAddr::from((Ipv4Addr::new(10, 0, 0, 3), 10911)),
        log: LogName::new(LOG)?,
        checkpoints: LogName::new(CHECKPOINTS)?,
        limits,
        settings: Settings::default(),
    })
}

fn logs(load: &BrokerLoad, peer: &Peer) -> Result<ChainLogs, Error> {
    let (e, w, a) = load.quorums;
    let roll_bytes = load.plan.roll_bytes;
    let limits = log::Limits { window_bytes: 512 << 10, roll_bytes, ..log::Limits::default() };
    let settings = ChainSettings { limits, ..ChainSettings::new(&peer.process.name, Quorums::new(e, w, a)?) };
    Ok(ChainLogs::new(cluster(&load.world, peer, &load.chance), settings))
}

/// The bytes of a message, from memory or from the log.
pub async fn message(owner: &Owner, position: u64, len: u32) -> Option<bytes::Bytes> {
    owner.vb.read(position, len).await.ok()
}
