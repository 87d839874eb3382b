//! An operator who wants the bookie emptied says so in metadata: it is then read-only for new ledgers, of any client.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::sleep;

use crate::service::Core;

pub(crate) async fn watch(core: Arc<Core>) {
    let key = core.ledgers.scope().drain(&core.id);
    loop {
        // While metadata is out of reach it stays as it was.
        if let Ok(found) = core.ledgers.store().get(&key).await {
            let was = core.draining.swap(found.is_some(), Ordering::Relaxed);
            if was != found.is_some() {
                tracing::info!(bookie = %core.id, draining = !was, "told by metadata");
            }
        }
        sleep(core.settings.lease).await;
    }
}
