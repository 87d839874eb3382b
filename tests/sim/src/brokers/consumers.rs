//! Consumers: each reads every queue from where its group has come to, and commits.

use std::sync::Arc;
use std::time::Duration;

use protocol::remoting::code::response;
use tokio::time::sleep;

use super::owner::Owner;
use super::{BrokerLoad, door, requests};
use crate::process::Process;

/// Whose progress: group, topic, queue.
pub type Progress = (String, usize, u16);

impl BrokerLoad {
    /// Consumers of one group, one after another.
    pub async fn run_consumers(self: Arc<BrokerLoad>, number: usize) {
        loop {
            // What the one before it has sent is over by then: two at a time would commit in any order.
            sleep(Duration::from_millis(100)).await;
            let peer = self.clients.join(&self.world, "consumer");
            while !peer.process.is_dead() {
                sleep(self.pause()).await;
                let topic = self.chance.index(self.plan.topics);
                let queue = self.chance.within(0..u64::from(self.plan.queues)) as u16;
                self.consume(&peer.process, (format!("group-{number}"), topic, queue)).await;
            }
        }
    }

    /// A few pulls from where the group is, then a commit.
    async fn consume(self: &Arc<BrokerLoad>, client: &Arc<Process>, at: Progress) -> Option<()> {
        let owner = self.some_owner()?;
        let request = requests::committed(&at.0, at.1, at.2);
        let asked = at.clone();
        let reply = door::ask(self, client, &owner, request, move |model, reply| {
            let offset = reply.fields.number::<u64>("offset").ok();
            match reply.code {
                response::SUCCESS => model.progress_told(&asked, offset),
                response::QUERY_NOT_FOUND => model.progress_told(&asked, None),
                _ => {}
            }
        });
        let mut next = reply.await?.fields.number::<u64>("offset").unwrap_or(0);
        let first = next;
        for _ in 0..3 {
            let owner = self.some_owner()?;
            let Some(after) = self.pull(client, &owner, &at, next).await else { break };
            next = after;
        }
        if next > first || self.chance.hits(0.1) {
            let owner = self.some_owner()?;
            self.world.judge.hear(|model| model.brokers.commit_sent(&at, next));
            let request = requests::commit(&at.0, at.1, at.2, next);
            door::ask(self, client, &owner, request, move |model, reply| {
                if reply.code == response::SUCCESS {
                    model.brokers.commit_acknowledged(&at, next);
                }
            })
            .await;
        }
        Some(())
    }

    /// One pull; where the next one begins.
    pub async fn pull(
        self: &Arc<BrokerLoad>,
        client: &Arc<Process>,
        owner: &Arc<Owner>,
        at: &Progress,
        from: u64,
    ) -> Option<u64> {
        let request = requests::pull(&at.0, &requests::topic_name(at.1), at.2, from);
        let (topic, whose) = (at.1, at.clone());
        let reply = door::ask(self, client, owner, request, move |model, reply| {
            if reply.code == response::PULL_OFFSET_MOVED {
                model.queue_begins(&whose, from, requests::next(reply));
            }
            for (wanted, seen) in (from..).zip(requests::seen(topic, reply)) {
                if seen.place.offset != wanted {
                    let text = format!("a pull of {whose:?} gave {:?}, not {wanted}", seen.place);
                    model.violation("Q1", text);
                }
                model.message_seen(&seen);
            }
        });
        let reply = reply.await?;
        match reply.code {
            response::SUCCESS | response::PULL_NOT_FOUND => {
                Some(from + requests::seen(topic, &reply).len() as u64)
            }
            response::PULL_OFFSET_MOVED => Some(requests::next(&reply)),
            _ => None,
        }
    }
}
