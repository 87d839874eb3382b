//! `stratamq admin bookie drain` and `decommission`: a bookie's ledgers go elsewhere.

use std::time::Duration;

use clap::Args;
use ledger::repair::{self, Remaining};
use protocol::{BookieId, LedgerId};
use serde_json::json;

use super::{Given, print_json};
use crate::cluster::Cluster;
use crate::error::{Error, Outcome};
use crate::output::say;

#[derive(Args)]
pub struct Drain {
    bookie: BookieId,
    /// Stop emptying it
    #[arg(long)]
    cancel: bool,
}

#[derive(Args)]
pub struct Decommission {
    bookie: BookieId,
    /// Wait until no ledger needs it any more
    #[arg(long)]
    wait: bool,
    /// The bookie that takes its place wherever it can
    #[arg(long, value_name = "BOOKIE", conflicts_with = "cancel")]
    replace_by: Option<BookieId>,
    /// It may come back after all
    #[arg(long)]
    cancel: bool,
}

const POLL: Duration = Duration::from_secs(5);
/// Ledgers that are named in a text.
const NAMED: usize = 10;

pub async fn drain(given: &Given, cluster: &Cluster, wanted: &Drain) -> Outcome {
    let Drain { bookie, cancel } = wanted;
    let failed = |error| Error::cannot(format!("change whether {bookie} is drained"), error);
    if *cancel {
        repair::undrain(&*cluster.store, &cluster.scope, bookie).await.map_err(failed)?;
        say!("{bookie} is not being drained.");
        return Ok(());
    }
    if !cluster.bookies().await?.iter().any(|other| other.takes_ledgers() && other.id != *bookie) {
        return Err(Error::Failed(format!(
            "no other bookie is writable: start one before {bookie} is emptied"
        )));
    }
    repair::drain(&*cluster.store, &cluster.scope, bookie).await.map_err(failed)?;
    let left = repair::remaining(&cluster.client, bookie).await.map_err(failed)?;
    tell(given, bookie, &left);
    if !given.json {
        say!("It gets no new ledgers; `stratamq admin bookie info {bookie}` shows how many are left.");
    }
    Ok(())
}

pub async fn decommission(given: &Given, cluster: &Cluster, wanted: &Decommission) -> Outcome {
    let (store, scope, bookie) = (&*cluster.store, &cluster.scope, &wanted.bookie);
    let failed = |error| Error::cannot(format!("decommission {bookie}"), error);
    if wanted.cancel {
        repair::cancel_decommission(store, scope, bookie).await.map_err(failed)?;
        say!("{bookie} is expected back.");
        return Ok(());
    }
    match &wanted.replace_by {
        Some(new) => repair::replace(store, scope, bookie, new).await.map_err(failed)?,
        None => repair::decommission(store, scope, bookie).await.map_err(failed)?,
    }
    loop {
        let left = repair::remaining(&cluster.client, bookie).await.map_err(failed)?;
        tell(given, bookie, &left);
        if left.is_none() {
            break;
        }
        if !wanted.wait {
            return Err(Error::Failed(format!(
                "{bookie} is given up, and its ledgers are being repaired; it is forgotten when this command is run again \
                 and none is left (--wait waits for that)"
            )));
        }
        tokio::time::sleep(POLL).await;
    }
    repair::finish_decommission(&cluster.client, bookie).await.map_err(failed)?;
    if !given.json {
        say!("{bookie} is forgotten.");
    }
    Ok(())
}

fn tell(given: &Given, bookie: &BookieId, left: &Remaining) {
    let ids = |ledgers: &[LedgerId]| ledgers.iter().map(|ledger| ledger.0).collect::<Vec<_>>();
    if given.json {
        let quarantined: Vec<_> =
            left.quarantined.iter().map(|(ledger, why)| json!({ "ledger": ledger.0, "why": why })).collect();
        return print_json(&json!({
            "bookie": bookie.as_str(),
            "closed": ids(&left.closed),
            "links": ids(&left.links),
            "open": ids(&left.open),
            "unreadable": ids(&left.unreadable),
            "quarantined": quarantined,
        }));
    }
    if left.is_none() {
        say!("No ledger needs {bookie}.");
        return;
    }
    for (ledgers, what) in [
        (&left.closed, "are copied by repair"),
        (&left.links, "are links of logs: their owners go on in new ledgers"),
        (&left.open, "are open: they wait for their writers, or for `stratamq admin ledger recover`"),
        (&left.unreadable, "have metadata that cannot be read: `stratamq admin cluster check`"),
    ] {
        if !ledgers.is_empty() {
            say!("{} ledgers {what}: {}", ledgers.len(), named(ledgers));
        }
    }
    for (ledger, why) in &left.quarantined {
        say!("ledger {ledger} was set aside: {why}; `stratamq admin replication retry {ledger}`");
    }
}

fn named(ledgers: &[LedgerId]) -> String {
    let names: Vec<_> = ledgers.iter().take(NAMED).map(LedgerId::to_string).collect();
    let more = if ledgers.len() > NAMED { ", …" } else { "" };
    format!("{}{more}", names.join(", "))
}
