//! Pulls of what is not in memory any more: read in a lane of their own, so that they hold up nobody else.

use std::sync::Arc;

use bytes::Bytes;
use protocol::remoting::code::response;

use super::look::{Chosen, Look, other};
use super::{Open, Wanted, answer, bounds, give};
use crate::error::Error;
use crate::serve::Served;
use crate::serve::answer::Refusal;
use crate::serve::filter::Filter;
use crate::vb::Rows;

pub(super) fn read(served: &Arc<Served>, open: Open) {
    let Some(place) = served.lanes.place(open.answer.connection()) else {
        let remark = "too many pulls of old messages wait already: try again".into();
        return open.answer.refuse(Refusal { code: response::FLOW_CONTROL, remark });
    };
    let served = served.clone();
    tokio::spawn(async move {
        let Some(_turn) = place.turn(open.answer.connection()).await else { return };
        // Boxed: thousands may wait for their turns, and few read.
        match Box::pin(fetch(&served, &open.wanted)).await {
            Ok((Look::Found { .. }, messages, count, next)) => {
                let bounds = bounds(&served.vb.core(), &open.wanted);
                give(&served, open, (count, &messages), next, bounds);
            }
            // Nothing that has to be read: the answer is known from the index.
            Ok((Look::Cold, ..)) => {}
            Ok((seen, ..)) => answer(&served, open, seen),
            Err(error) => open.answer.refuse(unreadable(&error)),
        }
    });
}

pub(crate) fn unreadable(error: &Error) -> Refusal {
    let remark = format!("the messages cannot be read at present: {error}");
    Refusal { code: response::SYSTEM_ERROR, remark }
}

/// What there is for a pull; its messages, how many they are, and where the next pull begins.
type Fetched = (Look, Vec<Bytes>, usize, u64);

async fn fetch(served: &Served, wanted: &Wanted) -> Result<Fetched, Error> {
    let vb = &served.vb;
    let mut chosen = Chosen::new(wanted);
    let look = loop {
        let many = match wanted.filter {
            Filter::All => wanted.messages,
            Filter::Tags(_) if chosen.rows.is_empty() => 256,
            Filter::Tags(_) => wanted.messages.max(32),
        };
        let rows = vb.rows(wanted.topic, wanted.queue, chosen.next, many, usize::MAX).await?;
        match rows {
            Rows::Found(rows) => {
                if chosen.take(&rows) {
                    break chosen.end();
                }
            }
            _ if !chosen.rows.is_empty() => break chosen.end(),
            rows => break other(rows, wanted.offset, chosen.next),
        }
    };
    let Look::Found { rows, next } = &look else { return Ok((look, Vec::new(), 0, wanted.offset)) };
    let messages = vb.read_rows(rows).await?;
    let (count, next) = (rows.len(), *next);
    Ok((look, messages, count, next))
}
