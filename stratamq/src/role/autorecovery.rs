//! `stratamq autorecovery`: auditor and workers, beside bookies that have none.

use std::sync::Arc;

use clap::Args;
use ledger::repair::{self, Autorecovery, Settings};
use net::http::{Handler, Response};

use super::process::{Stop, bind, serve_http};
use crate::cluster::Cluster;
use crate::config::{Address, LogFormat, MetadataUri, Rate, Span};
use crate::error::Outcome;

#[derive(Args)]
pub struct Arguments {
    /// The cluster
    #[arg(long, env = "STRATAMQ_METADATA", value_name = "etcd://H:P/SCOPE")]
    metadata: MetadataUri,
    /// A bookie that is away for less than this is not lost: more than a restart takes
    #[arg(long, value_name = "TIME", default_value = "15m")]
    grace: Span,
    /// How fast this process copies
    #[arg(long, value_name = "RATE", default_value = "32MB/s")]
    rate: Rate,
    /// Ledgers that are repaired at a time
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: u16,
    /// How often bookies are asked what they hold
    #[arg(long, value_name = "TIME", default_value = "1d")]
    check_every: Span,
    /// Recover ledgers that are open and have lost a bookie. Fences their writers if they live. Links of logs never
    #[arg(long)]
    close_open_ledgers: bool,
    /// What this process is called in `admin replication status`; without it, a name by its process id
    #[arg(long)]
    name: Option<String>,
    /// Where /metrics, /health and /ready are served
    #[arg(long, value_name = "H:P", default_value = "")]
    http: Address,
    /// How log lines are written
    #[arg(long, value_name = "text|json", default_value = "text")]
    pub log_format: LogFormat,
}

pub async fn run(arguments: Arguments) -> Outcome {
    let mut stop = Stop::listen()?;
    let http = bind("http", &arguments.http).await?;
    let cluster = Cluster::connect(&arguments.metadata).await?;
    let settings = Settings {
        name: arguments.name.unwrap_or_else(|| format!("autorecovery-{}", std::process::id())),
        grace: arguments.grace.0,
        bytes_per_second: arguments.rate.0,
        workers: usize::from(arguments.workers),
        check_every: arguments.check_every.0,
        closes_open_ledgers: arguments.close_open_ledgers,
        ..Settings::default()
    };
    let running = repair::run_autorecovery(&cluster.client, &settings);
    let _http = serve_http(http, answers(&running, &cluster))?;
    tracing::info!(name = settings.name, "auditing and repairing");
    stop.asked().await;
    drop(running);
    tracing::info!("stopped");
    Ok(())
}

/// It is ready while metadata answers: without it nothing is repaired.
fn answers(running: &Autorecovery, cluster: &Cluster) -> Handler {
    let (metrics, store) = (running.metrics.clone(), cluster.store.clone());
    let paused = cluster.scope.replication_paused();
    Arc::new(move |path| {
        let (metrics, store, paused, path) =
            (metrics.clone(), store.clone(), paused.clone(), path.to_string());
        Box::pin(async move {
            match path.as_str() {
                "/metrics" => Response::metrics(metrics.text()),
                "/health" => Response::text(200, "ok\n"),
                "/ready" => match store.get(&paused).await {
                    Ok(None) => Response::text(200, "ok\n"),
                    Ok(Some(_)) => Response::text(200, "ok, but repair is paused\n"),
                    Err(error) => Response::text(503, format!("{error}\n")),
                },
                other => Response::not_found(other),
            }
        })
    })
}
