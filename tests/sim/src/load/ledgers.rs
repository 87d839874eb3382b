//! Clients of single ledgers: writers that write until something stops them, recoverers that race with them, readers
//! that follow, and somebody who deletes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ledger::layout::Layout;
use ledger::quorum::Quorums;
use ledger::recovery::recover;
use ledger::writer::{LedgerWriter, Plan, Target, Trouble, Written};
use ledger::{Cluster, Error, LedgerReader};
use metadata::schema::Origin;
use metadata::{LedgerMetadata, Ledgers, State, Stored};
use protocol::{EntryId, LedgerId};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::zombie::{self, Remains};
use super::{Clients, payload};
use crate::chance::Chance;
use crate::judge::Value;
use crate::plan::Load;
use crate::world::{Peer, World};

pub struct LedgerLoad {
    pub world: World,
    pub clients: Clients,
    pub load: Load,
    pub quorums: (u32, u32, u32),
    pub chance: Chance,
}

const PASSWORD: &[u8] = b"secret";

/// A client library of one process.
pub fn cluster(world: &World, peer: &Peer, chance: &Chance) -> Cluster {
    let ledgers = Ledgers::new(peer.store.clone(), world.meta.scope.clone(), chance.number());
    Cluster::new(peer.bookies.clone(), ledgers, chance.number())
}

impl LedgerLoad {
    /// One ledger after another.
    pub async fn run(self: Arc<LedgerLoad>) {
        loop {
            let writer = tokio::spawn(self.clone().write_one());
            let _ = timeout(Duration::from_secs(30), writer).await;
            sleep(self.chance.millis(0..300)).await;
        }
    }

    async fn write_one(self: Arc<LedgerLoad>) {
        let peer = self.clients.join(&self.world, "writer");
        let cluster = cluster(&self.world, &peer, &self.chance);
        if let Ok(open) = self.create(&cluster).await {
            let ledger = open.ledger;
            self.world.trace.note(&format!("ledger {ledger}: p{} writes it", peer.process.id.0));
            tokio::spawn(self.clone().follow(ledger));
            if self.chance.hits(self.load.steals) {
                for _ in 0..1 + self.chance.index(2) {
                    tokio::spawn(self.clone().steal(ledger));
                }
            }
            let remains = self.fill(&peer, open).await;
            if let Some(remains) = remains.filter(|_| self.chance.hits(self.load.zombies)) {
                tokio::spawn(zombie::haunt(self.clone(), remains));
            }
            if self.chance.hits(self.load.deletions) {
                self.world.trace.note(&format!("ledger {ledger} is deleted"));
                let _ = cluster.ledgers.delete(ledger, None).await;
            }
        }
        self.clients.leave(&peer);
    }

    async fn create(&self, cluster: &Cluster) -> Result<OpenLedger, Error> {
        match self.load.high_ids {
            // Where arithmetic in 32 bits would go wrong.
            true => OpenLedger::create_at(cluster, self.quorums, EntryId((1 << 32) - 3)).await,
            false => OpenLedger::create(cluster, self.quorums).await,
        }
    }

    /// Appends until the writer is over, then closes the ledger or leaves it behind.
    async fn fill(&self, peer: &Peer, mut open: OpenLedger) -> Option<Remains> {
        for _ in 0..self.chance.within(1..self.load.longest) {
            for _ in 0..self.chance.within(1..self.load.burst + 1) {
                open.add(payload(&self.chance, self.load.sizes));
            }
            open.listen(self.chance.millis(self.load.pause_ms.0..self.load.pause_ms.1), &self.world).await;
            if peer.process.is_dead() || open.is_over() {
                break;
            }
        }
        let remains = open.remains();
        if self.chance.hits(0.3) || peer.process.is_dead() {
            return remains;
        }
        open.listen(Duration::from_millis(50), &self.world).await;
        let ledger = open.ledger;
        match open.close(&self.world).await {
            Ok(last) => self.world.trace.note(&format!("ledger {ledger}: its writer closed it at {last}")),
            Err(error) => self.world.trace.note(&format!("ledger {ledger}: not closed: {error}")),
        }
        remains
    }

