//! Producers: single messages, units, topics, and transactions that two sides may decide.

use std::sync::Arc;

use broker::state::topic::HALF;
use tokio::time::sleep;

use super::requests::{self, Outgoing, Told};
use super::{BrokerLoad, door};
use crate::process::Process;
use crate::world::Peer;

impl BrokerLoad {
    /// Producers one after another.
    pub async fn run_producers(self: Arc<BrokerLoad>) {
        loop {
            let peer = self.clients.join(&self.world, "producer");
            while !peer.process.is_dead() {
                sleep(self.pause()).await;
                self.produce(&peer).await;
            }
        }
    }

    async fn produce(self: &Arc<BrokerLoad>, peer: &Peer) {
        match self.chance.index(20) {
            0..3 => drop(self.send_unit(&peer.process).await),
            3..5 => self.transact(&peer.process).await,
            _ => drop(self.send_one(&peer.process).await),
        }
    }

    /// A message with a number that no other has.
    pub fn outgoing(&self) -> Outgoing {
        let id = self.world.judge.hear(|model| model.brokers.next_id());
        let len = self.chance.within(self.plan.sizes.0..self.plan.sizes.1 + 1) as usize;
        let filler = std::iter::repeat_n(id as u8, len);
        let body = id.to_be_bytes().into_iter().chain(filler).collect();
        let topic = self.topic(self.chance.index(self.plan.topics));
        let queue = self.chance.within(0..u64::from(self.plan.queues)) as u16;
        Outgoing { id, topic, queue, body }
    }

    pub async fn send_one(self: &Arc<BrokerLoad>, client: &Arc<Process>) -> Option<Told> {
        self.send(client, vec![self.outgoing()]).await
    }

    async fn send_unit(self: &Arc<BrokerLoad>, client: &Arc<Process>) -> Option<Told> {
        let unit = (0..2 + self.chance.index(3)).map(|_| self.outgoing()).collect();
        self.send(client, unit).await
    }

    async fn send(self: &Arc<BrokerLoad>, client: &Arc<Process>, unit: Vec<Outgoing>) -> Option<Told> {
        let owner = self.some_owner()?;
        self.world.judge.hear(|model| model.brokers.sent(&unit));
        let told = door::ask(self, client, &owner, move |owner, answer| {
            requests::send(owner, unit, answer);
        })
        .await;
        if let Some(Told::NoTopic(name)) = &told {
            self.create(client, name.clone()).await;
        }
        told
    }

    pub async fn create(self: &Arc<BrokerLoad>, client: &Arc<Process>, name: String) -> Option<Told> {
        let owner = self.some_owner()?;
        let queues = if name == HALF { 1 } else { self.plan.queues };
        door::ask(self, client, &owner, move |owner, answer| {
            requests::create_topic(owner, name, queues, answer);
        })
        .await
    }

    /// A half message, and then its decision: now and then the other one too, by somebody else.
    async fn transact(self: &Arc<BrokerLoad>, client: &Arc<Process>) {
        let Some(owner) = self.some_owner() else { return };
        let half = self.outgoing();
        self.world.judge.hear(|model| model.brokers.sent(std::slice::from_ref(&half)));
        let told = door::ask(self, client, &owner, move |owner, answer| {
            requests::prepare(owner, half, answer);
        });
        let offset = match told.await {
            Some(Told::Done(placed)) => placed.first().map(|at| at.queue_offset),
            Some(Told::NoTopic(name)) => {
                self.create(client, name).await;
                None
            }
            _ => None,
        };
        let Some(offset) = offset else { return };
        for _ in 0..1 + self.chance.index(3) {
            sleep(self.pause()).await;
            let real = self.chance.hits(0.5).then(|| self.outgoing());
            if let Some(real) = &real {
                self.world.judge.hear(|model| model.brokers.sent(std::slice::from_ref(real)));
            }
            let Some(owner) = self.some_owner() else { return };
            door::ask(self, client, &owner, move |owner, answer| {
                requests::decide(owner, offset, real, answer);
            })
            .await;
        }
    }
}
