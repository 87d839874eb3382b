//! Free space and load: looked at every tick, and more often while there is little room. Shelves without room look for
//! some; ledgers go where there is most.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::load::Load;
use crate::service::{Core, Work};

/// Senders wait for space to come back.
const SOON: Duration = Duration::from_millis(100);

pub(crate) async fn watch(core: Arc<Core>) {
    let (mut flushed, mut load) = ((Instant::now(), 0), Load::new(Instant::now()));
    loop {
        let room = core.room_changed.notified();
        let tick = core.settings.tick;
        let pause = sleep(if core.is_short() { tick.min(SOON) } else { tick });
        tokio::select! {
            biased;
            () = room => {}
            () = pause => {}
        }
        look(&core);
        let written = core.metrics.added_bytes.get();
        core.written_per_second.store(load.note(Instant::now(), written), Ordering::Relaxed);
        let flush = flushed.0.elapsed() >= core.settings.flush_every && written != flushed.1;
        if flush {
            flushed = (Instant::now(), written);
        }
        for shelf in &core.shelves {
            if flush || !shelf.plenty.load(Ordering::Relaxed) {
                shelf.queue.push([Work::Tick { flush }]);
            }
        }
    }
}

/// Reads how full the disks are.
pub(crate) fn look(core: &Core) {
    let (mut free, mut total) = (0, 0);
    for (number, shelf) in core.shelves.iter().enumerate() {
        let Ok(space) = shelf.disk.space() else { continue };
        let takes = shelf.writable.load(Ordering::Relaxed);
        core.placement.set_free(number, if takes { space.free } else { 0 });
        free += space.free;
        total += space.total;
    }
    core.space.free.store(free, Ordering::Relaxed);
    core.space.total.store(total, Ordering::Relaxed);
    core.metrics.disk_free.set(free);
    core.metrics.disk_total.set(total);
    core.metrics.writable.set(u64::from(core.is_writable()));
}