    async fn steal(self: Arc<LedgerLoad>, ledger: LedgerId) {
        sleep(self.chance.millis(0..4000)).await;
        let peer = self.clients.join(&self.world, "recoverer");
        let cluster = cluster(&self.world, &peer, &self.chance);
        let recovered = timeout(Duration::from_secs(60), recover(&cluster, ledger)).await;
        if let Ok(Ok(stored)) = recovered {
            tell_recovered(&self.world, &stored);
        }
        self.clients.leave(&peer);
    }

    /// Reads an open or closed ledger up to what is confirmed, now and then.
    async fn follow(self: Arc<LedgerLoad>, ledger: LedgerId) {
        let peer = self.clients.join(&self.world, "reader");
        let cluster = cluster(&self.world, &peer, &self.chance);
        if let Ok(reader) = LedgerReader::open(&cluster, ledger).await {
            for _ in 0..self.chance.index(6) {
                sleep(self.chance.millis(0..2000)).await;
                let reading = super::reading::read_confirmed(&self.world, &peer, &reader);
                // Out of reach just now, or deleted: the scrub at the end tells.
                let _ = timeout(Duration::from_secs(30), reading).await;
            }
        }
        self.clients.leave(&peer);
    }
}

fn tell_recovered(world: &World, stored: &Stored) {
    if let State::Closed { last, length } = stored.metadata.state {
        world.trace.note(&format!("ledger {}: recovered, ends at {last}", stored.id));
        world.judge.hear(|model| model.recovered(stored.id, last, length));
    }
}

/// A ledger with its writer, and what the judge has not heard of it.
pub struct OpenLedger {
    pub ledger: LedgerId,
    writer: LedgerWriter,
    progress: watch::Receiver<Written>,
    /// Payloads that are not acknowledged.
    pending: BTreeMap<EntryId, Value>,
    stored: Stored,
    next: Option<EntryId>,
    length: i64,
}

impl OpenLedger {
    pub async fn create(cluster: &Cluster, quorums: (u32, u32, u32)) -> Result<OpenLedger, Error> {
        let writer = LedgerWriter::create(cluster, &plan(quorums)?).await?;
        let stored = cluster.stored(writer.ledger()).await?;
        Ok(OpenLedger::of(writer, stored))
    }

    /// A ledger whose ids begin at `first`, as if all before it had been trimmed away.
    pub async fn create_at(
        cluster: &Cluster,
        quorums: (u32, u32, u32),
        first: EntryId,
    ) -> Result<OpenLedger, Error> {
        let plan = plan(quorums)?;
        let placement = cluster.place(plan.quorums, &plan.avoid).await?;
        let mut metadata = plan.metadata(placement.ensemble.clone(), cluster.random());
        // Else repair would look for four thousand million entries.
        metadata.segments.iter_mut().for_each(|segment| segment.first = first);
        let stored = cluster.ledgers.create(metadata).await?;
        let layout = Layout::of(&stored)?;
        let target = Target {
            ledger: stored.id,
            quorums: plan.quorums,
            ensemble: placement.ensemble,
            absent: placement.absent,
            key: layout.key,
            digest: layout.digest,
            first,
            length: 0,
        };
        Ok(OpenLedger::of(LedgerWriter::resume(cluster, stored.clone(), target, &plan), stored))
    }

    fn of(writer: LedgerWriter, stored: Stored) -> OpenLedger {
        let (ledger, progress) = (writer.ledger(), writer.progress());
        OpenLedger { ledger, writer, progress, pending: BTreeMap::new(), stored, next: None, length: 0 }
    }

    /// What a zombie of this writer would go on with; none if it has sent nothing.
    pub fn remains(&self) -> Option<Remains> {
        let (ledger, stored, length) = (self.ledger, self.stored.clone(), self.length);
        Some(Remains { ledger, stored, next: self.next?, confirmed: self.acknowledged(), length })
    }

    /// None if it was not taken.
    pub fn add(&mut self, body: bytes::Bytes) -> Option<EntryId> {
        let value = Value::of(&body);
        let entry = self.writer.append(body).ok()?;
        self.next = Some(entry.next());
        self.length += value.len as i64;
        self.pending.insert(entry, value);
        Some(entry)
    }

