//! A single ledger, written through bookies: made, appended to, closed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use metadata::ledgers::Swapped;
use metadata::{LedgerMetadata, Segment, State, Stored};
use net::Reply;
use protocol::entry::{DigestType, MAX_PAYLOAD};
use protocol::{BookieId, EntryId, LedgerId};
use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use super::slots::ENTRY_COST;
use super::{End, Outgoing, Patience, Runs, Target, Trouble, Writer};
use crate::cluster::Cluster;
use crate::drive::{Dispatch, Driven, Driver};
use crate::layout::Layout;
use crate::quorum::Quorums;
use crate::{Ended, Error};

/// What a new ledger is to be.
#[derive(Clone, Debug)]
pub struct Plan {
    pub quorums: Quorums,
    pub digest: DigestType,
    pub password: Bytes,
    pub custom: BTreeMap<String, Bytes>,
    /// Bytes taken and not acknowledged, with the costs of keeping them; more are refused.
    pub window_bytes: usize,
    pub patience: Patience,
    /// Bookies to do without, if possible.
    pub avoid: BTreeSet<BookieId>,
}

impl Plan {
    pub fn new(quorums: Quorums) -> Plan {
        Plan {
            quorums,
            digest: DigestType::Crc32c,
            password: Bytes::new(),
            custom: BTreeMap::new(),
            window_bytes: 16 << 20,
            patience: Patience::default(),
            avoid: BTreeSet::new(),
        }
    }

    /// Metadata of the ledger, over `ensemble`.
    pub fn metadata(&self, ensemble: Vec<BookieId>, token: u64) -> LedgerMetadata {
        LedgerMetadata {
            ensemble_size: self.quorums.ensemble() as u32,
            write_quorum: self.quorums.write() as u32,
            ack_quorum: self.quorums.ack() as u32,
            state: State::Open,
            segments: vec![Segment { first: EntryId::FIRST, ensemble }],
            digest: self.digest,
            password: self.password.clone(),
            created_ms: None,
            custom: self.custom.clone(),
            token: (token >> 1) as i64,
        }
    }
}

/// How far a ledger has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// All entries up to this one are on an ack quorum. Only ever grows.
    pub acknowledged: End,
    /// Why the ledger should be given up for a new one, if it should.
    pub trouble: Option<Trouble>,
    pub ended: Option<Ended>,
}

/// Why an entry was not taken. No id is used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the ledger's window of unacknowledged bytes is full")]
    Full,
    #[error("an entry of {0} bytes: a ledger takes up to {MAX_PAYLOAD}")]
    Size(usize),
    #[error(transparent)]
    Ended(#[from] Ended),
}

/// The one writer of an open ledger.
pub struct LedgerWriter {
    cluster: Cluster,
    stored: Stored,
    driver: Arc<Driver<Single>>,
    progress: watch::Receiver<Written>,
}

/// The writer's core with its window and its audience.
struct Single {
    writer: Writer,
    window_bytes: usize,
    out: Vec<Outgoing>,
    progress: watch::Sender<Written>,
    closing: bool,
    /// Wakes the timer; it sleeps while no answer is awaited.
    timer: Arc<Notify>,
    ticking: bool,
}

impl Drop for Single {
    fn drop(&mut self) {
        self.timer.notify_one();
    }
}

impl LedgerWriter {
    pub async fn create(cluster: &Cluster, plan: &Plan) -> Result<LedgerWriter, Error> {
        let placement = cluster.place(plan.quorums, &plan.avoid).await?;
        let metadata = plan.metadata(placement.ensemble.clone(), cluster.random());
        let stored = cluster.ledgers.create(metadata).await?;
        let layout = Layout::of(&stored)?;
        let target = Target {
            ledger: stored.id,
            quorums: plan.quorums,
            ensemble: placement.ensemble,
            absent: placement.absent,
            key: layout.key,
            digest: layout.digest,
            first: EntryId::FIRST,
            length: 0,
        };
        Ok(LedgerWriter::resume(cluster, stored, target, plan))
    }

    /// Writes a ledger that exists from `target.first` on. Whoever calls this MUST be its only writer.
    pub fn resume(cluster: &Cluster, stored: Stored, target: Target, plan: &Plan) -> LedgerWriter {
        let writer = Writer::new(target, plan.patience);
        let beginning = Written { acknowledged: writer.acknowledged(), trouble: None, ended: None };
        let (sender, progress) = watch::channel(beginning);
        let single = Single {
            writer,
            window_bytes: plan.window_bytes,
            out: Vec::new(),
            progress: sender,
            closing: false,
            timer: Arc::new(Notify::new()),
            ticking: false,
        };
        let timer = single.timer.clone();
        let driver = Driver::new(cluster.bookies.clone(), single);
        tokio::spawn(tick(Arc::downgrade(&driver), timer, plan.patience));
        LedgerWriter { cluster: cluster.clone(), stored, driver, progress }
    }

    pub fn ledger(&self) -> LedgerId {
        self.stored.id
    }

    /// Takes one entry and says at once which one it is. Never waits.
    pub fn append(&self, payload: Bytes) -> Result<EntryId, Refused> {
        self.driver.with(|single, now| single.append(payload, now))
    }

