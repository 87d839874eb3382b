//! Delayed messages: a queue for each level, in the order of their due times. Only the head of each is looked at, so
//! it does not matter how many wait; what was delivered is in the log with the message itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use protocol::message::stored::Message;
use tokio::time::sleep;

use super::Served;
use super::properties::{self, DELAY, Seen};
use super::put::{Parts, Pieces, Place, derived_topic, record};
use crate::error::Error;
use crate::state::topic::{DLQ_PREFIX, RETRY_PREFIX};
use crate::state::{Change, TopicId};
use crate::vb::{Core, Record, Refused, Row, Rows};

/// Rows of a level that are delivered in one go.
const AT_ONCE: usize = 256;
const BYTES_AT_ONCE: usize = 4 << 20;
/// After a refusal, or when messages cannot be read.
const AGAIN: Duration = Duration::from_millis(100);
/// How often it is asked whether a clock in doubt is right again.
const DOUBT: Duration = Duration::from_secs(1);

/// Delivers what is due, for as long as the virtual broker is ours.
pub(super) async fn run(served: Arc<Served>) {
    let mut heads = Heads::default();
    loop {
        if !clock_is_right(&served).await {
            return;
        }
        let told = served.delayed.notified();
        let mut wait: Option<Duration> = None;
        for level in heads.levels(&served) {
            let next = match deliver(&served, &mut heads, level).await {
                Ok(next) => next,
                Err(trouble) => {
                    tracing::warn!("delayed messages of level {level} are late: {trouble}");
                    Some(AGAIN)
                }
            };
            wait = [wait, next].into_iter().flatten().min();
        }
        if served.vb.core().ended() {
            return;
        }
        match wait {
            Some(wait) => tokio::select! { biased; () = told => {}, () = sleep(wait) => {} },
            None => told.await,
        }
    }
}

/// Waits while this machine's clock is in doubt: what is due cannot be told. `false` if the log has ended.
pub(super) async fn clock_is_right(served: &Served) -> bool {
    while !served.vb.trusts_clock() {
        if served.vb.core().ended() {
            return false;
        }
        sleep(DOUBT).await;
    }
    true
}

#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Read(#[from] Error),
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("nothing could be delivered from offset {0} on")]
    Stuck(u64),
}

/// When the first waiting message of a level is due.
#[derive(Debug, Default)]
struct Heads {
    due: BTreeMap<u16, i64>,
}

impl Heads {
    /// Levels at which something may be due; a level counts from 1.
    fn levels(&self, served: &Served) -> Vec<u16> {
        let core = served.vb.core();
        let Some(topic) = core.state().delay_topic() else { return Vec::new() };
        let queues = core.state().topic_of(topic).map_or(0, |topic| topic.queues());
        let waits = |level: &u16| core.max_offset(topic, level - 1) > core.state().delivered(*level);
        (1..=queues).filter(waits).collect()
    }
}

/// Delivers what is due of a level; returns how long until there is more.
async fn deliver(served: &Arc<Served>, heads: &mut Heads, level: u16) -> Result<Option<Duration>, Trouble> {
    loop {
        let now = served.vb.now();
        if let Some(due) = heads.due.get(&level).filter(|due| **due > now.wall) {
            return Ok(Some(Duration::from_millis(due.abs_diff(now.wall))));
        }
        let (topic, from, longest) = {
            let core = served.vb.core();
            let state = core.state();
            let Some(topic) = state.delay_topic() else { return Ok(None) };
            (topic, state.delivered(level), state.settings().delay_levels.delay(level))
        };
        let rows = match served.vb.rows(topic, level - 1, from, AT_ONCE, BYTES_AT_ONCE).await? {
            Rows::Found(rows) => rows,
            // What retention took, though it should not have: go on behind it rather than wait for ever.
            Rows::Outside { min, .. } if min > from => {
                skip(served, level, min)?;
                continue;
            }
            _ => {
                heads.due.remove(&level);
                return Ok(None);
            }
        };
        // A level that was shortened since holds no message longer than it takes now.
        let latest = now.wall.saturating_add(longest.unwrap_or(0));
        let due: Vec<Row> =
            rows.iter().take_while(|row| row.tag <= now.wall || row.tag > latest).copied().collect();
        match rows.first().filter(|_| due.is_empty()) {
            Some(head) => drop(heads.due.insert(level, head.tag)),
            None => {
                heads.due.remove(&level);
                batch(served, topic, level, &due).await?;
                if served.vb.core().state().delivered(level) == from {
                    return Err(Trouble::Stuck(from));
                }
            }
        }
    }
}

async fn batch(served: &Arc<Served>, delay: TopicId, level: u16, due: &[Row]) -> Result<(), Trouble> {
    // Neighbours in the log come in one piece.
    let pieces = served.vb.read_rows(due).await?;
    let mut rows = due.iter();
    for mut piece in pieces {
        while !piece.is_empty() {
            let (Some(row), message) = (rows.next(), Message::take(&mut piece)) else { break };
            let unreadable = message.is_err();
            one(served, delay, level, row, message.ok())?;
            if unreadable {
                break;
            }
        }
    }
    served.vb.drive();
    Ok(())
}

fn skip(served: &Served, level: u16, next: u64) -> Result<(), Refused> {
    let now = served.vb.now();
    served.vb.core().stage(&[Record::Change(&Change::Delivered { level, next })], now)?;
    served.vb.drive();
    Ok(())
}

/// A message and the note that it was delivered: one unit.
fn one(
    served: &Served,
    delay: TopicId,
    level: u16,
    row: &Row,
    message: Option<Message>,
) -> Result<(), Refused> {
    let now = served.vb.now();
    let delivered = Change::Delivered { level, next: row.offset + 1 };
    let mut core = served.vb.core();
    if core.state().delay_topic() != Some(delay) || core.state().delivered(level) != row.offset {
        return Ok(());
    }
    let Some((place, message, text)) = message.and_then(|message| for_whom(served, &mut core, message))
    else {
        tracing::warn!("a delayed message at {} has no topic to go to any more: it is dropped", row.position);
        core.stage(&[Record::Change(&delivered)], now)?;
        return Ok(());
    };
    let seen = Seen::of(&text);
    let keys = seen.key_hashes(&place.topic.name);
    let parts = Parts::again(&message, &text, &keys);
    let pieces = Pieces::of(&place, &parts);
    core.stage(&[record(&place, &parts, &pieces), Record::Change(&delivered)], now)?;
    Ok(())
}

/// Where a message that waited goes, and its properties there.
fn for_whom(served: &Served, core: &mut Core, message: Message) -> Option<(Place, Message, String)> {
    let text = String::from_utf8_lossy(&message.properties).into_owned();
    let name = properties::get(&text, properties::REAL_TOPIC)?;
    let queue: u16 = properties::get(&text, properties::REAL_QUEUE)?.parse().ok()?;
    let derived = name.starts_with(RETRY_PREFIX) || name.starts_with(DLQ_PREFIX);
    let topic = match core.state().topic(name) {
        Some(topic) => topic.clone(),
        // A group's retries outlive the deletion of their topic.
        None if derived => {
            let now = served.vb.now();
            served.topic_made(core, |core| derived_topic(core, name, 1, now)).ok()?
        }
        None => return None,
    };
    let queue = queue.min(topic.queues().saturating_sub(1));
    let text = properties::rewrite(&text, &[DELAY], &[]);
    let place = Place::plain(&topic, queue, &Seen::of(&text));
    Some((place, message, text))
}
