//! Owners of logs: each opens, appends, reads, trims and rolls until it is stolen from, dies, or gives up.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ledger::error::{Ended, Error};
use ledger::log::chain::{ChainLogs, ChainSettings};
use ledger::log::{Epoch, Limits, Log, LogName, Logs, Position, Refused};
use ledger::quorum::Quorums;
use tokio::time::{sleep, timeout};

use super::ledgers::cluster;
use super::{Clients, payload};
use crate::chance::Chance;
use crate::judge::{Judge, Value};
use crate::plan::Load;
use crate::world::{Peer, World};

/// One log, whose owners come and go.
pub struct LogLoad {
    pub world: World,
    pub clients: Clients,
    pub load: Load,
    pub quorums: (u32, u32, u32),
    pub name: LogName,
    pub chance: Chance,
}

/// A log that somebody owns, and what its owner has appended and the judge has not heard of.
pub struct Owned {
    name: LogName,
    pub log: Arc<dyn Log>,
    judge: Arc<Judge>,
    pending: VecDeque<(Position, Value)>,
}

impl LogLoad {
    /// Owners one after another, now and then two at a time.
    pub async fn run(self: Arc<LogLoad>) {
        loop {
            let owner = tokio::spawn(self.clone().own());
            if self.chance.hits(self.load.steals) {
                sleep(self.chance.millis(100..6000)).await;
            } else {
                let _ = timeout(Duration::from_secs(20), owner).await;
                sleep(self.chance.millis(0..500)).await;
            }
        }
    }

    async fn own(self: Arc<LogLoad>) {
        let peer = self.clients.join(&self.world, &format!("owner of {}", self.name));
        if let Ok(owned) = self.open(&peer).await {
            self.use_it(&peer, owned).await;
        }
        self.clients.leave(&peer);
    }

    pub async fn open(&self, peer: &Peer) -> Result<Owned, Error> {
        self.world.judge.hear(|model| model.logs.owns(peer.process.id));
        let log = self.logs(peer)?.open(&self.name).await?;
        let (epoch, begins) = (log.epoch(), log.progress().borrow().acknowledged);
        self.world
            .trace
            .note(&format!("log {}: p{} owns it, {epoch:?} at {begins}", self.name, peer.process.id.0));
        self.world.judge.hear(|model| model.opened(&self.name, epoch, begins));
        Ok(Owned { name: self.name.clone(), log, judge: self.world.judge.clone(), pending: VecDeque::new() })
    }

    fn logs(&self, peer: &Peer) -> Result<ChainLogs, Error> {
        let (e, w, a) = self.quorums;
        let quorums = Quorums::new(e, w, a)?;
        let limits =
            Limits { window_bytes: 256 << 10, roll_bytes: self.load.roll_bytes, ..Limits::default() };
        let settings = ChainSettings { limits, ..ChainSettings::new(&peer.process.name, quorums) };
        Ok(ChainLogs::new(cluster(&self.world, peer, &self.chance), settings))
    }

    async fn use_it(&self, peer: &Peer, mut owned: Owned) {
        let mut progress = owned.log.progress();
        loop {
            for _ in 0..self.chance.within(1..self.load.burst + 1) {
                owned.append(payload(&self.chance, (self.load.sizes.0.max(1), self.load.sizes.1.max(1))));
            }
            let pause = self.chance.millis(self.load.pause_ms.0..self.load.pause_ms.1);
            let _ = timeout(pause, progress.changed()).await;
            owned.hear();
            if peer.process.is_dead() || owned.log.progress().borrow().ended.is_some() {
                return;
            }
            sleep(pause).await;
            match self.chance.index(40) {
                0 => drop(owned.log.roll().await),
                1 => owned.trim(&self.chance).await,
                2 | 3 => owned.read(&self.chance).await,
                4 if self.chance.hits(0.1) => {
                    if let Ok(end) = owned.log.seal().await {
                        owned.hear();
                        self.world.trace.note(&format!("log {}: sealed at {end}", self.name));
                    }
                    return;
                }
                _ => {}
            }
            owned.hear();
        }
    }
}

impl Owned {
    pub fn append(&mut self, body: bytes::Bytes) {
        let value = Value::of(&body);
        match self.log.append(&[body]) {
            Ok(at) => self.pending.push_back((at, value)),
            Err(Refused::Full | Refused::Ended(_)) => {}
            Err(Refused::Size(_)) => {}
        }
    }