    /// Passes on what is acknowledged during `time`.
    pub async fn listen(&mut self, time: Duration, world: &World) {
        let until = Instant::now() + time;
        loop {
            self.tell_acknowledged(world);
            match timeout_at(until, self.progress.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => sleep_until(until).await,
                Err(_) => return,
            }
        }
    }

    fn tell_acknowledged(&mut self, world: &World) {
        let last = self.acknowledged();
        while let Some((entry, value)) = self.pending.first_key_value().map(|(entry, value)| (*entry, *value))
        {
            if entry > last {
                return;
            }
            self.pending.pop_first();
            world.judge.hear(|model| model.acknowledged(self.ledger, entry, value));
        }
    }

    pub fn acknowledged(&self) -> EntryId {
        self.progress.borrow().acknowledged.last
    }

    /// Nothing more will be acknowledged here.
    pub fn is_over(&self) -> bool {
        let now = self.progress.borrow();
        now.ended.is_some() || matches!(now.trouble, Some(Trouble::Stuck(_)))
    }

    pub fn trouble(&self) -> Option<Trouble> {
        self.progress.borrow().trouble.clone()
    }

    pub async fn close(self, world: &World) -> Result<EntryId, Error> {
        let OpenLedger { ledger, writer, progress, mut pending, .. } = self;
        let closed = writer.close().await;
        // What was acknowledged until then counts.
        let last = progress.borrow().acknowledged.last;
        while let Some((entry, value)) = pending.pop_first().filter(|(entry, _)| *entry <= last) {
            world.judge.hear(|model| model.acknowledged(ledger, entry, value));
        }
        closed.map(|_| last)
    }
}

fn plan((e, w, a): (u32, u32, u32)) -> Result<Plan, Error> {
    let origin = Origin { vb: String::new(), kind: "sim".into(), epoch: 0 };
    Ok(Plan { password: PASSWORD.into(), custom: origin.to_custom(), ..Plan::new(Quorums::new(e, w, a)?) })
}

/// Closes every ledger on a healed cluster and reads back everything that was acknowledged or served.
pub async fn scrub(load: &LedgerLoad) -> Result<(), String> {
    let peer = load.clients.join(&load.world, "the last reader");
    let cluster = cluster(&load.world, &peer, &load.chance);
    let all: Vec<LedgerId> = load.world.judge.model().metadata.ledgers.keys().copied().collect();
    for ledger in all {
        let closed =
            load.world.judge.model().metadata.ledgers.get(&ledger).is_none_or(LedgerMetadata::is_log_link);
        if !closed {
            close_at_last(load, &cluster, ledger).await?;
            super::reading::read_back(&load.world, &cluster, ledger).await?;
        }
    }
    let closed = load.world.judge.model().metadata.closed();
    for ledger in closed {
        super::reading::count_copies(&load.world, &cluster, ledger, load.world.repair).await;
    }
    Ok(())
}

async fn close_at_last(load: &LedgerLoad, cluster: &Cluster, ledger: LedgerId) -> Result<(), String> {
    let world = &load.world;
    let mut last = String::new();
    for _ in 0..60 {
        match timeout(Duration::from_secs(30), recover(cluster, ledger)).await {
            Ok(Ok(stored)) => {
                tell_recovered(world, &stored);
                return Ok(());
            }
            Ok(Err(Error::NoSuchLedger(_))) => return Ok(()),
            Ok(Err(_)) if begins_high_and_empty(world, ledger) => return Ok(()),
            Ok(Err(error)) => last = error.to_string(),
            Err(_) => last = "recovery takes longer than 30 s".into(),
        }
        sleep(Duration::from_secs(1)).await;
    }
    Err(format!("ledger {ledger}: it cannot be recovered after everything has healed: {last}"))
}

/// Such a ledger ends at an entry that never was, so that its length cannot be known.
fn begins_high_and_empty(world: &World, ledger: LedgerId) -> bool {
    let model = world.judge.model();
    let known = model.metadata.ledgers.get(&ledger);
    let high = known.and_then(|m| m.segments.first()).is_some_and(|segment| segment.first > EntryId::FIRST);
    high && model.ledgers.acknowledged(ledger).is_none()
}
