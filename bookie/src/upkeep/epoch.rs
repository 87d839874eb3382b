//! A bookie that is written to takes a higher epoch now and then: on its disks first, in metadata afterwards. A disk
//! that is put back from a snapshot has a lower one than metadata.

use tokio::time::sleep;

use crate::Error;
use crate::identity::Claim;
use crate::service::{Core, Hold};

pub(super) async fn run(core: &Core, hold: Hold, mut claim: Claim, mut epoch: u64) {
    let mut written = 0;
    // What metadata may not have heard of yet.
    let mut untold = false;
    loop {
        sleep(core.settings.epoch_every).await;
        let now = core.metrics.added_bytes.get();
        if now == written && !untold {
            continue;
        }
        if !untold {
            epoch += 1;
            if let Err(error) = hold.write(core.shelves.iter().map(|shelf| &*shelf.disk), epoch) {
                return fail(core, &error);
            }
            written = now;
        }
        untold = match claim.advance(&hold.membership(epoch)).await {
            Ok(()) => false,
            // Somebody else has the name, and the clients: whatever is acknowledged here may be lost to them.
            Err(error @ Error::Rival(_)) => return fail(core, &error),
            Err(error) => {
                tracing::warn!(bookie = %core.id, %error, "metadata has not heard of the new epoch; trying again");
                true
            }
        };
    }
}

pub(super) fn fail(core: &Core, error: &Error) {
    core.alarm.fail(error);
    core.close();
}
