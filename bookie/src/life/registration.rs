//! Registered for as long as it lives: writable while it takes normal adds, else read-only.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use metadata::registry::{Registration, RegistrationState};
use metadata::schema::Published;
use tokio::time::{Instant, sleep};

use super::{Leaving, load};
use crate::service::Core;

const RETRY: Duration = Duration::from_secs(1);
/// Everybody who writes reads what is published: the load alone is told so often at most.
const LOAD_EVERY: Duration = Duration::from_secs(10);

pub(crate) async fn keep(core: Arc<Core>) {
    let stay = async {
        let (registration, mut told) = register(&core).await;
        let mut state = registration.state();
        let mut told_at = Instant::now();
        loop {
            let room = core.room_changed.notified();
            let registered = matches!(*state.borrow_and_update(), RegistrationState::Registered { .. });
            core.registered.store(registered, Ordering::Relaxed);
            let now = (core.is_writable(), published(&core));
            if now.0 != told.0 {
                tracing::info!(bookie = %core.id, writable = now.0, "the registration changes");
                registration.set_writable(now.0);
            }
            let loaded = load::differs(now.1.written_per_second, told.1.written_per_second);
            if now.0 != told.0 || differs(&now.1, &told.1) || loaded && told_at.elapsed() >= LOAD_EVERY {
                registration.publish(now.1.clone());
                (told, told_at) = (now, Instant::now());
            }
            tokio::select! {
                biased;
                () = asked_to_leave(&core) => return registration,
                _ = state.changed() => {}
                () = room => {}
                () = sleep(core.settings.tick) => {}
            }
        }
    };
    tokio::select! {
        biased;
        registration = stay => registration.withdraw().await,
        // It was never registered: there is nothing to withdraw.
        () = asked_to_leave(&core) => {}
    }
    core.registered.store(false, Ordering::Relaxed);
    core.leaving.send_replace(Leaving::Gone);
}

async fn asked_to_leave(core: &Core) {
    // The sender is the core's: it cannot go while we wait.
    let _ = core.leaving.subscribe().wait_for(|leaving| *leaving != Leaving::Staying).await;
}

/// Registers, and returns what it was registered with: it may have changed meanwhile.
async fn register(core: &Core) -> (Registration, (bool, Published)) {
    loop {
        let (store, scope) = (core.ledgers.store().clone(), core.ledgers.scope().clone());
        let told = (core.is_writable(), published(core));
        let started =
            Registration::start(store, scope, core.id.clone(), told.1.clone(), told.0, core.settings.lease);
        match started.await {
            Ok(registration) => return (registration, told),
            Err(error) => {
                tracing::warn!(bookie = %core.id, %error, "not registered; trying again");
                sleep(RETRY).await;
            }
        }
    }
}

fn published(core: &Core) -> Published {
    Published {
        address: core.settings.address.clone(),
        zone: core.settings.zone.clone(),
        incarnation: core.incarnation,
        http: core.settings.http.clone(),
        free_bytes: core.space.free.load(Ordering::Relaxed),
        total_bytes: core.space.total.load(Ordering::Relaxed),
        short: core.is_short(),
        written_per_second: Some(core.written_per_second.load(Ordering::Relaxed)),
    }
}

/// Whether the difference is worth a write: space counts in hundredths of the disks.
fn differs(now: &Published, told: &Published) -> bool {
    now.short != told.short
        || now.total_bytes != told.total_bytes
        || now.free_bytes.abs_diff(told.free_bytes) > now.total_bytes / 100
}
