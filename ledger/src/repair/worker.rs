//! A worker: takes tasks, one at a time, and repairs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use metadata::Lock;
use metadata::schema::LedgerTask;
use protocol::LedgerId;
use tokio::time::{Instant, sleep};

use super::lost::given_up;
use super::tasks::{Filed, lock, read, swap};
use super::{Mended, Metrics, Pace, Settings, Trouble, mend};
use crate::{Cluster, Error};

/// After a failure, a worker leaves a ledger alone for this long, doubled with each attempt.
const REST: Duration = Duration::from_secs(10);
const LONGEST_REST: Duration = Duration::from_secs(300);
/// How often a task says how far its repair has come.
const TELL: Duration = Duration::from_secs(5);
/// Tasks looked at to choose one, and ledgers remembered to be left alone.
const CHOICE: usize = 100;

/// Works for ever.
pub(super) async fn run(cluster: Cluster, settings: Settings, pace: Pace, metrics: Arc<Metrics>) {
    let mut worker = Worker { cluster, settings, pace, metrics, resting: BTreeMap::new(), after: None };
    loop {
        match worker.next().await {
            Ok(true) => {}
            Ok(false) => sleep(worker.settings.idle).await,
            Err(error) => {
                tracing::warn!(%error, "repair cannot go on; it tries again");
                sleep(worker.settings.idle).await;
            }
        }
    }
}

struct Worker {
    cluster: Cluster,
    settings: Settings,
    pace: Pace,
    metrics: Arc<Metrics>,
    /// Ledgers to leave alone, and until when.
    resting: BTreeMap<LedgerId, Instant>,
    /// Where in the list of tasks to look next.
    after: Option<String>,
}

impl Worker {
    /// Works on one task; false if there was none.
    async fn next(&mut self) -> Result<bool, Error> {
        let (store, scope) = (self.cluster.ledgers.store().clone(), self.cluster.ledgers.scope().clone());
        if store.get(&scope.replication_paused()).await?.is_some() {
            return Ok(false);
        }
        let Some(ledger) = self.choose().await? else { return Ok(false) };
        let Some(lock) = lock(&store, &scope, ledger, &self.settings.name, self.settings.lease).await? else {
            // Another one is at it.
            self.resting.insert(ledger, Instant::now() + self.settings.lease);
            return Ok(true);
        };
        // Read again under the lock.
        let done = match read(&*store, &scope, ledger).await {
            Ok(Some(filed)) => self.work(filed, &lock).await,
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        lock.free().await;
        done.map(|()| true)
    }

    /// A task at random among the next ones: workers should not all want the same.
    async fn choose(&mut self) -> Result<Option<LedgerId>, Error> {
        let (store, scope) = (self.cluster.ledgers.store(), self.cluster.ledgers.scope());
        let page = store.range(&scope.replication_tasks(), self.after.as_deref(), CHOICE).await?;
        self.after = page.entries.last().filter(|_| page.more).map(|last| last.key.clone());
        let now = Instant::now();
        self.resting.retain(|_, until| *until > now);
        let mut waiting = Vec::new();
        for entry in page.entries {
            let Some(ledger) = scope.replication_task_of(&entry.key) else { continue };
            let task = LedgerTask::decode(ledger, &entry.value)?;
            if !task.quarantined && !self.resting.contains_key(&ledger) {
                waiting.push(ledger);
            }
        }
        match waiting.len() as u64 {
            0 if self.after.is_some() => Box::pin(self.choose()).await,
            0 => Ok(None),
            count => Ok(waiting.get((self.cluster.random() % count) as usize).copied()),
        }
    }

    async fn work(&mut self, mut filed: Filed, lock: &Lock) -> Result<(), Error> {
        let (store, scope) = (self.cluster.ledgers.store().clone(), self.cluster.ledgers.scope().clone());
        let ledger = filed.ledger;
        let (mended, before) = (Mended::default(), (filed.version, filed.task.clone()));
        let trouble = self.mend(&mut filed, lock, &mended).await?;
        let Filed { task, version, .. } = filed;
        self.metrics.copied.add(mended.copied());
        let after = match trouble {
            None => {
                tracing::info!(%ledger, copied = mended.copied(), replaced = mended.replaced(), "repaired");
                self.metrics.repaired.add(1);
                self.resting.remove(&ledger);
                None
            }
            // The auditor lists it as at risk, and files it again once it is closed.
            Some(Trouble::Open) => None,
            Some(Trouble::Waits(why)) => {
                self.rest(ledger, 1);
                Some(LedgerTask { last_error: why, ..task.clone() })
            }
            Some(Trouble::Failed(why)) => Some(self.failed(ledger, &task, why)),
        };
        if (version, after.as_ref()) != (before.0, Some(&before.1)) {
            // Not if damage was added meanwhile: then the task stays as it is, and is taken again.
            swap(&*store, &scope, ledger, Some(version), after.as_ref()).await?;
        }
        Ok(())
    }

    /// Repairs, and writes into the task from time to time how far it has come.
    async fn mend(&self, filed: &mut Filed, lock: &Lock, mended: &Mended) -> Result<Option<Trouble>, Error> {
        let (store, scope) = (&**self.cluster.ledgers.store(), self.cluster.ledgers.scope());
        let lost = given_up(store, scope).await?;
        let (guard, damage, before) = (lock.guard(), filed.task.damage.clone(), filed.task.copied);
        let mending = mend(&self.cluster, &self.pace, filed.ledger, &damage, &lost, &guard, mended);
        tokio::pin!(mending);
        let outcome = loop {
            tokio::select! {
                biased;
                () = lock.lost() => break Err(Trouble::Waits("the lock was lost".into())),
                outcome = &mut mending => break outcome,
                () = sleep(TELL) => {}
            }
            filed.task.copied = before + mended.copied();
            if swap(store, scope, filed.ledger, Some(filed.version), Some(&filed.task)).await?
                && let Some(now) =
                    read(store, scope, filed.ledger).await?.filter(|now| now.task == filed.task)
            {
                filed.version = now.version;
            }
        };
        filed.task.copied = before + mended.copied();
        Ok(outcome.err())
    }

    fn failed(&mut self, ledger: LedgerId, task: &LedgerTask, why: String) -> LedgerTask {
        let attempts = task.attempts + 1;
        let quarantined = attempts >= self.settings.attempts;
        self.metrics.failures.add(1);
        self.metrics.set_aside.add(u64::from(quarantined));
        if quarantined {
            tracing::error!(%ledger, attempts, why, "a ledger cannot be repaired; it is set aside");
        } else {
            tracing::warn!(%ledger, attempts, why, "a repair failed; it is tried again later");
        }
        self.rest(ledger, attempts);
        LedgerTask { attempts, quarantined, last_error: why, ..task.clone() }
    }

    fn rest(&mut self, ledger: LedgerId, attempts: u32) {
        let rest = REST.saturating_mul(1 << attempts.saturating_sub(1).min(8)).min(LONGEST_REST);
        self.resting.insert(ledger, Instant::now() + rest);
        // Bounded: the one that rests longest is remembered longest.
        while self.resting.len() > 10 * CHOICE {
            let soonest = self.resting.iter().min_by_key(|(_, until)| **until).map(|(ledger, _)| *ledger);
            soonest.map(|ledger| self.resting.remove(&ledger));
        }
    }
}
