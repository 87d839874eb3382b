//! The one that decides: groups of transactions, each appended, synced, published and answered.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until};

use super::Shared;
use super::format;
use super::journal::{Journal, RollError};
use super::tree::{Item, Stage};
use crate::{Error, LeaseId, Txn, TxnOutcome};

/// Callers that may wait at once, and bytes that go into one group.
const MOST_WAITING: usize = 10_000;
const GROUP_BYTES: usize = 4 << 20;
/// Pause before the keys of ended leases are tried again.
const RETRY: Duration = Duration::from_secs(1);

pub enum Waiting {
    Txn { txn: Txn, reply: oneshot::Sender<Result<TxnOutcome, Error>> },
    Revoke { lease: LeaseId, reply: oneshot::Sender<Result<(), Error>> },
}

impl Waiting {
    /// What it takes in the log, about.
    fn weight(&self) -> usize {
        match self {
            Waiting::Txn { txn, .. } => txn.ops.iter().map(|op| op.bytes() + 64).sum(),
            Waiting::Revoke { .. } => 64,
        }
    }
}

#[derive(Default)]
pub struct Queue {
    state: Mutex<QueueState>,
    arrived: Notify,
}

#[derive(Default)]
struct QueueState {
    waiting: VecDeque<Waiting>,
    /// Why nothing is taken any more.
    stopped: Option<String>,
}

impl Queue {
    pub fn push(&self, waiting: Waiting) -> Result<(), Error> {
        let mut state = self.state.lock();
        if let Some(why) = &state.stopped {
            return Err(Error::Unavailable(why.clone()));
        }
        if state.waiting.len() >= MOST_WAITING {
            return Err(Error::Unavailable("too many transactions wait for the metadata store".into()));
        }
        state.waiting.push_back(waiting);
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    pub fn alive(&self) -> Result<(), Error> {
        match &self.state.lock().stopped {
            Some(why) => Err(Error::Unavailable(why.clone())),
            None => Ok(()),
        }
    }

    pub fn wake(&self) {
        self.arrived.notify_one();
    }

    /// Takes no more; those who wait are told that it stopped.
    pub fn close(&self, why: &str) {
        let mut state = self.state.lock();
        state.stopped.get_or_insert_with(|| why.to_owned());
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for waiting in waiting {
            let stopped = Error::Unavailable(why.to_owned());
            match waiting {
                Waiting::Txn { reply, .. } => drop(reply.send(Err(stopped))),
                Waiting::Revoke { reply, .. } => drop(reply.send(Err(stopped))),
            }
        }
        self.arrived.notify_one();
    }

    fn take_group(&self) -> Vec<Waiting> {
        let mut state = self.state.lock();
        let mut group = Vec::new();
        let mut bytes = 0;
        while let Some(next) = state.waiting.front() {
            bytes += next.weight();
            if bytes > GROUP_BYTES && !group.is_empty() {
                break;
            }
            group.extend(state.waiting.pop_front());
        }
        group
    }

    fn has_waiting(&self) -> bool {
        !self.state.lock().waiting.is_empty()
    }
}

/// Runs an embedded store.
pub struct Driver {
    shared: Arc<Shared>,
    journal: Journal,
    /// Leases that are over and whose keys are still there, for want of room.
    ended: Vec<LeaseId>,
}

/// An answer that is held back until its group is on disk.
enum Answer {
    Txn(oneshot::Sender<Result<TxnOutcome, Error>>, Result<TxnOutcome, Error>),
    Revoke(oneshot::Sender<Result<(), Error>>),
}

impl Answer {
    fn give(self) {
        match self {
            Answer::Txn(reply, outcome) => drop(reply.send(outcome)),
            Answer::Revoke(reply) => drop(reply.send(Ok(()))),
        }
    }