    /// Passes on what has been acknowledged.
    pub fn hear(&mut self) {
        let acknowledged = self.log.progress().borrow().acknowledged;
        let epoch: Epoch = self.log.epoch();
        while let Some((at, value)) = self.pending.front().copied() {
            if at.after(value.len) > acknowledged {
                break;
            }
            self.pending.pop_front();
            self.judge.hear(|model| model.log_acknowledged(&self.name, epoch, at, value));
        }
    }

    async fn read(&mut self, chance: &Chance) {
        let (from, to) = {
            let model = self.judge.model();
            (model.logs.trimmed(&self.name), model.logs.acknowledged(&self.name))
        };
        let at = Position(chance.within(from.0..to.0.max(from.0 + 1)));
        // Refused where it was trimmed meanwhile, or out of reach just now: the scrub at the end tells.
        if let Ok(entries) = self.log.read(at, 10_000).await {
            for entry in entries {
                self.judge.hear(|model| model.log_read(&self.name, entry.position, Value::of(&entry.body)));
            }
        }
    }

    fn is_stolen(&self) -> bool {
        matches!(self.log.progress().borrow().ended, Some(Ended::Stolen))
    }

    pub async fn trim(&mut self, chance: &Chance) {
        let acknowledged = self.log.progress().borrow().acknowledged;
        let up_to = Position(chance.within(0..acknowledged.0 + 1));
        // What is asked for may happen whatever is answered.
        self.judge.hear(|model| model.log_trimmed(&self.name, up_to));
        let _ = self.log.trim(up_to).await;
    }
}

/// Opens the log as a new owner on a healed cluster, appends, and reads everything back.
pub async fn scrub(load: &LogLoad) -> Result<(), String> {
    let peer = load.clients.join(&load.world, "the last owner");
    let owned = loop {
        let mut owned = open_at_last(load, &peer).await?;
        for _ in 0..5 {
            owned.append(payload(&load.chance, (1, 100)));
        }
        let said = timeout(Duration::from_secs(60), async {
            while !owned.pending.is_empty() && !owned.is_stolen() {
                sleep(Duration::from_millis(20)).await;
                owned.hear();
            }
        });
        let in_time = said.await.is_ok();
        // An owner that was still opening when the storm ended may come after us, once.
        if in_time && owned.is_stolen() {
            continue;
        }
        if !in_time {
            return Err(format!("log {}: nothing is acknowledged after everything has healed", load.name));
        }
        break owned;
    };
    read_all(load, &owned).await
}

async fn open_at_last(load: &LogLoad, peer: &Peer) -> Result<Owned, String> {
    let mut last = String::new();
    for _ in 0..60 {
        match timeout(Duration::from_secs(30), load.open(peer)).await {
            Ok(Ok(owned)) => return Ok(owned),
            Ok(Err(error)) => last = error.to_string(),
            Err(_) => last = "open() takes longer than 30 s".into(),
        }
        sleep(Duration::from_secs(1)).await;
    }
    Err(format!("log {}: it cannot be opened after everything has healed: {last}", load.name))
}

async fn read_all(load: &LogLoad, owned: &Owned) -> Result<(), String> {
    let judge = &load.world.judge;
    let (trimmed, end) = {
        let model = judge.model();
        (model.logs.trimmed(&load.name), model.logs.acknowledged(&load.name))
    };
    let mut at = trimmed;
    let mut tries = 0;
    while at < end {
        match owned.log.read(at, 100_000).await {
            Ok(entries) if entries.is_empty() => {
                return Err(format!("log {}: nothing at {at}, before {end}", load.name));
            }
            Ok(entries) => {
                for entry in entries {
                    judge.hear(|model| model.log_read(&load.name, entry.position, Value::of(&entry.body)));
                    at = at.max(entry.end());
                }
            }
            Err(Error::Trimmed { first, .. }) if first > at => {
                return Err(format!(
                    "log {}: it begins at {first}, nobody asked to trim beyond {trimmed}",
                    load.name
                ));
            }
            Err(error) if tries < 20 => {
                tries += 1;
                load.world.trace.note(&format!("log {}: {at} cannot be read yet: {error}", load.name));
                sleep(Duration::from_secs(1)).await;
            }
            Err(error) => {
                judge.hear(|model| model.log_lost(&load.name, at, &error.to_string()));
                return Ok(());
            }
        }
    }
    Ok(())
}
