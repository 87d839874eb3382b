//! `stratamq cluster log`: the links of a virtual broker's log, and what still needs how much of each. Its owner knows
//! what is needed; metadata knows the ledgers, also while there is no owner.

use std::time::Duration;

use client::{Client, Settings};
use protocol::body::log::{Held, Holder, LogLink, LogLinks};
use serde_json::json;

use super::vbs::{self, KnownLink};
use super::{Where, failed};
use crate::config::{MetadataUri, Span};
use crate::error::{Error, Outcome};
use crate::output::say;
use crate::table;

const PATIENCE: Duration = Duration::from_secs(60);
/// Of those who hold a link people are shown so many.
const SHOWN: usize = 4;

pub async fn show(at: &Where, metadata: Option<&MetadataUri>, name: &str) -> Outcome {
    let number = number_of(name);
    let told = match number {
        Some(number) => ask_owner(at, number).await,
        None => Err(Error::Failed(format!("'{name}' is not the name of a virtual broker, such as broker-0"))),
    };
    let links = match (metadata, &told) {
        (Some(uri), _) => {
            let name = number.map_or_else(|| name.to_owned(), |number| format!("vb-{number}"));
            vbs::links(uri, &name).await?
        }
        (None, Ok(told)) => told.links.iter().map(known).collect(),
        (None, Err(why)) => {
            let why = format!("{why}. With --metadata URI links and sizes can be shown without it");
            return Err(Error::Failed(why));
        }
    };
    let of = |link: &KnownLink| {
        let same = |held: &&LogLink| held.from == link.from && held.ledger == link.ledger.0;
        told.as_ref().ok().and_then(|told| told.links.iter().find(same))
    };
    if at.json {
        for link in &links {
            say!("{}", object(link, of(link)));
        }
        return Ok(());
    }
    let rows: Vec<_> = links.iter().map(|link| row(link, of(link))).collect();
    table::print(["from", "to", "ledger", "epoch", "state", "bytes", "live", "bookies", "held by"], &rows);
    match &told {
        Ok(told) if told.one_in > 1 => {
            at.tell(&format!("\nLive bytes are estimates, from one in {} blocks of the index.", told.one_in));
        }
        Ok(_) => {}
        Err(why) => at.tell(&format!("\nWhat of them is live only the owner knows: {why}.")),
    }
    Ok(())
}

/// The number of a virtual broker, by any of its names.
fn number_of(name: &str) -> Option<u32> {
    let number = name.strip_prefix("broker-").or_else(|| name.strip_prefix("vb-")).unwrap_or(name);
    number.parse().ok()
}

async fn ask_owner(at: &Where, number: u32) -> Outcome<LogLinks> {
    let admin = at.client()?.admin();
    let name = format!("broker-{number}");
    let masters = admin.masters().await.map_err(failed)?;
    let nobody =
        || Error::Failed(format!("nobody serves {name}, as far as the name servers at {} know", at.namesrv));
    let address = masters.get(&name).ok_or_else(nobody)?;
    // It looks through its index, and rests often.
    let patient = Settings { name_servers: at.namesrv.clone(), timeout: PATIENCE, ..Settings::default() };
    let told = Client::with(patient).map_err(failed)?.admin().log(address).await;
    told.map_err(|why| Error::cannot(format!("ask {name} at {address} what holds its log"), why))
}

/// A link of which only its owner told.
fn known(link: &LogLink) -> KnownLink {
    KnownLink {
        from: link.from,
        to: link.to,
        ledger: protocol::LedgerId(link.ledger),
        epoch: link.epoch,
        state: match link.to {
            None => "open",
            Some(_) if link.is_sparse() => "sparse",
            Some(_) => "closed",
        },
        bytes: Some(link.bytes),
        bookies: "–".into(),
    }
}

fn object(link: &KnownLink, held: Option<&LogLink>) -> serde_json::Value {
    json!({
        "from": link.from,
        "to": link.to,
        "ledger": link.ledger.0,
        "epoch": link.epoch,
        "state": link.state,
        "bytes": held.map(|held| held.bytes).or(link.bytes),
        "live": held.map(LogLink::live),
        "bookies": link.bookies,
        "held_by": held.map(|held| &held.held_by),
    })
}

fn row(link: &KnownLink, held: Option<&LogLink>) -> [String; 9] {
    let none = || "–".to_owned();
    let size = |bytes: Option<u64>| bytes.map_or_else(none, table::bytes);
    [
        link.from.to_string(),
        link.to.map_or_else(none, |to| to.to_string()),
        link.ledger.to_string(),
        link.epoch.to_string(),
        link.state.to_owned(),
        size(held.map(|held| held.bytes).or(link.bytes)),
        size(held.map(LogLink::live)),
        link.bookies.clone(),
        held.map_or_else(none, holders),
    ]
}

fn holders(link: &LogLink) -> String {
    if link.held_by.is_empty() {
        return "nothing".into();
    }
    let share = |held: &Held| (held.bytes * 100).checked_div(link.bytes).unwrap_or(0).min(100);
    let mut named: Vec<String> =
        link.held_by.iter().take(SHOWN).map(|held| format!("{} {} %", name(&held.by), share(held))).collect();
    if link.held_by.len() > SHOWN {
        named.push("and others".into());
    }
    named.join(", ")
}

fn name(holder: &Holder) -> String {
    match holder {
        Holder::Topic { topic, retention_ms } => {
            format!("topic {topic} ({})", Span(Duration::from_millis(*retention_ms)))
        }
        Holder::Delays => "delays".into(),
        Holder::Transactions => "undecided transactions".into(),
        Holder::Recovery => "no checkpoint yet".into(),
        Holder::Others { holders } => format!("{holders} others"),
        Holder::Unknown => "what only a later release knows".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_virtual_broker_goes_by_three_names_and_its_checkpoints_by_another() {
        assert_eq!(["broker-3", "vb-3", "3"].map(number_of), [Some(3); 3]);
        assert_eq!(number_of("vb-3-checkpoint"), None);
    }

    #[test]
    fn holders_are_named_with_their_share() {
        let topic = |topic: &str, bytes| Held {
            bytes,
            by: Holder::Topic { topic: topic.into(), retention_ms: 259_200_000 },
        };
        let delays = Held { bytes: 3, by: Holder::Delays };
        let link = LogLink { bytes: 100, held_by: vec![topic("orders", 61), delays], ..LogLink::default() };
        assert_eq!(holders(&link), "topic orders (3d) 61 %, delays 3 %");
        assert_eq!(holders(&LogLink::default()), "nothing");
        let many = LogLink { bytes: 10, held_by: vec![topic("t", 1); 9], ..LogLink::default() };
        assert!(holders(&many).ends_with("topic t (3d) 10 %, and others"));
    }
}
