//! How clients reach owners: late, over a dead route, or not at all.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use net::remoting::Connection;
use parking_lot::Mutex;
use protocol::remoting::Command;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::BrokerLoad;
use super::owner::{HOST, Owner, PORT};
use crate::judge::Model;
use crate::process::Process;

/// How long a client waits.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the judge hears of a reply: when it leaves its process, if it ever does.
type Said = Box<dyn FnOnce(&mut Model, &Command) + Send>;

/// Where a reply goes.
struct Way {
    load: Arc<BrokerLoad>,
    owner: Arc<Owner>,
    client: Arc<Process>,
    reply: Mutex<Option<(oneshot::Sender<Command>, Said)>>,
    /// While its owner has it to answer.
    asked: Mutex<Option<Asked>>,
}

/// A request that has come in and is not answered.
struct Asked(Arc<Owner>);

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.answered();
    }
}

impl Way {
    fn leave(self: &Arc<Way>, command: Command) {
        let Some((to, said)) = command.is_reply().then(|| self.reply.lock().take()).flatten() else { return };
        let way = self.clone();
        self.owner.process.enter(move || {
            let Way { load, client, owner, .. } = &*way;
            way.asked.lock().take();
            if !owner.is_connected() {
                return;
            }
            load.world.judge.hear(|model| said(model, &command));
            load.world.trace.note(&format!("a client is told {}", command.code));
            if load.chance.hits(load.plan.losses) {
                return;
            }
            let client = client.clone();
            let latency = load.chance.millis(load.plan.way_ms.0..load.plan.way_ms.1);
            load.world.agenda.after(latency, move || client.enter(move || drop(to.send(command))));
        });
    }
}

/// Asks an owner, over a connection of its own; none if no answer came in time.
pub async fn ask(
    load: &Arc<BrokerLoad>,
    client: &Arc<Process>,
    owner: &Arc<Owner>,
    mut request: Command,
    said: impl FnOnce(&mut Model, &Command) + Send + 'static,
) -> Option<Command> {
    client.awake().await;
    if !owner.is_open() {
        return None;
    }
    let (to, from) = oneshot::channel();
    let way = Arc::new(Way {
        load: load.clone(),
        owner: owner.clone(),
        client: client.clone(),
        reply: Mutex::new(Some((to, Box::new(said)))),
        asked: Mutex::default(),
    });
    if !load.chance.hits(load.plan.losses) {
        request.opaque = 1;
        let latency = load.chance.millis(load.plan.way_ms.0..load.plan.way_ms.1);
        let owner = owner.clone();
        load.world.agenda.after(latency, move || {
            let process = owner.process.clone();
            process.enter(move || {
                if owner.is_open() {
                    arrive(&owner, way, request);
                }
            });
        });
    }
    timeout(PATIENCE, from).await.ok()?.ok()
}

fn arrive(owner: &Arc<Owner>, way: Arc<Way>, request: Command) {
    let here = SocketAddr::from((HOST, PORT));
    let there = SocketAddr::from((Ipv4Addr::new(10, 0, 1, 1), 5000));
    let id = owner.asked();
    *way.asked.lock() = Some(Asked(owner.clone()));
    let leave = move |command| way.leave(command);
    let connection = Connection::without_socket(id, (there, here), owner.door.clone(), leave);
    owner.door.request(&connection, request);
    owner.door.drained(&connection);
}
