//! A process of the simulated world: what can be killed and paused.
//!
//! A process touches the world only through its edges (network, metadata, disks). Killing it cuts them all for
//! good, so that a task which outlives its abortion can do no harm; pausing it holds back everything that crosses.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Which process; unique for the run: a restarted bookie is another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId(pub u32);

pub struct Process {
    pub id: ProcessId,
    pub name: String,
    life: Mutex<Life>,
    resumed: Notify,
}

#[derive(Default)]
struct Life {
    dead: bool,
    paused: bool,
    /// What arrived while paused.
    held: Vec<Box<dyn FnOnce() + Send>>,
}

impl Process {
    pub fn new(id: ProcessId, name: impl Into<String>) -> Arc<Process> {
        Arc::new(Process { id, name: name.into(), life: Mutex::default(), resumed: Notify::new() })
    }

    pub fn is_dead(&self) -> bool {
        self.life.lock().dead
    }

    pub fn is_paused(&self) -> bool {
        self.life.lock().paused
    }

    pub fn kill(&self) {
        let mut life = self.life.lock();
        life.dead = true;
        let held = std::mem::take(&mut life.held);
        drop(life);
        drop(held);
    }

    pub fn pause(&self) {
        self.life.lock().paused = true;
    }

    pub fn resume(&self) {
        let mut life = self.life.lock();
        life.paused = false;
        let held = std::mem::take(&mut life.held);
        drop(life);
        held.into_iter().for_each(|action| action());
        self.resumed.notify_waiters();
    }

    /// Something crosses the edge into the process: now, when it resumes, or never once it is dead.
    pub fn enter(&self, action: impl FnOnce() + Send + 'static) {
        let mut life = self.life.lock();
        if life.dead {
            return;
        }
        if life.paused {
            life.held.push(Box::new(action));
            return;
        }
        drop(life);
        action();
    }

    /// Waits while the process is paused; for ever once it is dead.
    pub async fn awake(&self) {
        loop {
            let resumed = self.resumed.notified();
            tokio::pin!(resumed);
            resumed.as_mut().enable();
            let (dead, paused) = {
                let life = self.life.lock();
                (life.dead, life.paused)
            };
            match (dead, paused) {
                (true, _) => std::future::pending().await,
                (false, true) => resumed.await,
                (false, false) => return,
            }
        }
    }
}
