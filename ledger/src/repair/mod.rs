//! Repair: every entry of a closed ledger on as many bookies as it should be on.
//!
//! * The *auditor*, elected among all who run repair, compares what ledgers name with the bookies there are, and files
//!   tasks. A bookie that is away for less than the grace is not lost: it may be restarting. From time to time it asks
//!   bookies which entries they hold, and checks digests.
//! * *Workers*, on all bookies, take tasks: copy entries first, then change metadata, by compare-and-swap and only
//!   while they hold the ledger's lock. A crash leaves a copy too many, never a name too many.
//!
//! Only closed ledgers are touched. A link of a log is closed by its owner and by nobody else. A foreign ledger that
//! is open and has lost a bookie is listed as *at risk*, and recovered only by an operator, or by a setting that is
//! off: recovery fences a writer that may be alive.

mod auditor;
mod check;
mod copying;
mod lost;
mod mend;
mod metrics;
mod operate;
mod pace;
mod tasks;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

pub use auditor::{Audit, audit};
pub use check::{Checked, check_ledger};
pub use lost::Lost;
pub use mend::{Mended, Trouble, mend};
pub use metrics::Metrics;
pub use operate::{
    AtRiskLedger, Remaining, Status, Task, cancel_decommission, decommission, drain, finish_decommission,
    pause, remaining, replace, retry, status, undrain,
};
pub use pace::Pace;
pub use tasks::{file, lock};

use crate::Cluster;

/// The office of the auditor.
pub const AUDITOR: &str = "auditor";

#[derive(Clone, Debug)]
pub struct Settings {
    /// Who this is, for people: a bookie's id.
    pub name: String,
    /// A bookie that is away for less than this is not lost. More than a restart takes.
    pub grace: Duration,
    /// How often the auditor looks who is there.
    pub look_every: Duration,
    /// How often it compares all ledgers with the bookies, though nothing changed.
    pub audit_every: Duration,
    /// How often it asks bookies for their entries, and how much of them is read to check digests.
    pub check_every: Duration,
    pub checked_percent: u8,
    /// Tasks under way at once in this process, and bytes per second that they copy together.
    pub workers: usize,
    pub bytes_per_second: u64,
    /// How long a worker rests when there is nothing to do.
    pub idle: Duration,
    /// Of the auditor's office and of locks on ledgers.
    pub lease: Duration,
    /// After so many failures a ledger is set aside; each full audit gives it one more chance.
    pub attempts: u32,
    /// Recovers foreign ledgers that are open and have lost a bookie, which fences their writers. Links of logs never.
    pub closes_open_ledgers: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            name: String::new(),
            grace: Duration::from_secs(15 * 60),
            look_every: Duration::from_secs(5),
            audit_every: Duration::from_secs(60 * 60),
            check_every: Duration::from_secs(24 * 60 * 60),
            checked_percent: 1,
            workers: 2,
            bytes_per_second: 32 << 20,
            idle: Duration::from_secs(5),
            lease: Duration::from_secs(10),
            attempts: 8,
            closes_open_ledgers: false,
        }
    }
}

/// Auditor and workers of one process. Dropping it stops them where they are.
pub struct Autorecovery {
    pub metrics: Arc<Metrics>,
    tasks: Vec<JoinHandle<()>>,
}

/// Stands for auditor, and works on tasks, until what it returns is dropped.
pub fn run_autorecovery(cluster: &Cluster, settings: &Settings) -> Autorecovery {
    let metrics = Arc::new(Metrics::default());
    let pace = Pace::new(settings.bytes_per_second);
    let auditor = auditor::run(cluster.clone(), settings.clone(), pace.clone(), metrics.clone());
    let mut tasks = vec![tokio::spawn(auditor)];
    for _ in 0..settings.workers {
        let worker = worker::run(cluster.clone(), settings.clone(), pace.clone(), metrics.clone());
        tasks.push(tokio::spawn(worker));
    }
    Autorecovery { metrics, tasks }
}

impl Drop for Autorecovery {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

#[cfg(test)]
mod tests;
