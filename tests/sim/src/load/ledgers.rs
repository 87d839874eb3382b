//! Clients of single ledgers: writers that write until something stops them, recoverers that race with them, readers
//! that follow, and somebody who deletes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ledger::quorum::Quorums;
use ledger::recovery::recover;
use ledger::writer::{End, Outgoing, Patience, Target, Trouble, Writer};
use ledger::{Cluster, Error};
use metadata::ledgers::Updated;
use metadata::schema::Origin;
use metadata::{LedgerMetadata, Ledgers, Segment, State, Stored};
use net::Inbox;
use protocol::entry::{Digest, DigestType, MasterKey};
use protocol::{EntryId, LedgerId};
use tokio::time::{Instant, sleep, timeout};

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
        if let Ok(open) = OpenLedger::create(&cluster, self.quorums).await {
            let ledger = open.ledger;
            self.world.trace.note(&format!("ledger {ledger}: p{} writes it", peer.process.id.0));
            tokio::spawn(self.clone().follow(ledger));
            if self.chance.hits(self.load.steals) {
                for _ in 0..1 + self.chance.index(2) {
                    tokio::spawn(self.clone().steal(ledger));
                }
            }
            self.fill(&peer, open).await;
            if self.chance.hits(self.load.deletions) {
                self.world.trace.note(&format!("ledger {ledger} is deleted"));
                let _ = cluster.ledgers.delete(ledger, None).await;
            }
        }
        self.clients.leave(&peer);
    }

    /// Appends until the writer is over, then closes the ledger or leaves it behind.
    async fn fill(&self, peer: &Peer, mut open: OpenLedger) {
        for _ in 0..self.chance.within(1..200) {
            for _ in 0..self.chance.within(1..self.load.burst + 1) {
                open.add(payload(&self.chance, self.load.sizes));
            }
            open.listen(self.chance.millis(self.load.pause_ms.0..self.load.pause_ms.1), &self.world).await;
            if peer.process.is_dead() || open.is_over() {
                break;
            }
        }
        if self.chance.hits(0.3) || peer.process.is_dead() {
            return;
        }
        open.listen(Duration::from_millis(50), &self.world).await;
        match open.close().await {
            Ok(end) => self.world.trace.note(&format!("ledger {}: its writer closed it at {}", open.ledger, end.last)),
            Err(error) => self.world.trace.note(&format!("ledger {}: not closed: {error}", open.ledger)),
        }
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
        let mut known = EntryId::NONE;
        for _ in 0..self.chance.index(6) {
            sleep(self.chance.millis(0..2000)).await;
            let reading = super::reading::read_confirmed(&self.world, &peer, &cluster, ledger, &mut known);
            // Out of reach just now, or deleted: the scrub at the end tells.
            let _ = timeout(Duration::from_secs(30), reading).await;
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

/// A ledger with its writer: the production core, driven by hand.
pub struct OpenLedger {
    pub ledger: LedgerId,
    cluster: Cluster,
    writer: Writer,
    inbox: Arc<Inbox>,
    asked: BTreeMap<u64, (usize, EntryId)>,
    tokens: u64,
    /// Payloads that are not acknowledged.
    pending: BTreeMap<EntryId, Value>,
    began: Instant,
}

impl OpenLedger {
    pub async fn create(cluster: &Cluster, (e, w, a): (u32, u32, u32)) -> Result<OpenLedger, Error> {
        let quorums = Quorums::new(e, w, a)?;
        let placement = cluster.place(quorums, &BTreeSet::new()).await?;
        let origin = Origin { vb: String::new(), kind: "sim".into(), epoch: 0 };
        let metadata = LedgerMetadata {
            ensemble_size: e,
            write_quorum: w,
            ack_quorum: a,
            state: State::Open,
            segments: vec![Segment { first: EntryId::FIRST, ensemble: placement.ensemble.clone() }],
            digest: DigestType::Crc32c,
            password: PASSWORD.into(),
            created_ms: None,
            custom: origin.to_custom(),
            token: (cluster.random() >> 1) as i64,
        };
        let stored = cluster.ledgers.create(metadata).await?;
        let target = Target {
            ledger: stored.id,
            quorums,
            ensemble: placement.ensemble,
            absent: placement.absent,
            key: MasterKey::of(PASSWORD),
            digest: Digest::new(DigestType::Crc32c, PASSWORD),
            first: EntryId::FIRST,
            length: 0,
        };
        Ok(OpenLedger {
            ledger: stored.id,
            cluster: cluster.clone(),
            writer: Writer::new(target, Patience::default()),
            inbox: Inbox::new(),
            asked: BTreeMap::new(),
            tokens: 0,
            pending: BTreeMap::new(),
            began: Instant::now(),
        })
    }

    pub fn add(&mut self, body: bytes::Bytes) -> Option<EntryId> {
        let (value, mut out) = (Value::of(&body), Vec::new());
        let entry = self.writer.add(&[], body, self.began.elapsed(), &mut out)?;
        self.pending.insert(entry, value);
        let ensemble = self.writer.target().ensemble.clone();
        for Outgoing { index, entry, request } in out {
            let Some(bookie) = ensemble.get(index) else { continue };
            self.tokens += 1;
            self.asked.insert(self.tokens, (index, entry));
            self.cluster.bookies.send(bookie, request, self.inbox.expect(self.tokens));
        }
        Some(entry)
    }

    /// Takes replies for `time`, and passes on what is acknowledged.
    pub async fn listen(&mut self, time: Duration, world: &World) {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if let Ok(replies) = timeout(left, self.inbox.take()).await {
                for (token, reply) in replies {
                    if let Some((index, entry)) = self.asked.remove(&token) {
                        self.writer.answered(index, entry, reply);
                    }
                }
            }
            self.writer.tick(self.began.elapsed());
            self.tell_acknowledged(world);
            if Instant::now() >= until {
                return;
            }
        }
    }

    fn tell_acknowledged(&mut self, world: &World) {
        let last = self.writer.acknowledged().last;
        while let Some((entry, value)) = self.pending.first_key_value().map(|(entry, value)| (*entry, *value)) {
            if entry > last {
                return;
            }
            self.pending.pop_first();
            world.judge.hear(|model| model.acknowledged(self.ledger, entry, value));
        }
    }

    pub fn acknowledged(&self) -> EntryId {
        self.writer.acknowledged().last
    }

    /// Nothing more will be acknowledged here.
    pub fn is_over(&self) -> bool {
        self.writer.trouble().is_some_and(|trouble| trouble.is_fatal() || matches!(trouble, Trouble::Stuck(_)))
    }

    pub fn trouble(&self) -> Option<&Trouble> {
        self.writer.trouble()
    }

    pub async fn close(&mut self) -> Result<End, Error> {
        let end = self.writer.freeze();
        let state = State::Closed { last: end.last, length: end.length };
        let close = |metadata: &LedgerMetadata| {
            let closable = metadata.state == State::Open || metadata.state == state;
            closable.then(|| LedgerMetadata { state, ..metadata.clone() })
        };
        match self.cluster.ledgers.update(self.ledger, close).await? {
            Updated::Done(_) => Ok(end),
            Updated::Declined(_) => Err(Error::Unavailable("it was taken over".into())),
            Updated::Deleted => Err(Error::NoSuchLedger(self.ledger)),
        }
    }
}

/// Closes every ledger on a healed cluster and reads back everything that was acknowledged or served.
pub async fn scrub(load: &LedgerLoad) -> Result<(), String> {
    let peer = load.clients.join(&load.world, "the last reader");
    let cluster = cluster(&load.world, &peer, &load.chance);
    let all: Vec<LedgerId> = load.world.judge.model().metadata.ledgers.keys().copied().collect();
    for ledger in all {
        let closed = load.world.judge.model().metadata.ledgers.get(&ledger).is_none_or(LedgerMetadata::is_log_link);
        if !closed {
            close_at_last(load, &cluster, ledger).await?;
            super::reading::read_back(&load.world, &cluster, ledger).await?;
        }
    }
    Ok(())
}

async fn close_at_last(load: &LedgerLoad, cluster: &Cluster, ledger: LedgerId) -> Result<(), String> {
    let mut last = String::new();
    for _ in 0..60 {
        match timeout(Duration::from_secs(30), recover(cluster, ledger)).await {
            Ok(Ok(stored)) => {
                tell_recovered(&load.world, &stored);
                return Ok(());
            }
            Ok(Err(Error::NoSuchLedger(_))) => return Ok(()),
            Ok(Err(error)) => last = error.to_string(),
            Err(_) => last = "recovery takes longer than 30 s".into(),
        }
        sleep(Duration::from_secs(1)).await;
    }
    Err(format!("ledger {ledger}: it cannot be recovered after everything has healed: {last}"))
}
