//! `stratamq bookie`: a storage process, from folders and sockets to its end.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bookie::index::rocks::RocksIndex;
use bookie::settings::{Budgets, OnLostData, Settings};
use bookie::{Bookie, Reason, Run, Surroundings, Volume};
use disk::real::Folder;
use ledger::repair;
use metadata::Ledgers;
use metadata::clocks::Publisher;
use metadata::schema::Clock;
use net::http::{Http, Response};
use net::server::Server;
use protocol::BookieId;

use super::process::{Stop, bind, serve_http};
use crate::cluster::{self, Cluster};
use crate::config::{BookieSettings, OnLost};
use crate::error::{Error, Outcome};
use crate::mq::now_ms;

/// Unanswered requests of a graceful stop are cut off after this.
const PATIENCE: Duration = Duration::from_secs(1);

/// Everything that a running bookie consists of; dropped, it is as dead as a killed process.
pub struct Running {
    pub bookie: Arc<Bookie>,
    server: Server,
    _http: Option<Http>,
}

/// What repair counts, once it runs.
pub type Repairing = Arc<OnceLock<Arc<repair::Metrics>>>;

/// Runs until a signal or a failure.
pub async fn run(settings: BookieSettings) -> Outcome {
    let mut stop = Stop::listen()?;
    let (store, scope) = cluster::open(&settings.metadata).await?;
    let ledgers = Ledgers::new(store.clone(), scope.clone(), rand::random());
    // Before anything is written to disk: a cluster that is half formatted is refused here.
    let (clocks, at) = (store.clone(), scope.clone());
    let cluster = Cluster::over(&settings.metadata, store, scope, net::client::Settings::default()).await?;
    let repairing: Repairing = Arc::default();
    let running = Running::start(&settings, ledgers, repairing.clone()).await?;
    let repair = repair::Settings {
        name: running.bookie.id().to_string(),
        grace: settings.lost_bookie_grace.0,
        bytes_per_second: settings.repair_rate.0,
        ..repair::Settings::default()
    };
    let repair = repair::run_autorecovery(&cluster.client, &repair);
    repairing.get_or_init(|| repair.metrics.clone());
    let name = format!("bookie-{}", running.bookie.id());
    let clock = tokio::spawn(publish_clock(Publisher::new(clocks, at, name)));
    tracing::info!(bookie = %running.bookie.id(), listen = %running.server.address(), "serving");
    let failed = tokio::select! {
        biased;
        reason = running.bookie.stopped() => Some(reason),
        () = stop.asked() => None,
    };
    drop(repair);
    clock.abort();
    match failed {
        Some(Reason::Failed(why)) => Err(Error::Failed(format!("the bookie has stopped: {why}"))),
        Some(Reason::Stopped) => Ok(()),
        None => {
            tracing::info!("stopping");
            running.stop().await;
            tracing::info!("stopped");
            Ok(())
        }
    }
}

/// Tells brokers what time it is here: for them to find out that their own clock is wrong.
async fn publish_clock(mut publisher: Publisher) {
    loop {
        let clock = Clock { wall: now_ms(), doubt: String::new() };
        if let Err(error) = publisher.publish(&clock).await {
            tracing::debug!(%error, "this machine's time cannot be published; trying again");
        }
        tokio::time::sleep(metadata::clocks::EVERY).await;
    }
}

impl Running {
    /// Binds its addresses first: a port in use is told before a disk is touched.
    pub async fn start(
        settings: &BookieSettings,
        ledgers: Ledgers,
        repairing: Repairing,
    ) -> Outcome<Running> {
        let listener = bind("listen", &settings.listen).await?;
        let listener = listener.ok_or_else(|| Error::Usage("listen is empty".into()))?;
        let http = bind("http", &settings.http).await?;
        let volumes = settings.data.0.iter().map(|folder| volume(folder)).collect::<Outcome<Vec<_>>>()?;
        let surroundings = Surroundings { seed: rand::random(), run: Run::Threads };
        let bookie = Bookie::start(described(settings)?, volumes, ledgers, surroundings).await;
        let bookie = Arc::new(bookie.map_err(|error| Error::cannot("start the bookie", error))?);
        // Requests under way are counted there and here: their bytes are the same.
        let memory = usize::try_from(Budgets::of(settings.memory.0).in_flight).unwrap_or(usize::MAX);
        let serving = net::server::Settings::new(bookie.id().to_string(), bookie.incarnation(), memory);
        let server = net::server::serve(listener, bookie.clone(), serving)
            .map_err(|error| Error::cannot(format!("serve on {}", settings.listen), error))?;
        let answering = bookie.clone();
        let handler: net::http::Handler = Arc::new(move |path| {
            Box::pin(http_answer(answering.clone(), repairing.clone(), path.to_string()))
        });
        let http = serve_http(http, handler)?;
        Ok(Running { bookie, server, _http: http })
    }

    /// No more requests, then no more bookie.
    pub async fn stop(self) {
        let stopping = self.bookie.clone();
        tokio::join!(stopping.stop(), self.server.stop(PATIENCE));
    }
}

