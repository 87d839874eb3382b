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
use super::owner::Owner;
use crate::judge::Model;
use crate::process::Process;

/// How long a client waits.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the judge hears of a reply: when it leaves its process, if it ever does.
type Said = Box<dyn FnOnce(&mut Model, &Command) + Send>;

/// Where a reply goes.
struct Way {
    load: Arc<BrokerLoad>,
    owner: Arc<Process>,
    client: Arc<Process>,
    reply: Mutex<Option<(oneshot::Sender<Command>, Said)>>,
}

impl Way {
    fn leave(self: &Arc<Way>, command: Command) {
        let Some((to, said)) = command.is_reply().then(|| self.reply.lock().take()).flatten() else { return };
        let way = self.clone();
        self.owner.enter(move || {
            let Way { load, client, .. } = &*way;
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
    let (to, from) = oneshot::channel();
    let way = Arc::new(Way {
        load: load.clone(),
        owner: owner.process.clone(),
        client: client.clone(),
        reply: Mutex::new(Some((to, Box::new(said)))),
    });
    if !load.chance.hits(load.plan.losses) {
        request.opaque = 1;
        let latency = load.chance.millis(load.plan.way_ms.0..load.plan.way_ms.1);
        let owner = owner.clone();
        load.world.agenda.after(latency, move || {
            let process = owner.process.clone();
            process.enter(move || arrive(&owner, way, request));
        });
    }
    timeout(PATIENCE, from).await.ok()?.ok()
}

fn arrive(owner: &Owner, way: Arc<Way>, request: Command) {
    let here = SocketAddr::from((Ipv4Addr::new(10, 0, 0, 3), 10911));
    let there = SocketAddr::from((Ipv4Addr::new(10, 0, 1, 1), 5000));
    let leave = move |command| way.leave(command);
    let id = owner.next_connection();
    let connection = Connection::without_socket(id, (there, here), owner.door.clone(), leave);
    owner.door.request(&connection, request);
    owner.door.drained(&connection);
}
