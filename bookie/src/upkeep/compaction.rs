//! Dead segments go; of sparse ones the live entries are copied behind the newest, then they go too.

use std::time::Duration;

use tokio::time::sleep;

use crate::SegmentId;
use crate::service::Core;
use crate::shelf::SegmentUse;

/// How much is copied in one group of the shelf: little, so that adds do not wait for it.
const STEP: u64 = 256 << 10;

pub(super) async fn run(core: &Core) {
    loop {
        sleep(core.settings.compact_every).await;
        round(core).await;
    }
}

/// One look at all segments.
pub(crate) async fn round(core: &Core) {
    let (mut count, mut written, mut live, mut lag) = (0, 0, 0, 0);
    for shelf in 0..core.shelves.len() {
        let segments = core.segments(shelf).await;
        count += segments.len();
        written += segments.iter().map(|segment| segment.written).sum::<u64>();
        live += segments.iter().map(|segment| segment.live).sum::<u64>();
        for dead in segments.iter().filter(|segment| segment.sealed && segment.live == 0) {
            drop_segment(core, shelf, dead.segment).await;
        }
        let sparse = sparse(&segments, core.settings.compact_below);
        lag += sparse.len();
        // The emptiest gives the most room for the least copying; the others wait for the next round, when what is
        // live may be less.
        if let Some(segment) = sparse.first() {
            compact(core, shelf, segment.segment).await;
        }
    }
    core.metrics.segments.set(count as u64);
    core.metrics.segment_bytes.set(written);
    core.metrics.live_bytes.set(live);
    core.metrics.compaction_lag.set(lag as u64);
}

/// Sealed segments with little in them, the emptiest first.
fn sparse(segments: &[SegmentUse], below: u8) -> Vec<SegmentUse> {
    let percent = |segment: &SegmentUse| segment.live.saturating_mul(100) / segment.written.max(1);
    let is_sparse =
        |segment: &&SegmentUse| segment.sealed && segment.live > 0 && percent(segment) < u64::from(below);
    let mut sparse: Vec<SegmentUse> = segments.iter().filter(is_sparse).copied().collect();
    sparse.sort_by_key(|segment| (percent(segment), segment.segment));
    sparse
}

async fn compact(core: &Core, shelf: usize, segment: SegmentId) {
    let mut from = 0;
    let pause = Duration::from_secs(1).mul_f64(STEP as f64 / core.settings.compact_rate as f64);
    loop {
        match core.copy(shelf, segment, from, STEP).await {
            Some(Some(next)) => from = next,
            Some(None) => break,
            None => return,
        }
        core.metrics.compacted_bytes.add(STEP);
        sleep(pause).await;
    }
    drop_segment(core, shelf, segment).await;
}

async fn drop_segment(core: &Core, shelf: usize, segment: SegmentId) {
    if core.drop_segment(shelf, segment).await {
        core.metrics.segments_dropped.add(1);
        tracing::debug!(shelf, %segment, "segment dropped");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_emptiest_sealed_segments_are_compacted_first() {
        let of = |id, live, sealed| SegmentUse { segment: SegmentId(id), written: 100, live, sealed };
        let segments = [of(1, 40, true), of(2, 10, true), of(3, 5, false), of(4, 90, true), of(5, 0, true)];
        let order: Vec<u32> = sparse(&segments, 50).iter().map(|segment| segment.segment.0).collect();
        assert_eq!(order, [2, 1]);
    }
}
