//! `stratamq standalone`: everything in one process, in one folder: metadata, a bookie that is reached without
//! sockets, a name server, and a broker with one virtual broker.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::bookie::{Bookie, Run, Surroundings};
use ::broker::own::{Broker, Settings};
use ::metadata::{Ledgers, Scope, Store, registry};
use net::Local;
use net::http::{Http, Response};
use protocol::BookieId;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use super::broker::{Reach, described};
use super::process::{Stop, bind, serve_http};
use super::{bookie::volume, broker, namesrv};
use crate::cluster;
use crate::config::{Copies, MetadataUri, StandaloneSettings};
use crate::error::{Error, Outcome};
use crate::output::say;

/// The name of the one bookie; nobody dials it.
const BOOKIE: &str = "standalone:3181";
/// What takes longer than this at the start is broken.
const START: Duration = Duration::from_secs(60);

/// Everything, in the order in which it was started.
pub struct Running {
    _store: Arc<dyn Store>,
    bookie: Arc<Bookie>,
    namesrv: namesrv::Running,
    broker: Arc<Broker>,
    _http: Option<Http>,
}

pub async fn run(settings: StandaloneSettings) -> Outcome {
    let began = Instant::now();
    let mut stop = Stop::listen()?;
    let running = tokio::select! {
        biased;
        () = stop.asked() => return Ok(()),
        started = timeout(START, Running::start(&settings)) => {
            started.map_err(|_| Error::Failed(format!("it did not start within {} s", START.as_secs())))??
        }
    };
    let namesrv = running.namesrv.address();
    say!("StrataMQ is ready after {} ms. Its name server is {namesrv}.", began.elapsed().as_millis());
    say!("Try: stratamq message send hello 'Hello, world' --namesrv {namesrv}");
    let failed = tokio::select! {
        biased;
        reason = running.bookie.stopped() => Some(reason),
        () = stop.asked() => None,
    };
    running.stop().await;
    match failed {
        Some(::bookie::Reason::Failed(why)) => Err(Error::Failed(format!("storage has failed: {why}"))),
        _ => Ok(()),
    }
}

impl Running {
    /// Binds its addresses first: a port in use is told before a disk is touched.
    pub async fn start(settings: &StandaloneSettings) -> Outcome<Running> {
        let listener = bind("namesrv", &settings.namesrv).await?;
        let http = bind("http", &settings.http).await?;
        let reach = Reach::find(&settings.broker, &settings.advertise, settings.store_host).await?;
        let data = folder(settings)?;

        let (store, scope) = open_metadata(&data.join("metadata")).await?;
        let ledgers = Ledgers::new(store.clone(), scope.clone(), rand::random());
        let bookie = start_bookie(settings, &data.join("bookie"), ledgers.clone()).await?;
        let local = Arc::new(Local::default());
        local.insert(bookie.id().clone(), bookie.clone());
        let kept = data.join("namesrv");
        let namesrv = namesrv::Running::start(listener, Some(&kept), settings.told()).await?;
        let own = Settings {
            namesrvs: vec![namesrv.address().to_string()],
            ..described(&settings.cluster, 1, &settings.broker, reach, settings.memory, &settings.rocketmq)
        };
        let directory = registry::follow(store.clone(), scope).await;
        let directory = directory.map_err(|error| Error::cannot("list the bookie", error))?;
        let cluster = ledger::Cluster::new(local, ledgers, rand::random());
        let broker = Arc::new(broker::start(&cluster, directory, own, Copies(1, 1, 1)).await?);
        broker.ready(1).await;
        let http = serve(http, &bookie, &namesrv, &broker)?;
        Ok(Running { _store: store, bookie, namesrv, broker, _http: http })
    }

    /// In reverse order: nothing is asked of what is gone already.
    pub async fn stop(self) {
        drop(self._http);
        self.broker.stop().await;
        self.namesrv.stop().await;
        self.bookie.stop().await;
    }
}

fn folder(settings: &StandaloneSettings) -> Outcome<PathBuf> {
    let folder = settings.data.0.first().cloned().unwrap_or_default();
    let cannot = |error| Error::cannot(format!("use the folder {}", folder.display()), error);
    std::fs::create_dir_all(&folder).map_err(cannot)?;
    folder.canonicalize().map_err(cannot)
}

async fn open_metadata(folder: &Path) -> Outcome<(Arc<dyn Store>, Scope)> {
    let uri: MetadataUri = format!("embedded://{}", folder.display()).parse().map_err(Error::Failed)?;
    let (store, scope) = cluster::open(&uri).await?;
    cluster::format(&*store, &scope).await?;
    Ok((store, scope))
}

/// A bookie that takes ledgers.
async fn start_bookie(
    settings: &StandaloneSettings,
    folder: &Path,
    ledgers: Ledgers,
) -> Outcome<Arc<Bookie>> {
    let id: BookieId = BOOKIE.parse().map_err(|error| Error::cannot("name the bookie", error))?;
    let small = |name: &str, size: u64| {
        u32::try_from(size).map_err(|_| Error::Usage(format!("{name}: less than 4GB")))
    };
    let described = ::bookie::settings::Settings {
        address: BOOKIE.into(),
        memory: settings.bookie_memory.0,
        segment_bytes: small("segment_size", settings.segment_size.0)?,
        reserve_bytes: small("reserve", settings.reserve.0)?,
        index_reserve: settings.index_reserve.0,
        ..::bookie::settings::Settings::new(id)
    };
    described.check().map_err(Error::Usage)?;
    let surroundings = Surroundings { seed: rand::random(), run: Run::Threads };
    let bookie = Bookie::start(described, vec![volume(folder)?], ledgers, surroundings).await;
    let bookie = Arc::new(bookie.map_err(|error| Error::cannot("start the bookie", error))?);
    // It registers a moment after it serves.
    while !bookie.health().ready {
        sleep(Duration::from_millis(1)).await;
    }
    Ok(bookie)
}

fn serve(
    listener: Option<TcpListener>,
    bookie: &Arc<Bookie>,
    namesrv: &namesrv::Running,
    broker: &Arc<Broker>,
) -> Outcome<Option<Http>> {
    let (bookie, namesrv, broker) = (bookie.clone(), namesrv.server.clone(), broker.clone());
    serve_http(
        listener,
        Arc::new(move |path| {
            let said = match path {
                "/metrics" => {
                    let parts = [broker.http(path).body, namesrv.http(path).body, bookie.metrics_text()];
                    Response::metrics(parts.concat())
                }
                "/health" | "/ready" => {
                    let health = bookie.health();
                    match health.alive && (health.ready || path == "/health") {
                        true => broker.http(path),
                        false => Response::text(503, format!("{}\n", health.why)),
                    }
                }
                other => namesrv.http(other),
            };
            Box::pin(std::future::ready(said))
        }),
    )
}
