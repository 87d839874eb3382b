//! What a bookie does when nobody asks: epochs, limbo, deleted ledgers, sparse segments, checksums. One lane of the
//! lowest priority; every loop sleeps between steps.

pub(crate) mod compaction;
mod epoch;
pub(crate) mod gc;
mod limbo;
pub(crate) mod over_replicated;
mod repair_mark;
pub mod retained;
pub(crate) mod scrub;

use std::sync::Arc;

use crate::identity::Claim;
use crate::service::{Core, Hold};

/// All of it, until the bookie ends.
pub(crate) async fn run(core: Arc<Core>, mut hold: Hold, mut claim: Claim, epoch: u64) {
    if !limbo::narrow_down(&core, &mut hold, &mut claim, epoch).await {
        return;
    }
    tokio::join!(
        epoch::run(&core, hold, claim, epoch),
        limbo::run(&core),
        gc::run(&core),
        over_replicated::run(&core),
        compaction::run(&core),
        scrub::run(&core),
    );
}

/// How many ledgers are asked of metadata at once.
const PAGE: usize = 500;
