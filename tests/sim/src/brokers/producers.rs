//! Producers: single messages, batches, and transactions that two sides may decide.

use std::sync::Arc;

use protocol::remoting::Command;
use protocol::remoting::code::response;
use tokio::time::sleep;

use super::requests::{self, Outgoing};
use super::{BrokerLoad, door};
use crate::process::Process;

impl BrokerLoad {
    /// Producers one after another.
    pub async fn run_producers(self: Arc<BrokerLoad>) {
        loop {
            let peer = self.clients.join(&self.world, "producer");
            while !peer.process.is_dead() {
                sleep(self.pause()).await;
                self.produce(&peer.process).await;
            }
        }
    }

    async fn produce(self: &Arc<BrokerLoad>, client: &Arc<Process>) {
        match self.chance.index(20) {
            0..3 => drop(self.send(client, self.outgoing(2 + self.chance.index(3))).await),
            3..5 if self.plan.transactions => drop(self.transact(client).await),
            _ => drop(self.send(client, self.outgoing(1)).await),
        }
    }

    /// Messages with numbers that no others have.
    fn outgoing(&self, count: usize) -> Outgoing {
        let message = |_| {
            let id = self.world.judge.hear(|model| model.brokers.next_id());
            let len = self.chance.within(self.plan.sizes.0..self.plan.sizes.1 + 1) as usize;
            let filler = std::iter::repeat_n(id as u8, len);
            (id, id.to_be_bytes().into_iter().chain(filler).collect::<Vec<u8>>().into())
        };
        let messages = (0..count).map(message).collect();
        let topic = self.chance.index(self.plan.topics);
        let queue = self.chance.within(0..u64::from(self.plan.queues)) as u16;
        Outgoing { topic, queue, messages }
    }

    /// Whether one more message is acknowledged.
    pub async fn send_one(self: &Arc<BrokerLoad>, client: &Arc<Process>) -> bool {
        let reply = self.send(client, self.outgoing(1)).await;
        reply.is_some_and(|reply| reply.code == response::SUCCESS)
    }

    async fn send(self: &Arc<BrokerLoad>, client: &Arc<Process>, outgoing: Outgoing) -> Option<Command> {
        let owner = self.some_owner()?;
        self.world.judge.hear(|model| model.brokers.sent(&outgoing, false));
        let (request, epoch) = (requests::send(&outgoing, self.plan.queues), owner.served.vb.epoch());
        door::ask(self, client, &owner, request, move |model, reply| {
            let places = requests::placed(&outgoing, reply);
            if reply.code == response::SUCCESS && places.len() != outgoing.messages.len() {
                model.violation("Q2", format!("{outgoing:?} is stored at {places:?}"));
            }
            for ((id, _), place) in outgoing.messages.iter().zip(places) {
                model.message_acknowledged(epoch, *id, place);
            }
        })
        .await
    }

    /// A half message, and then its decision: now and then the other one too.
    async fn transact(self: &Arc<BrokerLoad>, client: &Arc<Process>) -> Option<()> {
        let owner = self.some_owner()?;
        let outgoing = self.outgoing(1);
        let id = outgoing.messages.first().map(|(id, _)| *id)?;
        self.world.judge.hear(|model| model.brokers.sent(&outgoing, true));
        let request = requests::prepare(&outgoing, self.plan.queues);
        let told = outgoing.clone();
        let reply = door::ask(self, client, &owner, request, move |model, reply| {
            if let Some(place) = requests::placed(&told, reply).first() {
                model.brokers.half_acknowledged(id, place);
            }
        });
        let at = requests::placed(&outgoing, &reply.await?).first().copied()?;
        if self.chance.hits(0.1) {
            return None;
        }
        for _ in 0..1 + self.chance.index(3) {
            sleep(self.pause()).await;
            let owner = self.some_owner()?;
            let commits = self.chance.hits(0.5);
            self.world.judge.hear(|model| model.brokers.perhaps_decided(id));
            let request = requests::decide(&at, commits);
            let decided = move |model: &mut crate::judge::Model, reply: &Command| {
                if reply.code == response::SUCCESS {
                    model.half_decided(id, commits);
                }
            };
            door::ask(self, client, &owner, request, decided).await;
        }
        Some(())
    }
}
