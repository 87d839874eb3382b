//! What the log is made of, and what needs it (a code of our own).

use std::cmp::Reverse;
use std::sync::Arc;

use protocol::body::log::{Held, Holder as Told, LogLink, LogLinks};

use super::body;
use crate::serve::Served;
use crate::serve::answer::Answer;
use crate::serve::pull::unreadable;
use crate::state::State;
use crate::vb::holding::{HeldLink, Holder};

/// Of those who hold a link so many are named; there may be as many as topics.
const NAMED: usize = 16;

/// 910001. Only the owner knows: what is live follows from the index and the state.
pub(super) fn show(served: &Arc<Served>, answer: Answer) {
    let served = served.clone();
    tokio::spawn(async move {
        let holding = match served.vb.holding().await {
            Ok(holding) => holding,
            Err(error) => return answer.refuse(unreadable(&error)),
        };
        let links = holding.links.iter().map(|held| told(held, served.vb.core().state())).collect();
        let reply = body(&answer, &LogLinks { links, one_in: holding.one_in });
        answer.reply(reply);
    });
}

fn told(held: &HeldLink, state: &State) -> LogLink {
    let mut by: Vec<(Holder, u64)> = held.by.iter().map(|(holder, bytes)| (*holder, *bytes)).collect();
    by.sort_by_key(|(_, bytes)| Reverse(*bytes));
    let (most, others) = by.split_at(by.len().min(NAMED));
    let named =
        most.iter().filter_map(|(holder, bytes)| Some(Held { bytes: *bytes, by: named(*holder, state)? }));
    let others = Held {
        bytes: others.iter().map(|(_, bytes)| bytes).sum(),
        by: Told::Others { holders: others.len() as u64 },
    };
    LogLink {
        from: held.link.base.0,
        to: held.link.end.map(|end| end.0),
        ledger: held.link.ledger.0,
        epoch: held.link.epoch.0,
        bytes: held.link.stored().unwrap_or(held.end.saturating_sub(held.link.base.0)),
        held_by: named.chain((others.bytes > 0).then_some(others)).collect(),
    }
}

/// `None` for a topic that was deleted meanwhile: it needs nothing any more.
fn named(holder: Holder, state: &State) -> Option<Told> {
    Some(match holder {
        Holder::Topic(id) => Told::Topic {
            topic: state.topic_of(id)?.name.to_string(),
            retention_ms: u64::try_from(state.retention(id).as_millis()).unwrap_or(u64::MAX),
        },
        Holder::Delays => Told::Delays,
        Holder::Halves => Told::Transactions,
        Holder::Recovery => Told::Recovery,
    })
}
