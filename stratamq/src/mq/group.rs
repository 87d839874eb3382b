//! `stratamq group`

use clap::Subcommand;
use client::Admin;

use super::{Arguments, Where, failed, now_ms};
use crate::config::Span;
use crate::error::{Error, Outcome};

#[derive(Subcommand)]
pub enum Command {
    /// All groups that have consumed, and what waits for them
    List,
    /// Who consumes as this group
    Describe { group: String },
    /// How far a group is in each queue
    Lag {
        group: String,
        #[arg(long)]
        topic: Option<String>,
    },
    /// Make a group, with RocketMQ's settings
    Create { group: String },
    /// Delete a group, its offsets, and what it was to get again; its dead letters stay
    Delete { group: String },
    /// Move a group in a topic
    Reset {
        group: String,
        #[arg(long)]
        topic: String,
        /// first, last, a time ago (1h), or a time in ms since 1970
        #[arg(long, value_name = "WHEN")]
        to: String,
    },
}

pub async fn run(Arguments { at, command }: Arguments<Command>) -> Outcome {
    let admin = at.client()?.admin();
    match command {
        Command::List => list(&at, &admin).await,
        Command::Describe { group } => describe(&at, &admin, &group).await,
        Command::Lag { group, topic } => lag(&at, &admin, &group, topic.as_deref()).await,
        Command::Create { group } => {
            admin.create_group(&group).await.map_err(failed)?;
            at.tell(&format!("group {group} is made"));
            Ok(())
        }
        Command::Delete { group } => {
            admin.delete_group(&group).await.map_err(failed)?;
            at.tell(&format!("group {group} is deleted"));
            Ok(())
        }
        Command::Reset { group, topic, to } => reset(&at, &admin, &group, &topic, &to).await,
    }
}

/// A group has a topic for its retries.
async fn list(at: &Where, admin: &Admin) -> Outcome {
    let topics = admin.topics().await.map_err(failed)?;
    let mut rows = Vec::new();
    for group in topics.iter().filter_map(|topic| topic.strip_prefix("%RETRY%")) {
        let places = admin.places(group, None).await.map_err(failed)?;
        let lag: i64 = places.values().map(client::Place::lag).sum();
        let members = admin.members(group).await.map_err(failed)?.len();
        rows.push([group.into(), members.into(), lag.into()]);
    }
    at.show(["group", "members", "lag"], &rows)
}

async fn describe(at: &Where, admin: &Admin, group: &str) -> Outcome {
    let members = admin.members(group).await.map_err(failed)?;
    if members.is_empty() {
        at.tell(&format!("nobody consumes as {group} now"));
        return Ok(());
    }
    let rows: Vec<_> = members
        .into_iter()
        .map(|member| {
            [
                member.client_id.into(),
                member.client_addr.into(),
                member.language.into(),
                member.version.into(),
            ]
        })
        .collect();
    at.show(["client", "address", "language", "version"], &rows)
}

async fn lag(at: &Where, admin: &Admin, group: &str, topic: Option<&str>) -> Outcome {
    let places = admin.places(group, topic).await.map_err(failed)?;
    let rows: Vec<_> = places
        .into_iter()
        .map(|(queue, place)| {
            let last = at.time(place.last_timestamp);
            let (max, lag) = (place.broker_offset.into(), place.lag().into());
            let consumed = place.consumer_offset.into();
            [queue.topic.into(), queue.broker.into(), queue.id.into(), max, consumed, lag, last]
        })
        .collect();
    at.show(["topic", "broker", "queue", "max", "consumed", "lag", "last consumed"], &rows)
}

async fn reset(at: &Where, admin: &Admin, group: &str, topic: &str, to: &str) -> Outcome {
    let time = when(to)?;
    let moved = admin.reset(group, topic, time).await.map_err(failed)?;
    let rows: Vec<_> = moved
        .into_iter()
        .map(|(queue, offset)| [queue.topic.into(), queue.broker.into(), queue.id.into(), offset.into()])
        .collect();
    at.show(["topic", "broker", "queue", "offset"], &rows)
}

/// The time that RocketMQ knows a place by: 0 is the oldest message, −1 the newest.
fn when(text: &str) -> Outcome<i64> {
    let wrong =
        || Error::Usage(format!("--to: first, last, a time ago such as 1h, or ms since 1970, not '{text}'"));
    match text {
        "first" => Ok(0),
        "last" => Ok(-1),
        _ => match text.parse::<i64>() {
            Ok(ms) if ms >= 0 => Ok(ms),
            Ok(_) => Err(wrong()),
            Err(_) => {
                let ago: Span = text.parse().map_err(|_| wrong())?;
                Ok(now_ms() - ago.0.as_millis() as i64)
            }
        },
    }
}
