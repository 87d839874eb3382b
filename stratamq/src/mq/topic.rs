//! `stratamq topic`

use clap::Subcommand;
use client::{Admin, TopicSettings};
use protocol::body::route::{PERM_READ, PERM_WRITE};

use super::{Arguments, Where, failed, time};
use crate::error::{Error, Outcome};

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
        #[arg(long, value_name = "N", default_value_t = 8)]
        queues: i32,
        /// What may be done with it: rw, r or w
        #[arg(long, value_name = "PERM", default_value = "rw")]
        perm: String,
    },
    /// Delete a topic and its messages
    Delete { topic: String },
}

pub async fn run(Arguments { at, command }: Arguments<Command>) -> Outcome {
    let admin = at.client()?.admin();
    match command {
        Command::List { all } => list(&at, &admin, all).await,
        Command::Describe { topic } => describe(&at, &admin, &topic).await,
        Command::Create { topic, queues, perm } => {
            let perm = permission(&perm)?;
            if !(1..=65_535).contains(&queues) {
                return Err(Error::Usage("--queues: from 1 to 65535".into()));
            }
            let settings = TopicSettings { read_queues: queues, write_queues: queues, perm };
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
    let brokers: Vec<String> = admin.masters().await.map_err(failed)?.into_keys().collect();
    let system = |topic: &str| {
        topic.starts_with('%')
            || topic.starts_with("RMQ_SYS_")
            || topic.starts_with("rmq_sys_")
            || brokers.iter().any(|broker| topic.starts_with(broker.as_str()))
            || [
                "TBW102",
                "TRANS_CHECK_MAX_TIME_TOPIC",
                "SELF_TEST_TOPIC",
                "OFFSET_MOVED_EVENT",
                "BenchmarkTest",
                "SCHEDULE_TOPIC_XXXX",
            ]
            .contains(&topic)
    };
    let topics = topics.into_iter().filter(|topic| all || !system(topic));
    let rows: Vec<_> = topics.map(|topic| [topic]).collect();
    at.show(["topic"], &rows)
}

async fn describe(at: &Where, admin: &Admin, topic: &str) -> Outcome {
    let extents = admin.extents(topic).await.map_err(failed)?;
    let rows: Vec<_> = extents
        .into_iter()
        .map(|(queue, extent)| {
            let messages = extent.max_offset - extent.min_offset;
            let last = if at.json {
                extent.last_update_timestamp.to_string()
            } else {
                time(extent.last_update_timestamp)
            };
            let numbers = [queue.id.into(), extent.min_offset, extent.max_offset, messages];
            let [id, min, max, messages] = numbers.map(|number: i64| number.to_string());
            [queue.broker, id, min, max, messages, last]
        })
        .collect();
    at.show(["broker", "queue", "min", "max", "messages", "last"], &rows)?;
    let groups = admin.groups(topic).await.map_err(failed)?;
    if !at.json {
        let who = if groups.is_empty() { "nobody".to_owned() } else { groups.join(", ") };
        at.tell(&format!("\nconsumed by {who}"));
    }
    Ok(())
}
