//! Reads everything again, slowly, and checks the checksums. What is damaged is marked for repair, and its ledger is
//! in limbo until it is whole again.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::{EntryId, LedgerId};
use tokio::time::sleep;

use super::repair_mark;
use crate::SegmentId;
use crate::service::Core;
use crate::shelf::Order;

/// How much is read at once.
const STEP: u64 = 1 << 20;

type Damaged = Vec<(LedgerId, EntryId)>;

pub(super) async fn run(core: &Core) {
    loop {
        sleep(core.settings.scrub_every).await;
        pass(core).await;
    }
}

/// One pass over all segments of all shelves.
pub(crate) async fn pass(core: &Core) {
    for shelf in 0..core.shelves.len() {
        for segment in core.segments(shelf).await {
            scrub(core, shelf, segment.segment).await;
        }
    }
    core.metrics.scrub_passes.add(1);
}

async fn scrub(core: &Core, shelf: usize, segment: SegmentId) {
    let pause = Duration::from_secs(1).mul_f64(STEP as f64 / core.settings.scrub_rate as f64);
    let Some(reader) = core.placement.reader(shelf) else { return };
    let mut from = 0;
    loop {
        // A segment that was dropped meanwhile has nothing to check.
        let Ok((damaged, next)) = reader.verify(segment, from, STEP) else { return };
        note(core, shelf, damaged).await;
        core.metrics.scrubbed_bytes.add(STEP);
        match next {
            Some(next) => from = next,
            None => return,
        }
        sleep(pause).await;
    }
}

/// Limbo first, on this disk; then the mark for those who repair.
pub(super) async fn note(core: &Core, shelf: usize, damaged: Damaged) {
    let mut ledgers: BTreeMap<LedgerId, Vec<EntryId>> = BTreeMap::new();
    for (ledger, entry) in damaged {
        // A second look: a disk may fail a read once and not again.
        if core.placement.reader(shelf).is_some_and(|reader| reader.read(ledger, entry).is_ok()) {
            continue;
        }
        ledgers.entry(ledger).or_default().push(entry);
    }
    for (ledger, entries) in ledgers {
        core.metrics.damaged.add(entries.len() as u64);
        core.order(shelf, vec![Order::Limbo(ledger)]).await;
        let lacks = entries.iter().map(|entry| (entry.0, entry.0)).collect();
        repair_mark::file(core, ledger, lacks).await;
    }
}