    /// Takes several entries, which travel together; how many were taken, and why not all.
    pub fn append_all(&self, payloads: &[Bytes]) -> (usize, Result<(), Refused>) {
        self.driver.with(|single, now| {
            for (taken, payload) in payloads.iter().enumerate() {
                if let Err(refused) = single.append(payload.clone(), now) {
                    return (taken, Err(refused));
                }
            }
            (payloads.len(), Ok(()))
        })
    }

    /// Appends, waiting for room as long as it takes: cancel it to give up.
    pub async fn append_when_room(&self, payload: Bytes) -> Result<EntryId, Refused> {
        let mut progress = self.progress.clone();
        loop {
            progress.mark_unchanged();
            match self.append(payload.clone()) {
                Err(Refused::Full) => {
                    if progress.changed().await.is_err() {
                        return Err(Ended::Sealed.into());
                    }
                }
                taken_or_not => return taken_or_not,
            }
        }
    }

    pub fn progress(&self) -> watch::Receiver<Written> {
        self.progress.clone()
    }

    /// Waits until everything up to `entry` is acknowledged.
    pub async fn acknowledged(&self, entry: EntryId) -> Result<(), Ended> {
        let mut progress = self.progress.clone();
        let reached = progress.wait_for(|w| w.acknowledged.last >= entry || w.ended.is_some()).await;
        match reached {
            Ok(w) if w.acknowledged.last >= entry => Ok(()),
            Ok(w) => Err(w.ended.clone().unwrap_or(Ended::Sealed)),
            Err(_) => Err(Ended::Sealed),
        }
    }

    /// Where the ledger ends with all that was appended, how far that is acknowledged, and what bookies still lack of it.
    pub fn standing(&self) -> (End, End, Vec<(BookieId, Runs)>) {
        self.driver.with(|single, _| {
            let writer = &single.writer;
            let last = EntryId(writer.next_entry().0 - 1);
            let written = End { last, length: writer.length() };
            (written, writer.acknowledged(), writer.missing())
        })
    }

    /// Closes the ledger at its last acknowledged entry. If somebody else closed it elsewhere, this writer is to
    /// take itself for fenced.
    pub async fn close(self) -> Result<Stored, Error> {
        let end = self.driver.with(|single, _| {
            single.closing = true;
            single.writer.freeze()
        });
        let state = State::Closed { last: end.last, length: end.length };
        let closed = LedgerMetadata { state, ..self.stored.metadata.clone() };
        let result = match self.cluster.ledgers.replace(self.stored.id, self.stored.version, closed).await? {
            Swapped::Done(stored) => Ok(stored),
            Swapped::Conflict(Some(other)) if other.metadata.state == state => Ok(other),
            Swapped::Conflict(Some(_)) => Err(Ended::Stolen.into()),
            Swapped::Conflict(None) => Err(Error::NoSuchLedger(self.stored.id)),
        };
        let ended = if result.is_ok() { Ended::Sealed } else { Ended::Stolen };
        self.driver.with(|single, _| single.end(ended));
        result
    }
}

impl Single {
    fn append(&mut self, payload: Bytes, now: Duration) -> Result<EntryId, Refused> {
        if payload.len() > MAX_PAYLOAD {
            return Err(Refused::Size(payload.len()));
        }
        let ended = || self.progress.borrow().ended.clone().unwrap_or(Ended::Sealed);
        if self.closing {
            return Err(ended().into());
        }
        let entries = (self.writer.next_entry().0 - self.writer.acknowledged().last.0 - 1) as usize;
        let held = self.writer.in_flight_bytes() as usize + entries * ENTRY_COST;
        if entries > 0 && held + payload.len() + ENTRY_COST > self.window_bytes {
            return Err(Refused::Full);
        }
        let Some(entry) = self.writer.add(&[], payload, now, &mut self.out) else {
            return Err(ended().into());
        };
        if !std::mem::replace(&mut self.ticking, true) {
            self.timer.notify_one();
        }
        Ok(entry)
    }

    fn tick(&mut self, now: Duration) {
        self.writer.tick(now);
        self.ticking = self.writer.is_waiting();
        self.publish();
    }

    fn end(&mut self, ended: Ended) {
        self.progress.send_if_modified(|w| {
            let first = w.ended.is_none();
            w.ended.get_or_insert(ended);
            first
        });
    }

    fn publish(&mut self) {
        let acknowledged = self.writer.acknowledged();
        let trouble = self.writer.trouble();
        self.progress.send_if_modified(|w| {
            if w.acknowledged == acknowledged && w.trouble.as_ref() == trouble {
                return false;
            }
            w.acknowledged = acknowledged;
            if w.trouble.as_ref() != trouble {
                w.trouble = trouble.cloned();
            }
            true
        });
        match self.writer.trouble() {
            Some(Trouble::Fenced(_)) => self.end(Ended::Stolen),
            Some(Trouble::Refused(bookie, refusal)) => {
                let why = format!("bookie {bookie} refuses entries: {refusal}");
                self.end(Ended::Failed(why));
            }
            _ => {}
        }
    }
}

