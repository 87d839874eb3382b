//! At the end: a last owner takes over, takes messages, and everything is read back.

use std::sync::Arc;
use std::time::Duration;

use broker::index::Rows;
use broker::state::TopicId;
use tokio::time::{sleep, timeout};

use super::BrokerLoad;
use super::owner::{self, Owner};
use super::requests::{Told, look};

pub async fn scrub(load: &Arc<BrokerLoad>) -> Result<(), String> {
    let peer = load.clients.join(&load.world, "the last broker");
    let client = load.clients.join(&load.world, "the last client");
    let mut last = String::new();
    for _ in 0..60 {
        let owner = match timeout(Duration::from_secs(30), owner::open(load, &peer)).await {
            Ok(Ok(owner)) => owner,
            Ok(Err(error)) => {
                last = error.to_string();
                sleep(Duration::from_secs(1)).await;
                continue;
            }
            Err(_) => {
                last = "it takes longer than 30 s to open it".into();
                continue;
            }
        };
        load.owners.lock().retain(|other| Arc::ptr_eq(other, &owner));
        load.create(&client.process, load.topic(0)).await;
        last = match load.send_one(&client.process).await {
            Some(Told::Done(_)) => match read_all(load, &owner).await {
                // An owner that was still opening when the storm ended may come after us.
                Err(_) if owner.is_over() => "it was stolen".into(),
                read => return read,
            },
            told => format!("nothing is acknowledged: {told:?}"),
        };
        sleep(Duration::from_secs(1)).await;
    }
    Err(format!("the virtual broker cannot be used after everything has healed: {last}"))
}

async fn read_all(load: &BrokerLoad, owner: &Owner) -> Result<(), String> {
    let queues: Vec<(TopicId, u16)> = {
        let core = owner.vb.core();
        core.index().queues().map(|queue| (queue.topic, queue.queue)).collect()
    };
    for (topic, queue) in queues {
        let mut next = 0;
        loop {
            let rows = owner.vb.rows(topic, queue, next, 100, 1 << 20).await;
            let rows = match rows.map_err(|why| format!("topic {} queue {queue}: {why}", topic.0))? {
                Rows::Found(rows) => rows,
                Rows::End => break,
                other => return Err(format!("topic {} queue {queue}: {other:?} at {next}", topic.0)),
            };
            for row in rows {
                if row.offset != next {
                    let text = format!("topic {} queue {queue}: {} follows {next}", topic.0, row.offset);
                    load.world.judge.hear(|model| model.violation("Q1", text));
                    return Ok(());
                }
                next += 1;
                let bytes = read(owner, row.position, row.len).await?;
                load.world.judge.hear(|model| model.message_seen(&look(&row, topic, queue, bytes)));
            }
        }
        load.world.judge.hear(|model| model.brokers.read_whole(topic, queue, next));
    }
    load.world.judge.hear(|model| model.brokers_end());
    Ok(())
}

async fn read(owner: &Owner, position: u64, len: u32) -> Result<bytes::Bytes, String> {
    for _ in 0..20 {
        if let Some(bytes) = owner::message(owner, position, len).await {
            return Ok(bytes);
        }
        sleep(Duration::from_secs(1)).await;
    }
    Err(format!("the message at position {position} cannot be read"))
}
