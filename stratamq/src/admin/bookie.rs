//! `stratamq admin bookie`.

use clap::Subcommand;
use metadata::registry::{BookieInfo, Standing};
use protocol::BookieId;
use serde_json::json;

use super::{Given, check, inspect, leaving, print_json, retained};
use crate::cluster::Cluster;
use crate::error::{Error, Outcome};
use crate::table;

#[derive(Subcommand)]
pub enum Command {
    #[command(flatten)]
    OfCluster(OfCluster),
    /// Read the segments of a bookie that does not run: what is in them, and what is damaged
    Inspect(inspect::Inspect),
}

#[derive(Subcommand)]
pub enum OfCluster {
    /// All bookies that are registered, or were
    List,
    /// One bookie, and how many ledgers it keeps
    Info { bookie: BookieId },
    /// Empty a bookie: it gets no new ledgers, and repair moves what it keeps to others
    Drain(leaving::Drain),
    /// Give a bookie up that is down for good, and forget it once no ledger needs it
    Decommission(leaving::Decommission),
    /// Ask bookies what they hold, and name what is missing
    Check(check::Check),
    /// Per segment of a running bookie: live bytes, and the ledgers that hold them
    WhyRetained { bookie: BookieId },
}

pub async fn run(given: &Given, command: Command) -> Outcome {
    // A bookie that does not run is looked at without its cluster.
    let command = match command {
        Command::Inspect(wanted) => return inspect::run(given, &wanted),
        Command::OfCluster(command) => command,
    };
    let cluster = given.cluster().await?;
    match command {
        OfCluster::List => list(given, &cluster).await,
        OfCluster::Info { bookie } => info(given, &cluster, &bookie).await,
        OfCluster::Drain(wanted) => leaving::drain(given, &cluster, &wanted).await,
        OfCluster::Decommission(wanted) => leaving::decommission(given, &cluster, &wanted).await,
        OfCluster::Check(wanted) => check::run(given, &cluster, &wanted).await,
        OfCluster::WhyRetained { bookie } => retained::run(given, &cluster, &bookie).await,
    }
}

fn standing(bookie: &BookieInfo) -> &'static str {
    match bookie.standing {
        Standing::Writable => "writable",
        Standing::Readonly => "read-only",
        Standing::Absent => "absent",
    }
}

fn as_json(bookie: &BookieInfo) -> serde_json::Value {
    json!({
        "bookie": bookie.id.as_str(),
        "state": standing(bookie),
        "draining": bookie.draining,
        "address": bookie.address,
        "zone": bookie.zone,
        "free_bytes": bookie.free,
        "total_bytes": bookie.total,
        "written_per_second": bookie.written_per_second,
        "incarnation": bookie.incarnation,
        "http": bookie.http,
        "cookie": bookie.has_cookie,
    })
}

fn size(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "–".into(), table::bytes)
}

async fn list(given: &Given, cluster: &Cluster) -> Outcome {
    let bookies = cluster.bookies().await?;
    if given.json {
        bookies.iter().for_each(|bookie| print_json(&as_json(bookie)));
        return Ok(());
    }
    let rows: Vec<_> = bookies
        .iter()
        .map(|bookie| {
            let state = format!("{}{}", standing(bookie), if bookie.draining { ", draining" } else { "" });
            let zone = bookie.zone.clone();
            [
                bookie.id.to_string(),
                state,
                bookie.address.clone(),
                zone,
                size(bookie.free),
                size(bookie.total),
                size(bookie.written_per_second),
            ]
        })
        .collect();
    table::print(["bookie", "state", "address", "zone", "free", "total", "written/s"], &rows);
    Ok(())
}

pub async fn find(cluster: &Cluster, bookie: &BookieId) -> Outcome<BookieInfo> {
    let bookies = cluster.bookies().await?;
    bookies.into_iter().find(|info| info.id == *bookie).ok_or_else(|| {
        Error::Failed(format!(
            "there is no bookie {bookie} in this cluster: `stratamq admin bookie list` shows all"
        ))
    })
}

async fn info(given: &Given, cluster: &Cluster, id: &BookieId) -> Outcome {
    let bookie = find(cluster, id).await?;
    let (mut all, mut open) = (0u64, 0u64);
    cluster
        .each_ledger(|stored| {
            if stored.metadata.names(id) {
                all += 1;
                open += u64::from(!stored.metadata.is_closed());
            }
        })
        .await?;
    if given.json {
        let mut value = as_json(&bookie);
        value["ledgers"] = all.into();
        value["open_ledgers"] = open.into();
        print_json(&value);
        return Ok(());
    }
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "–".into());
    let rows = [
        ["bookie".into(), bookie.id.to_string()],
        ["state".into(), standing(&bookie).into()],
        ["draining".into(), if bookie.draining { "yes" } else { "no" }.into()],
        ["address".into(), bookie.address.clone()],
        ["zone".into(), bookie.zone.clone()],
        ["free".into(), size(bookie.free)],
        ["total".into(), size(bookie.total)],
        ["written per second".into(), size(bookie.written_per_second)],
        ["incarnation".into(), or_none(bookie.incarnation.map(|i| i.to_string()))],
        ["http".into(), or_none(bookie.http.clone())],
        ["ledgers".into(), all.to_string()],
        ["of them open".into(), open.to_string()],
    ];
    table::print(["", ""], &rows);
    Ok(())
}
