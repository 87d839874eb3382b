//! How a bookie ends, and how everybody in it hears of that.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

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

#[derive(Clone)]
pub struct Alarm {
    rung: Arc<watch::Sender<Option<Reason>>>,
}

impl Default for Alarm {
    fn default() -> Alarm {
        Alarm { rung: Arc::new(watch::Sender::new(None)) }
    }
}

impl Alarm {
    /// The first reason stays.
    pub fn ring(&self, reason: Reason) {
        self.rung.send_if_modified(|now| {
            let first = now.is_none();
            if first {
                *now = Some(reason);
            }
            first
        });
    }

    pub fn fail(&self, error: &Error) {
        tracing::error!(%error, "the bookie stops");
        self.ring(Reason::Failed(error.to_string().into()));
    }

    pub fn is_rung(&self) -> bool {
        self.rung.borrow().is_some()
    }

    pub async fn rung(&self) -> Reason {
        let mut listening = self.rung.subscribe();
        match listening.wait_for(Option::is_some).await.map(|reason| reason.clone()) {
            Ok(Some(reason)) => reason,
            // The sender is ours: it cannot go while we wait.
            _ => Reason::Stopped,
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