    fn fail(self, error: &Error) {
        match self {
            Answer::Txn(reply, _) => drop(reply.send(Err(error.clone()))),
            Answer::Revoke(reply) => drop(reply.send(Err(error.clone()))),
        }
    }
}

impl Driver {
    pub(super) fn new(shared: Arc<Shared>, journal: Journal) -> Driver {
        Driver { shared, journal, ended: Vec::new() }
    }

    /// Serves until the store is dropped, or its disk fails.
    pub async fn run(mut self) {
        while self.shared.queue.alive().is_ok() {
            self.group();
            if self.shared.queue.has_waiting() {
                // Let those run who were just answered: what they ask next joins the next group.
                tokio::task::yield_now().await;
                continue;
            }
            let arrived = self.shared.queue.arrived.notified();
            let retry = (!self.ended.is_empty()).then(|| Instant::now() + RETRY);
            match self.shared.leases.next_end().into_iter().chain(retry).min() {
                Some(end) => tokio::select! {
                    biased;
                    () = arrived => {}
                    () = sleep_until(end) => {}
                },
                None => arrived.await,
            }
        }
    }

    /// Stage, append, sync, publish, answer.
    fn group(&mut self) {
        self.ended.extend(self.shared.leases.take_ended());
        let waiting = self.shared.queue.take_group();
        if self.ended.is_empty() && waiting.is_empty() {
            return;
        }
        let (items, answers) = self.stage(waiting);
        if !items.is_empty() {
            let mut payload = Vec::new();
            for item in &items {
                format::put_item(&mut payload, item);
            }
            if !self.journal.has_room_for(payload.len())
                && let Err(refused) = self.roll(payload.len())
            {
                answers.into_iter().for_each(|answer| answer.fail(&refused));
                return;
            }
            if let Err(error) = self.journal.append(&payload) {
                let unclear = Error::Ambiguous(self.stop(&error));
                answers.into_iter().for_each(|answer| answer.fail(&unclear));
                return;
            }
            let mut tree = self.shared.tree.write();
            items.iter().cloned().for_each(|item| tree.apply(item));
            drop(tree);
            self.shared.history.add(items);
        }
        self.ended.clear();
        answers.into_iter().for_each(Answer::give);
    }

    fn stage(&mut self, waiting: Vec<Waiting>) -> (Vec<Item>, Vec<Answer>) {
        let tree = self.shared.tree.read();
        let mut stage = Stage::on(&tree);
        self.ended.iter().for_each(|lease| stage.end_lease(*lease));
        let mut answers = Vec::with_capacity(waiting.len());
        for waiting in waiting {
            answers.push(match waiting {
                Waiting::Txn { txn, reply } => {
                    Answer::Txn(reply, stage.run(txn, |lease| self.shared.leases.alive(lease)))
                }
                Waiting::Revoke { lease, reply } => {
                    self.shared.leases.end(lease);
                    self.ended.push(lease);
                    stage.end_lease(lease);
                    Answer::Revoke(reply)
                }
            });
        }
        (stage.items(), answers)
    }

    /// A new file, with room for a group of `payload` bytes.
    fn roll(&mut self, payload: usize) -> Result<(), Error> {
        let rolled = self.journal.roll(&self.shared.tree.read());
        match rolled {
            Ok(()) if self.journal.has_room_for(payload) => Ok(()),
            Ok(()) => {
                Err(Error::Invalid("the metadata store's files are too small for this transaction".into()))
            }
            Err(RollError::NoRoom(error)) => {
                Err(Error::Unavailable(format!("there is no room on the metadata store's disk: {error}")))
            }
            Err(RollError::Broken(error)) => Err(Error::Unavailable(self.stop(&error))),
        }
    }

    fn stop(&self, error: &std::io::Error) -> String {
        let why =
            format!("the metadata store has stopped, its disk failed: {error}. Start the process again");
        tracing::error!(%error, "the metadata store's disk failed; it answers nothing more");
        self.shared.queue.close(&why);
        self.shared.history.close();
        why
    }
}
