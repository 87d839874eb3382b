//! `stratamq topic`

use broker::state::topic::{MAX_QUEUES, REPLY_SUFFIX, is_system};
use clap::{Subcommand, ValueEnum, value_parser};
use client::{Admin, Durability, TopicSettings};
use protocol::body::route::{PERM_READ, PERM_WRITE};

use super::{Arguments, Where, failed};
use crate::error::{Error, Outcome};

/// Brokers refuse more.
const MOST_QUEUES: i64 = MAX_QUEUES as i64;

#[derive(Subcommand)]
pub enum Command {
    /// All topics
    List {
        /// Those of the system, of retries and of dead letters too
        #[arg(long)]
        all: bool,
    },
    /// A topic's queues, what is in them, and who consumes it
    Describe { topic: String },
    /// Make a topic, or change it, on every broker
    Create {
        topic: String,
        /// Queues on each broker
        #[arg(long, value_name = "N", default_value_t = 8, value_parser = value_parser!(i32).range(1..=MOST_QUEUES))]
        queues: i32,
        /// What may be done with it: rw, r or w
        #[arg(long, value_name = "PERM", default_value = "rw")]
        perm: String,
        /// When senders are answered: sync (the message is on enough disks) or async (it is on its way there)
        #[arg(long)]
        durability: Option<Answered>,
    },
    /// Delete a topic and its messages
    Delete { topic: String },
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Answered {
    Sync,
    Async,
}

pub async fn run(Arguments { at, command }: Arguments<Command>) -> Outcome {
    let admin = at.client()?.admin();
    match command {
        Command::List { all } => list(&at, &admin, all).await,
        Command::Describe { topic } => describe(&at, &admin, &topic).await,
        Command::Create { topic, queues, perm, durability } => {
            let perm = permission(&perm)?;
            let durability = durability.map(|answered| match answered {
                Answered::Sync => Durability::Sync,
                Answered::Async => Durability::Async,
            });
            let settings = TopicSettings { read_queues: queues, write_queues: queues, perm, durability };
            admin.create_topic(&topic, &settings).await.map_err(failed)?;
            at.tell(&format!("topic {topic} has {queues} queues on each broker"));
            Ok(())
        }
        Command::Delete { topic } => {
            admin.delete_topic(&topic).await.map_err(failed)?;
            at.tell(&format!("topic {topic} is deleted"));
            Ok(())
        }
    }
}

fn permission(text: &str) -> Outcome<i32> {
    match text {
        "rw" | "wr" => Ok(PERM_READ | PERM_WRITE),
        "r" => Ok(PERM_READ),
        "w" => Ok(PERM_WRITE),
        _ => Err(Error::Usage(format!("--perm: rw, r or w, not '{text}'"))),
    }
}

async fn list(at: &Where, admin: &Admin, all: bool) -> Outcome {
    let topics = admin.topics().await.map_err(failed)?;
    let cluster = admin.cluster().await.map_err(failed)?;
    // There is a topic of the name of each cluster, with and without the suffix, and of each broker.
    let named = |topic: &str| {
        let of = topic.strip_suffix(REPLY_SUFFIX).unwrap_or(topic);
        cluster.broker_addr_table.contains_key(topic) || cluster.cluster_addr_table.contains_key(of)
    };
    let system = |topic: &str| {
        topic.starts_with('%') || topic.starts_with("RMQ_SYS_") || is_system(topic) || named(topic)
    };
    let topics = topics.into_iter().filter(|topic| all || !system(topic));
    let rows: Vec<_> = topics.map(|topic| [topic.into()]).collect();
    at.show(["topic"], &rows)
}

async fn describe(at: &Where, admin: &Admin, topic: &str) -> Outcome {
    let extents = admin.extents(topic).await.map_err(failed)?;
    let groups = admin.groups(topic).await.map_err(failed)?;
    let rows: Vec<_> = extents
        .into_iter()
        .map(|(queue, extent)| {
            let (min, max) = (extent.min_offset, extent.max_offset);
            let last = at.time(extent.last_update_timestamp);
            [queue.broker.into(), queue.id.into(), min.into(), max.into(), (max - min).into(), last]
        })
        .collect();
    let who = if groups.is_empty() { "nobody".to_owned() } else { groups.join(", ") };
    at.show_with(["broker", "queue", "min", "max", "messages", "last"], &rows, &[("groups", groups.into())])?;
    at.tell(&format!("\nconsumed by {who}"));
    Ok(())
}
