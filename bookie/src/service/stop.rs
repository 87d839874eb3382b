//! The orderly end.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Core;
use super::alarm::Reason;
use super::keeper::Work;
use crate::life::Leaving;

/// A disk that takes longer than this is left as it is: the next start replays what it has.
const PATIENCE: Duration = Duration::from_millis(1500);

pub async fn stop(core: &Core) {
    core.stopping.store(true, Ordering::Relaxed);
    let closing = core.shelves.iter().map(|shelf| {
        let (then, closed) = oneshot::channel();
        shelf.queue.push([Work::Close(then)]);
        closed
    });
    let closing: Vec<_> = closing.collect();
    let all_closed = async {
        for closed in closing {
            if closed.await.is_err() {
                return false;
            }
        }
        true
    };
    core.leaving.send_replace(Leaving::Asked);
    let mut leaving = core.leaving.subscribe();
    // What is waited for holds a lock: it must not cross an await.
    let gone = async { leaving.wait_for(|leaving| *leaving == Leaving::Gone).await.is_ok() };
    let (closed, gone) = tokio::join!(timeout(PATIENCE, all_closed), timeout(PATIENCE, gone));
    match closed {
        Ok(true) => tracing::info!(bookie = %core.id, "all disks are flushed and marked as clean"),
        _ => {
            tracing::warn!(bookie = %core.id, "a disk was not flushed in time: the next start replays its log")
        }
    }
    if gone.is_err() {
        tracing::warn!(bookie = %core.id, "the registration could not be withdrawn in time: it expires by itself");
    }
    core.alarm.ring(Reason::Stopped);
    core.close();
}
