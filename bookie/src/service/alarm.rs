//! How a bookie ends, and how everybody in it hears of that.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::Error;

/// Why a bookie does not serve any more.
#[derive(Clone, Debug)]
pub enum Reason {
    /// It was told to stop, and has.
    Stopped,
    /// It cannot go on safely: the process should end, with this text.
    Failed(Arc<str>),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Stopped => f.write_str("stopped"),
            Reason::Failed(why) => f.write_str(why),
        }
    }
}

#[derive(Clone, Default)]
pub struct Alarm(Arc<Shared>);

#[derive(Default)]
struct Shared {
    reason: Mutex<Option<Reason>>,
    /// Wakes in the order in which they began to wait.
    rung: Notify,
}

impl Alarm {
    /// The first reason stays.
    pub fn ring(&self, reason: Reason) {
        self.0.reason.lock().get_or_insert(reason);
        self.0.rung.notify_waiters();
    }

    pub fn fail(&self, error: &Error) {
        tracing::error!(%error, "the bookie stops");
        self.ring(Reason::Failed(error.to_string().into()));
    }

    pub fn is_rung(&self) -> bool {
        self.0.reason.lock().is_some()
    }

    pub async fn rung(&self) -> Reason {
        loop {
            let mut rung = pin!(self.0.rung.notified());
            rung.as_mut().enable();
            if let Some(reason) = self.0.reason.lock().clone() {
                return reason;
            }
            rung.await;
        }
    }
}

/// Rings if it is dropped before it is told that all went well: a lane that panicked.
pub struct Guard(Option<Alarm>);

impl Guard {
    pub fn new(alarm: &Alarm) -> Guard {
        Guard(Some(alarm.clone()))
    }

    pub fn all_well(mut self) {
        self.0 = None;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(alarm) = self.0.take() {
            alarm.ring(Reason::Failed("a lane of the bookie ended unexpectedly; its log says where".into()));
        }
    }
}
