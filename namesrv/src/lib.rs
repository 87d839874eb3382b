//! The name server: brokers tell it what they serve, clients ask it where. It keeps that in memory only, knows no other
//! name server, and no etcd.
//!
//! * [`registry`] — registrations, and when they end; [`routes`] — what is answered from them. Pure.
//! * [`kept`] — keys and values that outlive a restart.
//! * [`serve`] — a request's way from its frame to its reply.
//! * [`http`] — the address endpoint, metrics, health.

mod error;
pub mod http;
pub mod kept;
pub mod registry;
pub mod routes;
pub mod serve;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::time::{Instant, sleep};

pub use error::Error;
use kept::{Kept, Shelf};
use registry::{Channel, Registry};

/// How often silent brokers are looked for.
const SCAN: Duration = Duration::from_secs(5);

/// What a name server runs with.
#[derive(Clone, Default)]
pub struct Settings {
    /// Where keys and values are kept.
    pub shelf: Shelf,
    /// What `/rocketmq/nsaddr` says: addresses of name servers, parted by semicolons.
    pub nsaddr: String,
    /// The port that `getNamesrvConfig` shows.
    pub port: u16,
}

/// A name server without its sockets: the handler for [`net::remoting::Server`].
pub struct NameServer {
    settings: Settings,
    registry: Mutex<Registry>,
    kept: RwLock<Arc<Kept>>,
    /// Held while a change of `kept` is made durable.
    keeping: Arc<tokio::sync::Mutex<()>>,
    started: Instant,
    counts: Counts,
}

/// For metrics.
#[derive(Default)]
struct Counts {
    requests: AtomicU64,
    routes: AtomicU64,
    routes_missing: AtomicU64,
    registrations: AtomicU64,
    refused: AtomicU64,
    dropped: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl NameServer {
    pub fn new(settings: Settings) -> Result<Arc<NameServer>, Error> {
        let kept = settings.shelf.load()?;
        Ok(Arc::new(NameServer {
            settings,
            registry: Mutex::default(),
            kept: RwLock::new(Arc::new(kept)),
            keeping: Arc::default(),
            started: Instant::now(),
            counts: Counts::default(),
        }))
    }

    /// Drops brokers that have been silent for too long, for ever.
    pub async fn watch(self: Arc<NameServer>) {
        loop {
            sleep(SCAN).await;
            let gone = self.registry.lock().expire(self.now());
            self.tell_gone(&gone, "silent for too long");
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn kept(&self) -> Arc<Kept> {
        self.kept.read().clone()
    }

    fn lost(&self, channel: Channel) {
        let gone = self.registry.lock().closed(channel);
        self.tell_gone(&gone, "its connection is closed");
    }

    fn tell_gone(&self, gone: &[String], why: &str) {
        for broker in gone {
            count(&self.counts.dropped);
            tracing::info!("{broker} is dropped: {why}");
        }
    }

    /// Makes a change of what is kept: durable first, visible then.
    async fn keep(&self, change: impl FnOnce(&mut Kept)) -> Result<(), Error> {
        let _one_at_a_time = self.keeping.lock().await;
        let mut next = Kept::clone(&self.kept());
        change(&mut next);
        let (shelf, next) = (self.settings.shelf.clone(), Arc::new(next));
        let saving = next.clone();
        let saved = tokio::task::spawn_blocking(move || shelf.save(&saving)).await;
        saved.map_err(|error| Error::Kept(error.to_string()))??;
        *self.kept.write() = next;
        Ok(())
    }
}