impl Driven for Single {
    fn answered(&mut self, token: u64, reply: Reply, _now: Duration) {
        let (index, entry) = untoken(token);
        self.writer.answered(index, entry, reply);
        self.publish();
    }

    fn take_outgoing(&mut self, into: &mut Vec<Dispatch>) {
        let ensemble = &self.writer.target().ensemble;
        into.extend(self.out.drain(..).map(|Outgoing { index, entry, request }| Dispatch {
            bookie: ensemble[index].clone(),
            token: token(index, entry),
            request,
        }));
    }
}

/// Entry in the lower 48 bits, member in the 8 above.
pub(crate) fn token(index: usize, entry: EntryId) -> u64 {
    (index as u64) << 48 | entry.0 as u64 & ((1 << 48) - 1)
}

pub(crate) fn untoken(token: u64) -> (usize, EntryId) {
    ((token >> 48 & 0xff) as usize, EntryId((token & ((1 << 48) - 1)) as i64))
}

/// Looks for late bookies while answers are awaited; ends with its writer.
async fn tick(driver: Weak<Driver<Single>>, timer: Arc<Notify>, patience: Patience) {
    let every = (patience.slow_after / 4).clamp(Duration::from_millis(10), Duration::from_secs(1));
    loop {
        timer.notified().await;
        loop {
            sleep(every).await;
            let Some(driver) = driver.upgrade() else { return };
            let goes_on = driver.with(|single, now| {
                single.tick(now);
                single.ticking
            });
            if !goes_on {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Model, Mood, bookie};
    use crate::recovery::recover;
    use protocol::bookie::Refusal;

    fn plan() -> Plan {
        Plan::new(Quorums::new(3, 3, 2).unwrap_or_else(|_| unreachable!("good quorums")))
    }

    async fn filled(model: &Model, entries: usize) -> LedgerWriter {
        let writer = LedgerWriter::create(&model.cluster, &plan()).await.expect("creates");
        for i in 0..entries {
            assert_eq!(writer.append(Bytes::from(vec![7; 10])), Ok(EntryId(i as i64)));
        }
        writer.acknowledged(EntryId(entries as i64 - 1)).await.expect("acknowledges");
        writer
    }

    #[tokio::test(start_paused = true)]
    async fn a_ledger_is_written_and_closed() {
        let model = Model::new(3, 1);
        let closed = filled(&model, 100).await.close().await.expect("closes");
        assert_eq!(closed.metadata.state, State::Closed { last: EntryId(99), length: 1000 });
    }

    #[tokio::test(start_paused = true)]
    async fn a_writer_whose_ledger_was_recovered_is_over() {
        let model = Model::new(3, 1);
        let writer = filled(&model, 10).await;
        recover(&model.cluster, writer.ledger()).await.expect("recovers");
        let entry = writer.append(Bytes::from_static(b"late")).expect("is taken");
        assert_eq!(writer.acknowledged(entry).await, Err(Ended::Stolen));
        assert_eq!(writer.append(Bytes::new()), Err(Ended::Stolen.into()));
        assert_eq!(
            writer.close().await,
            Ok(model.cluster.ledgers.list(None, 1).await.unwrap().ledgers.remove(0))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_writer_closed_behind_its_back_at_another_end_takes_itself_for_fenced() {
        let model = Model::new(3, 1);
        let writer = filled(&model, 10).await;
        (0..2).for_each(|n| model.bookies.set(n, Mood::Mute));
        writer.append(Bytes::from_static(b"unanswered")).expect("is taken");
        sleep(Duration::from_millis(10)).await;
        (0..2).for_each(|n| model.bookies.set(n, Mood::Well));
        recover(&model.cluster, writer.ledger()).await.expect("recovers");
        assert_eq!(writer.close().await, Err(Ended::Stolen.into()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_bookie_is_reported_while_entries_go_on() {
        let model = Model::new(3, 1);
        let writer = filled(&model, 10).await;
        model.bookies.set(1, Mood::RefusingAdds(Refusal::ReadOnly));
        let entry = writer.append(Bytes::from_static(b"more")).expect("is taken");
        writer.acknowledged(entry).await.expect("two of three are enough");
        let mut progress = writer.progress();
        let told = progress.wait_for(|w| w.trouble.is_some()).await.expect("is told").trouble.clone();
        assert!(matches!(told, Some(Trouble::Lost(b, _)) if b == bookie(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_window_refuses_and_lets_go_on() {
        let model = Model::new(3, 1);
        let narrow = Plan { window_bytes: 4000, ..plan() };
        let writer = LedgerWriter::create(&model.cluster, &narrow).await.expect("creates");
        let taken = (0..100).take_while(|_| writer.append(Bytes::from(vec![1; 500])).is_ok()).count();
        assert_eq!(taken, 5, "756 bytes each");
        let entry = writer.append_when_room(Bytes::from(vec![1; 500])).await;
        assert_eq!(entry, Ok(EntryId(5)));
        let large = Bytes::from(vec![1; MAX_PAYLOAD + 1]);
        assert_eq!(writer.append(large), Err(Refused::Size(MAX_PAYLOAD + 1)));
    }
}
