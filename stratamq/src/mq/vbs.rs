//! Virtual brokers, as metadata knows them: who owns them, and what their logs are made of.

use std::collections::{BTreeMap, BTreeSet};

use ::metadata::schema::{LedgerMetadata, Link, Owner, State};
use ::metadata::{KeyValue, Store};
use protocol::LedgerId;

use super::Where;
use crate::cluster::Cluster;
use crate::config::MetadataUri;
use crate::error::{Error, Outcome};

/// Keys read at once.
const PAGE: usize = 500;

async fn below(store: &dyn Store, prefix: &str) -> Outcome<Vec<KeyValue>> {
    let mut all: Vec<KeyValue> = Vec::new();
    loop {
        let page = store.range(prefix, all.last().map(|last| last.key.as_str()), PAGE).await;
        let page = page.map_err(|error| Error::cannot("read the virtual brokers", error))?;
        all.extend(page.entries);
        if !page.more {
            return Ok(all);
        }
    }
}

/// One virtual broker.
#[derive(Default)]
struct Vb {
    owner: Option<Owner>,
    /// By base position.
    links: BTreeMap<u64, Link>,
}

async fn vbs(cluster: &Cluster) -> Outcome<BTreeMap<String, Vb>> {
    let scope = &cluster.scope;
    let prefix = format!("{}/strata/vb/", scope.as_str());
    let failed = |error| Error::cannot("read the virtual brokers", error);
    let mut all: BTreeMap<String, Vb> = BTreeMap::new();
    for pair in below(&*cluster.store, &prefix).await? {
        let Some((name, what)) = pair.key.strip_prefix(&prefix).and_then(|rest| rest.split_once('/')) else {
            continue;
        };
        let vb = all.entry(name.to_owned()).or_default();
        if what == "owner" {
            vb.owner = Some(Owner::decode(name, &pair.value).map_err(failed)?);
        } else if let Some(base) = scope.vb_link_base(name, &pair.key) {
            vb.links.insert(base, Link::decode(name, &pair.value).map_err(failed)?);
        }
    }
    Ok(all)
}

async fn metadata_of(cluster: &Cluster, ledger: LedgerId) -> Outcome<Option<LedgerMetadata>> {
    let stored = cluster.ledgers().read(ledger).await;
    let stored = stored.map_err(|error| Error::cannot(format!("read ledger {ledger}"), error))?;
    Ok(stored.map(|stored| stored.metadata))
}

fn bookies(metadata: &LedgerMetadata) -> String {
    let last = metadata.segments.last();
    let names: Vec<&str> =
        last.into_iter().flat_map(|segment| &segment.ensemble).map(|b| b.as_str()).collect();
    names.join(",")
}

/// Ledgers that are to be repaired.
async fn damaged(cluster: &Cluster) -> Outcome<BTreeSet<LedgerId>> {
    let tasks = below(&*cluster.store, &cluster.scope.replication_tasks()).await?;
    Ok(tasks.iter().filter_map(|task| cluster.scope.replication_task_of(&task.key)).collect())
}

/// Which process has which virtual broker, and where it writes.
pub async fn list(at: &Where, uri: &MetadataUri) -> Outcome {
    let cluster = Cluster::connect(uri).await?;
    let damaged = damaged(&cluster).await?;
    let clocks = ::metadata::clocks::all(&*cluster.store, &cluster.scope).await;
    let clocks = clocks.map_err(|error| Error::cannot("read the clocks of processes", error))?;
    let mut rows = Vec::new();
    for (name, vb) in vbs(&cluster).await? {
        // Checkpoints have logs of their own, which belong to the same owner.
        if name.ends_with("-checkpoint") {
            continue;
        }
        let process = vb.owner.as_ref().map_or("nobody", |owner| owner.name.as_str());
        let clock = vb.owner.as_ref().and_then(|owner| clocks.get(&format!("broker-{}", owner.name)));
        let open = vb.links.last_key_value().map(|(_, link)| link.ledger);
        let ensemble = match open {
            Some(ledger) => metadata_of(&cluster, ledger).await?.map(|metadata| bookies(&metadata)),
            None => None,
        };
        let to_repair = vb.links.values().filter(|link| damaged.contains(&link.ledger)).count();
        let clock = clock.map(|clock| if clock.doubt.is_empty() { "ok" } else { &clock.doubt });
        rows.push([
            name.into(),
            process.into(),
            vb.owner.as_ref().map(|owner| owner.epoch).into(),
            vb.links.len().into(),
            open.map(|ledger| ledger.0).into(),
            ensemble.into(),
            to_repair.into(),
            clock.into(),
        ]);
    }
    at.show(["vb", "process", "epoch", "links", "open ledger", "bookies", "to repair", "clock"], &rows)
}

/// A link of a log, as metadata knows it.
pub struct KnownLink {
    pub from: u64,
    pub to: Option<u64>,
    pub ledger: LedgerId,
    pub epoch: u64,
    pub state: &'static str,
    /// Of its ledger, if that is closed.
    pub bytes: Option<u64>,
    pub bookies: String,
}

/// The links of a log.
pub async fn links(uri: &MetadataUri, name: &str) -> Outcome<Vec<KnownLink>> {
    let cluster = Cluster::connect(uri).await?;
    let mut all = vbs(&cluster).await?;
    let names = || all.keys().cloned().collect::<Vec<_>>().join(", ");
    let none = Error::Failed(format!("there is no virtual broker '{name}'; there are {}", names()));
    let vb = all.remove(name).ok_or(none)?;
    let mut links: Vec<KnownLink> = Vec::new();
    for (base, link) in &vb.links {
        if let Some(before) = links.last_mut() {
            before.to = Some(*base);
        }
        links.push(known(&cluster, *base, link).await?);
    }
    Ok(links)
}

async fn known(cluster: &Cluster, from: u64, link: &Link) -> Outcome<KnownLink> {
    let metadata = metadata_of(cluster, link.ledger).await?;
    let (state, bytes) = match metadata.as_ref().map(|metadata| metadata.state) {
        None => ("lost", None),
        Some(State::Closed { length, .. }) => {
            (if link.sparse.is_some() { "sparse" } else { "closed" }, u64::try_from(length).ok())
        }
        Some(State::Open | State::InRecovery) => ("open", None),
    };
    let bookies = metadata.as_ref().map(bookies).unwrap_or_default();
    Ok(KnownLink { from, to: None, ledger: link.ledger, epoch: link.epoch, state, bytes, bookies })
}
