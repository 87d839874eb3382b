//! Consumers: each reads every queue from where its group has come to, and commits.

use std::sync::Arc;

use tokio::time::sleep;

use super::{BrokerLoad, door, requests};
use crate::process::Process;

impl BrokerLoad {
    /// Consumers of one group, one after another.
    pub async fn run_consumers(self: Arc<BrokerLoad>, number: usize) {
        loop {
            let peer = self.clients.join(&self.world, "consumer");
            while !peer.process.is_dead() {
                sleep(self.pause()).await;
                let topic = self.topic(self.chance.index(self.plan.topics));
                let queue = self.chance.within(0..u64::from(self.plan.queues)) as u16;
                self.consume(&peer.process, (format!("group-{number}"), topic, queue)).await;
            }
        }
    }

    /// A few pulls from where the group is, then a commit.
    async fn consume(self: &Arc<BrokerLoad>, client: &Arc<Process>, at: (String, String, u16)) -> Option<()> {
        let owner = self.some_owner()?;
        let asked = at.clone();
        let from =
            door::ask(self, client, &owner, move |owner, answer| requests::committed(owner, asked, answer));
        let mut next = from.await?.max(0) as u64;
        let first = next;
        for _ in 0..3 {
            let owner = self.some_owner()?;
            let (topic, queue, from) = (at.1.clone(), at.2, next);
            let seen = door::ask(self, client, &owner, move |owner, answer| {
                requests::pull(owner, topic, queue, from, answer);
            });
            let Some(seen) = seen.await else { break };
            for message in &seen {
                if message.place.offset != next {
                    let text = format!("a pull from {next} of {at:?} gave offset {}", message.place.offset);
                    self.world.judge.hear(|model| model.violation("Q1", text));
                }
                next = message.place.offset + 1;
            }
        }
        if next > first || self.chance.hits(0.1) {
            let owner = self.some_owner()?;
            door::ask(self, client, &owner, move |owner, answer| {
                requests::commit(owner, at, next as i64, answer);
            })
            .await;
        }
        Some(())
    }
}
