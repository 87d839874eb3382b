//! At the end: a last owner takes over, takes messages, and everything is read back.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::BrokerLoad;
use super::owner::{self, Owner};
use crate::process::Process;

pub async fn scrub(load: &Arc<BrokerLoad>) -> Result<(), String> {
    let peer = load.clients.join(&load.world, "the last broker");
    let client = load.clients.join(&load.world, "the last client");
    let started = owner::start(load, &peer, "the-last").await;
    let _broker = started.map_err(|error| format!("a broker cannot be started: {error}"))?;
    let mut last = "nobody claims it".to_owned();
    for _ in 0..100 {
        if let Some(owner) = load.owner_of(&peer.process) {
            load.owners.lock().retain(|other| Arc::ptr_eq(other, &owner));
            last = match load.send_one(&client.process).await {
                true => match read_all(load, &client.process, &owner).await {
                    // Something that the storm has left in flight may have come after us.
                    Err(_) if owner.is_over() => "it was stolen".into(),
                    read => return read,
                },
                false => "nothing is acknowledged".into(),
            };
        }
        sleep(Duration::from_secs(1)).await;
    }
    Err(format!("the virtual broker cannot be used after everything has healed: {last}"))
}

async fn read_all(load: &Arc<BrokerLoad>, client: &Arc<Process>, owner: &Arc<Owner>) -> Result<(), String> {
    for topic in 0..load.plan.topics {
        for queue in 0..load.plan.queues {
            let end = load.world.judge.model().brokers.end(topic, queue);
            let (mut next, mut tries) = (0, 0);
            // What nobody was told of may be there too.
            loop {
                let at = ("last-group".to_string(), topic, queue);
                match load.pull(client, owner, &at, next).await {
                    Some(after) if after > next => next = after,
                    Some(_) if next >= end => break,
                    // A topic that nobody has sent to.
                    None if end == 0 && tries > 0 => break,
                    _ if tries > 20 => {
                        return Err(format!(
                            "topic {topic} queue {queue} cannot be read from {next} to {end}"
                        ));
                    }
                    _ => {
                        tries += 1;
                        sleep(Duration::from_secs(1)).await;
                    }
                }
            }
        }
    }
    load.world.judge.hear(|model| model.brokers_end());
    Ok(())
}
