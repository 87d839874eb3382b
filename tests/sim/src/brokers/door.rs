//! How clients reach owners: late, twice over a dead route, or not at all.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::BrokerLoad;
use super::owner::Owner;
use crate::process::Process;

/// How long a client waits.
const PATIENCE: Duration = Duration::from_secs(3);

/// The duty to answer a client; dropped, the client is never told.
pub struct Answer<T> {
    load: Arc<BrokerLoad>,
    owner: Arc<Process>,
    client: Arc<Process>,
    to: oneshot::Sender<T>,
}

impl<T: Send + 'static> Answer<T> {
    /// `said` is what the judge hears: when the answer leaves its process, if it ever does.
    pub fn give(self, answer: T, said: impl FnOnce(&mut crate::judge::Model) + Send + 'static) {
        let Answer { load, owner, client, to } = self;
        let leaving = owner.clone();
        leaving.enter(move || {
            load.world.judge.hear(said);
            if load.chance.hits(load.plan.losses) {
                return;
            }
            let way = load.chance.millis(load.plan.way_ms.0..load.plan.way_ms.1);
            load.world.agenda.after(way, move || client.enter(move || drop(to.send(answer))));
        });
    }
}

/// Asks an owner; none if no answer came in time.
pub async fn ask<T: Send + 'static>(
    load: &Arc<BrokerLoad>,
    client: &Arc<Process>,
    owner: &Arc<Owner>,
    what: impl FnOnce(&Arc<Owner>, Answer<T>) + Send + 'static,
) -> Option<T> {
    client.awake().await;
    let (to, from) = oneshot::channel();
    let answer = Answer { load: load.clone(), owner: owner.process.clone(), client: client.clone(), to };
    if !load.chance.hits(load.plan.losses) {
        let way = load.chance.millis(load.plan.way_ms.0..load.plan.way_ms.1);
        let owner = owner.clone();
        load.world.agenda.after(way, move || {
            let process = owner.process.clone();
            process.enter(move || what(&owner, answer));
        });
    }
    timeout(PATIENCE, from).await.ok()?.ok()
}

impl<T> Answer<T> {
    pub fn world(&self) -> crate::world::World {
        self.load.world.clone()
    }
}
