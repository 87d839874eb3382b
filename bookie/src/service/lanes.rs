//! What runs the parts of a bookie: threads in production, tasks in simulations. The futures are the same.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::alarm::{Alarm, Guard};

/// Where lanes that touch disks run.
#[derive(Clone)]
pub enum Run {
    /// A thread each; the futures never wait for a disk on the runtime's own threads.
    Threads,
    /// Tasks, for one thread with paused time. `turn`: how long the disk takes for a group.
    Tasks { turn: Option<Arc<dyn Fn() -> Duration + Send + Sync>> },
}

/// All lanes of a bookie. Dropped, tasks are aborted; threads end because what they wait for is closed.
pub struct Lanes {
    run: Run,
    alarm: Alarm,
    tasks: JoinSet<()>,
}

impl Lanes {
    pub fn new(run: Run, alarm: Alarm) -> Lanes {
        Lanes { run, alarm, tasks: JoinSet::new() }
    }

    pub fn turn(&self) -> Option<Arc<dyn Fn() -> Duration + Send + Sync>> {
        match &self.run {
            Run::Threads => None,
            Run::Tasks { turn } => turn.clone(),
        }
    }

    /// A lane that touches a disk.
    pub fn disk(&mut self, name: String, lane: impl Future<Output = ()> + Send + 'static) {
        self.lane(name, false, lane);
    }

    /// A lane that touches disks and may be slow: it gets what the others leave.
    pub fn background(&mut self, name: String, lane: impl Future<Output = ()> + Send + 'static) {
        let alarm = self.alarm.clone();
        self.lane(name, true, async move {
            tokio::select! {
                biased;
                _ = alarm.rung() => {}
                () = lane => {}
            }
        });
    }

    /// A lane that touches no disk.
    pub fn task(&mut self, lane: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(lane);
    }

    fn lane(&mut self, name: String, low: bool, lane: impl Future<Output = ()> + Send + 'static) {
        let guard = Guard::new(&self.alarm);
        let lane = async move {
            lane.await;
            guard.all_well();
        };
        match self.run {
            Run::Tasks { .. } => drop(self.tasks.spawn(lane)),
            Run::Threads => {
                let runtime = tokio::runtime::Handle::current();
                let thread = std::thread::Builder::new().name(name.clone()).spawn(move || {
                    if low && let Err(error) = rustix::process::nice(19) {
                        tracing::warn!(%error, "upkeep runs at normal priority");
                    }
                    runtime.block_on(lane);
                });
                if let Err(error) = thread {
                    tracing::error!(lane = name, %error, "a thread could not be started");
                }
            }
        }
    }
}