pub(super) fn volume(folder: &Path) -> Outcome<Volume> {
    let failed =
        |error: std::io::Error| Error::cannot(format!("use the data folder {}", folder.display()), error);
    let disk = Arc::new(Folder::open(folder).map_err(failed)?);
    let index = Arc::new(RocksIndex::open(&folder.join("index")).map_err(failed)?);
    Ok(Volume { name: folder.display().to_string(), disk, index })
}

/// What the configuration comes to, for the bookie.
fn described(from: &BookieSettings) -> Outcome<Settings> {
    let dialled = from.dialled().to_string();
    let id: BookieId = dialled.parse().map_err(|error| Error::Usage(format!("advertise: {error}")))?;
    let small = |name: &str, size: u64| {
        u32::try_from(size).map_err(|_| Error::Usage(format!("{name}: less than 4GB")))
    };
    let settings = Settings {
        address: dialled,
        zone: from.zone.clone(),
        http: advertised_http(from),
        memory: from.memory.0,
        segment_bytes: small("segment_size", from.segment_size.0)?,
        reserve_bytes: small("reserve", from.reserve.0)?,
        index_reserve: from.index_reserve.0,
        on_lost_data: match from.on_lost_data {
            OnLost::Limbo => OnLostData::Limbo,
            OnLost::Refuse => OnLostData::Refuse,
        },
        lease: from.lease.0,
        flush_every: from.flush_every.0,
        gc_every: from.gc_every.0,
        over_replicated_every: from.over_replicated_every.0,
        compact_below: from.compact_below as u8,
        compact_rate: from.compact_rate.0,
        scrub_rate: from.scrub_rate.0,
        scrub_every: from.scrub_every.0,
        ..Settings::new(id)
    };
    settings.check().map_err(Error::Usage)?;
    Ok(settings)
}

/// HTTP on a wildcard is reached by the host that clients dial.
fn advertised_http(from: &BookieSettings) -> Option<String> {
    let http = &from.http;
    let host = if http.is_wildcard() { from.dialled().host() } else { http.host() };
    http.get().map(|_| format!("{host}:{}", http.port()))
}

async fn http_answer(bookie: Arc<Bookie>, repairing: Repairing, path: String) -> Response {
    let health = bookie.health();
    let state = |good: bool| match (good, health.why.as_str()) {
        (true, "") => Response::text(200, "ok\n"),
        (true, why) => Response::text(200, format!("ok, but {why}\n")),
        (false, why) => Response::text(503, format!("{why}\n")),
    };
    match path.as_str() {
        "/metrics" => {
            let repair = repairing.get().map(|metrics| metrics.text());
            Response::metrics(bookie.metrics_text() + &repair.unwrap_or_default())
        }
        "/health" => state(health.alive),
        "/ready" => state(health.ready),
        "/retained" => match bookie.why_retained().await.map(|retained| serde_json::to_string(&retained)) {
            Ok(Ok(body)) => Response::json(200, body),
            Ok(Err(error)) => Response::text(500, format!("{error}\n")),
            Err(error) => Response::text(503, format!("{error}\n")),
        },
        other => Response::not_found(other),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::Settings as _;

    #[test]
    fn defaults_of_the_file_are_the_bookies_own() -> Outcome {
        let mut from = BookieSettings::default();
        let set = from.set("advertise", "b-1:3181");
        assert_eq!(set, Ok(()));
        let id: BookieId = "b-1:3181".parse().map_err(|error| Error::cannot("parse", error))?;
        assert_eq!(format!("{:?}", described(&from)?), format!("{:?}", Settings::new(id)));
        Ok(())
    }

    #[test]
    fn metrics_that_the_manual_names_exist() {
        let manual = include_str!("../../../docs/operations.md");
        let alarms = manual.split("## Metrics and alarms").nth(1).and_then(|rest| rest.split("\n## ").next());
        let of_broker = broker::own::metrics::text(&BTreeMap::new(), None);
        let text =
            bookie::metrics::Metrics::default().text() + &repair::Metrics::default().text() + &of_broker;
        let rows = alarms.unwrap_or_default().lines().filter_map(|line| line.split('|').nth(1));
        let names = |cell: &'static str| cell.split('`').skip(1).step_by(2);
        let mut named = 0;
        for name in rows.flat_map(names).filter(|name| name.contains('_') && !name.contains(' ')) {
            named += 1;
            let full =
                if name.starts_with("stratamq_") { name.into() } else { format!("stratamq_bookie_{name}") };
            assert!(text.contains(&format!("# TYPE {full} ")), "{name}");
        }
        assert!(named > 8, "the table of alarms was not found");
    }

    #[test]
    fn http_on_every_interface_is_reached_by_the_advertised_host() {
        let mut from = BookieSettings::default();
        let set = from.set("advertise", "b-1:3181").and(from.set("http", "0.0.0.0:8080"));
        assert_eq!(set, Ok(()));
        assert_eq!(advertised_http(&from).as_deref(), Some("b-1:8080"));
    }
}
