//! `stratamq admin bookie check`: whether bookies hold what metadata says.

use clap::Args;
use ledger::repair::{Pace, check_ledger};
use metadata::Stored;
use protocol::BookieId;
use serde_json::json;

use super::{Given, print_json};
use crate::cluster::Cluster;
use crate::config::Rate;
use crate::error::{Error, Outcome};
use crate::output::say;

#[derive(Args)]
pub struct Check {
    /// Only ledgers that name this bookie
    bookie: Option<BookieId>,
    /// How much of the entries is read, in percent, to check digests
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    read: u8,
    /// How fast
    #[arg(long, value_name = "RATE", default_value = "64MB/s")]
    rate: Rate,
}

pub async fn run(given: &Given, cluster: &Cluster, wanted: &Check) -> Outcome {
    let mut ledgers: Vec<Stored> = Vec::new();
    let mut open = 0u64;
    cluster
        .each_ledger(|stored| {
            let named = wanted.bookie.as_ref().is_none_or(|bookie| stored.metadata.names(bookie));
            match (named, stored.metadata.is_closed()) {
                (true, true) => ledgers.push(stored.clone()),
                (true, false) => open += 1,
                (false, _) => {}
            }
        })
        .await?;
    let pace = Pace::new(wanted.rate.0);
    let (mut damaged, mut silent, mut digests) = (0u64, 0u64, 0u64);
    for stored in &ledgers {
        let checked = check_ledger(&cluster.client, &pace, stored, wanted.read).await;
        let checked = checked.map_err(|error| Error::cannot(format!("check ledger {}", stored.id), error))?;
        digests += checked.digests;
        let concerned = |bookie: &str| wanted.bookie.as_ref().is_none_or(|only| only.as_str() == bookie);
        for damage in checked.damage.iter().filter(|damage| concerned(&damage.bookie)) {
            damaged += 1;
            tell(given, stored, &damage.bookie, &damage.lacks, None);
        }
        for (bookie, why) in checked.silent.iter().filter(|(bookie, _)| concerned(bookie.as_str())) {
            silent += 1;
            tell(given, stored, bookie.as_str(), &[], Some(why));
        }
    }
    if !given.json {
        let read = if wanted.read > 0 { format!(", {digests} entries read") } else { String::new() };
        say!("{} closed ledgers checked{read}; {open} are not closed and were left alone.", ledgers.len());
    }
    match damaged + silent {
        0 => Ok(()),
        _ => Err(Error::Failed(format!("{damaged} copies have holes, {silent} could not be checked"))),
    }
}

fn tell(given: &Given, stored: &Stored, bookie: &str, lacks: &[(i64, i64)], silent: Option<&String>) {
    if given.json {
        return print_json(
            &json!({ "ledger": stored.id.0, "bookie": bookie, "lacks": lacks, "silent": silent }),
        );
    }
    match silent {
        Some(why) => say!("ledger {}: {bookie} did not say what it holds: {why}", stored.id),
        None => {
            let ranges: Vec<_> = lacks.iter().map(|(first, last)| format!("{first} to {last}")).collect();
            say!("ledger {}: {bookie} lacks entries {}", stored.id, ranges.join(", "))
        }
    };
}
