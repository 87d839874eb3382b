//! Delayed messages: a queue for each level, in the order of their due times, and a task that looks at its head only.
//! So it does not matter how many wait, and no level waits for another one's backlog. What was delivered is in the log
//! with the message itself.

use std::sync::Arc;
use std::time::Duration;

use protocol::message::stored::Message;
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::sleep;

use super::Served;
use super::properties::{self, DELAY, Seen};
use super::put::{Parts, Pieces, Place, derived_topic, record};
use crate::error::Error;
use crate::state::topic::{DLQ_PREFIX, RETRY_PREFIX};
use crate::state::{Change, DelayLevels, TopicId};
use crate::vb::clock::AGREE;
use crate::vb::{Core, Record, Refused, Row, Rows};

/// Rows of a level that are delivered in one go.
const AT_ONCE: usize = 256;
const BYTES_AT_ONCE: usize = 4 << 20;
/// After a refusal, or when messages cannot be read.
const AGAIN: Duration = Duration::from_millis(100);
/// How often it is asked whether a clock in doubt is right again.
const DOUBT: Duration = Duration::from_secs(1);
/// Nobody sleeps for longer while something waits: clocks are set, machines stand still, and levels are shortened.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// Wakes the levels' tasks.
#[derive(Debug)]
pub(super) struct Delays {
    levels: Vec<Notify>,
}

impl Default for Delays {
    fn default() -> Delays {
        Delays { levels: (0..DelayLevels::MOST).map(|_| Notify::new()).collect() }
    }
}

impl Delays {
    /// A delay queue has more.
    pub fn arrived(&self, queue: u16) {
        if let Some(level) = self.levels.get(usize::from(queue)) {
            level.notify_one();
        }
    }
}

/// Delivers what is due of a delay queue, for as long as the virtual broker is ours.
pub(super) async fn run(served: Arc<Served>, queue: u16) {
    let Some(more) = served.delays.levels.get(usize::from(queue)) else { return };
    let level = queue + 1;
    let mut head = None;
    loop {
        let told = more.notified();
        let mut wait = None;
        if waits(&served.vb.core(), level) {
            if !clock_is_right(&served).await {
                return;
            }
            // In a box: most levels never have anything to deliver.
            let delivered = Box::pin(deliver(&served, level, &mut head)).await;
            wait = delivered.unwrap_or_else(|trouble| {
                tracing::warn!("delayed messages of level {level} are late: {trouble}");
                Some(AGAIN)
            });
        }
        if served.vb.core().ended() {
            return;
        }
        match wait {
            Some(Duration::ZERO) => yield_now().await,
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

fn waits(core: &Core, level: u16) -> bool {
    let end = core.state().delay_topic().map_or(0, |topic| core.max_offset(topic, level - 1));
    end > core.state().delivered(level)
}

/// Delivers some of what is due of a level; returns how long until it is to be looked at again, if something waits.
/// `head` is the first waiting row, where that is known.
async fn deliver(
    served: &Arc<Served>,
    level: u16,
    head: &mut Option<Row>,
) -> Result<Option<Duration>, Trouble> {
    let now = served.vb.now().wall;
    let (topic, from, delay) = {
        let core = served.vb.core();
        let state = core.state();
        let Some(topic) = state.delay_topic() else { return Ok(None) };
        (topic, state.delivered(level), state.settings().delay_levels.delay(level).unwrap_or(0))
    };
    let until =
        |row: &Row| Duration::from_millis(due(row, delay, now).saturating_sub(now).max(0).unsigned_abs());
    if let Some(wait) = head.filter(|head| head.offset == from).map(|head| until(&head))
        && !wait.is_zero()
    {
        return Ok(Some(wait.min(LOOK)));
    }
    let rows = match served.vb.rows(topic, level - 1, from, AT_ONCE, BYTES_AT_ONCE).await? {
        Rows::Found(rows) => rows,
        // What retention took, though it should not have: go on behind it rather than wait for ever.
        Rows::Outside { min, .. } if min > from => {
            skip(served, level, min)?;
            return Ok(Some(Duration::ZERO));
        }
        _ => return Ok(None),
    };
    let due: Vec<Row> = rows.iter().take_while(|row| until(row).is_zero()).copied().collect();
    *head = rows.get(due.len()).copied();
    if !due.is_empty() || head.is_none() {
        batch(served, topic, level, &due).await?;
        if served.vb.core().state().delivered(level) == from {
            return Err(Trouble::Stuck(from));
        }
    }
    Ok(Some(head.map_or(Duration::ZERO, |head| until(&head).min(LOOK))))
}

/// When a row is due: as it was said when it was stored, or earlier if its level was shortened since. One that is to wait
/// for longer than its level takes, and more than clocks may differ, was stored by a clock that was wrong: it has waited.
fn due(row: &Row, delay: i64, now: i64) -> i64 {
    let due = row.tag.min(row.store_time.saturating_add(delay));
    let latest = now.saturating_add(delay).saturating_add(AGREE);
    if due > latest { now } else { due }
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
