//! `stratamq broker`: virtual brokers on a cluster's ledgers.

use std::net::IpAddr;
use std::sync::Arc;

use ::broker::own::{Broker, Settings};
use ::broker::vb::Limits;
use ::broker::vb::clock::SystemClock;
use ::metadata::registry::Directory;
use ledger::log::chain::{ChainLogs, ChainSettings};
use ledger::quorum::Quorums;
use net::http::Handler;

use super::process::{Stop, bind, serve_http};
use crate::cluster::{self, Cluster};
use crate::config::{Address, Advertise, BrokerSettings, Copies, Ip, Rocketmq, Size};
use crate::error::{Error, Outcome};

pub async fn run(settings: BrokerSettings) -> Outcome {
    let mut stop = Stop::listen()?;
    let http = bind("http", &settings.http).await?;
    let (store, scope) = cluster::open(&settings.metadata).await?;
    let reach = Reach::find(&settings.listen, &settings.advertise, settings.store_host).await?;
    let cluster = Cluster::over(&settings.metadata, store, scope, net::client::Settings::default()).await?;
    let own = Settings {
        lease: settings.lease.0,
        namesrvs: settings.namesrv.0.iter().map(Address::to_string).collect(),
        ..described(
            &settings.cluster,
            settings.vbs,
            &settings.listen,
            reach,
            settings.memory,
            &settings.rocketmq,
        )
    };
    let broker = Arc::new(start(&cluster.client, cluster.directory, own, settings.copies).await?);
    let answering = broker.clone();
    let handler: Handler = Arc::new(move |path| Box::pin(std::future::ready(answering.http(path))));
    let http = serve_http(http, handler)?;
    tracing::info!(listen = %settings.listen, "claiming what nobody owns");
    stop.asked().await;
    tracing::info!("stopping");
    drop(http);
    broker.stop().await;
    tracing::info!("stopped");
    Ok(())
}

/// A broker over the ledgers of `cluster`, whose bookies `directory` knows.
pub async fn start(
    cluster: &ledger::Cluster,
    directory: Directory,
    own: Settings,
    copies: Copies,
) -> Outcome<Broker> {
    let quorums = Quorums::new(copies.0, copies.1, copies.2)
        .map_err(|error| Error::Usage(format!("copies = '{copies}': {error}")))?;
    let logs = ChainLogs::new(cluster.clone(), ChainSettings::new(&own.name(), quorums)).following(directory);
    let metadata = (cluster.ledgers.store().clone(), cluster.ledgers.scope().clone());
    let started = Broker::start(own, metadata, Arc::new(logs), Arc::new(SystemClock::new()), rand::random());
    started.await.map_err(|error| Error::cannot("start the broker", error))
}

/// Where clients find a broker.
pub struct Reach {
    advertise: Advertise,
    host: String,
    store_host: IpAddr,
}

impl Reach {
    pub async fn find(listen: &Address, advertise: &Advertise, store_host: Ip) -> Outcome<Reach> {
        let host = advertise.host.clone().unwrap_or_else(|| listen.host().to_string());
        let store_host = match store_host.0 {
            Some(ip) => ip,
            None => resolve(&host).await?,
        };
        Ok(Reach { advertise: advertise.clone(), host, store_host })
    }
}

/// IPv4 if there is one: old clients read no other ids.
async fn resolve(host: &str) -> Outcome<IpAddr> {
    let found = tokio::net::lookup_host((host.trim_matches(['[', ']']), 0)).await;
    let found =
        found.map_err(|error| Error::cannot(format!("resolve the advertised host '{host}'"), error))?;
    let mut found: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    found.sort_by_key(|address| !address.is_ipv4());
    found
        .first()
        .copied()
        .ok_or_else(|| Error::Failed(format!("the advertised host '{host}' has no address")))
}

/// What the configuration comes to, for one process.
pub fn described(
    cluster: &str,
    vbs: u64,
    listen: &Address,
    reach: Reach,
    memory: Size,
    rocketmq: &Rocketmq,
) -> Settings {
    Settings {
        cluster: cluster.into(),
        vbs: vbs as u32,
        host: listen.host().to_string(),
        base_port: listen.port(),
        advertise: reach.host,
        rules: reach.advertise.rules,
        store_host: reach.store_host,
        namesrvs: Vec::new(),
        lease: std::time::Duration::from_secs(3),
        limits: limits(memory.0, vbs),
        known: rocketmq.0.clone(),
        net: net::remoting::Settings {
            memory: (memory.0 / 4) as usize,
            ..net::remoting::Settings::default()
        },
        machine: machine(),
    }
}

/// This machine, or container, for as long as it runs.
fn machine() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let (host, boot) = (read("/proc/sys/kernel/hostname"), read("/proc/sys/kernel/random/boot_id"));
    format!("{} {}", host.trim(), boot.get(..8).unwrap_or_default()).trim().to_owned()
}

/// One process may come to serve all virtual brokers: each has its part of half the memory.
fn limits(memory: u64, vbs: u64) -> Limits {
    let part = |parts: u64| usize::try_from(memory / 2 / vbs * parts / 8).unwrap_or(usize::MAX);
    let default = Limits::default();
    Limits {
        tail_bytes: part(4).min(default.tail_bytes),
        read_bytes: part(2).min(default.read_bytes),
        block_bytes: part(1).min(default.block_bytes),
        ..default
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings as _;

    async fn own(listen: &str, advertise: &str) -> Outcome<Settings> {
        let mut from = BrokerSettings::default();
        let set = from.set("listen", listen).and(from.set("advertise", advertise));
        assert_eq!(set, Ok(()));
        let reach = Reach::find(&from.listen, &from.advertise, from.store_host).await?;
        Ok(described("C", from.vbs, &from.listen, reach, from.memory, &from.rocketmq))
    }

    #[tokio::test]
    async fn the_advertised_host_is_told_and_its_address_is_in_ids() -> Outcome {
        let told = own("0.0.0.0:10911", "localhost,10.0.0.0/8=inside").await?;
        assert_eq!((told.advertise.as_str(), told.rules.0.len()), ("localhost", 1));
        assert!(told.store_host.is_loopback());
        assert_eq!(own("127.0.0.1:10911", "").await?.advertise, "127.0.0.1");
        Ok(())
    }
}
