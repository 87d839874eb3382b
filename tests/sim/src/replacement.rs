//! An operator puts another machine at a bookie's address.

use std::sync::Arc;
use std::time::Duration;

use ledger::Cluster;
use ledger::repair::{cancel_decommission, decommission, finish_decommission};
use metadata::Ledgers;
use tokio::time::{sleep, timeout};

use crate::node::{Ending, Node};
use crate::world::World;

/// How long repair may take before the operator changes his mind.
const PATIENCE: Duration = Duration::from_secs(60);

/// Takes the bookie down, waits until nothing names it, forgets it, and starts another one with empty disks at the
/// same address. Whether it came to that.
pub async fn replace(world: &World, node: &Arc<Node>, seed: u64) -> bool {
    node.take_out_of_service(true);
    node.stop(world, Ending::Kill);
    let peer = world.operator();
    let ledgers = Ledgers::new(peer.store.clone(), world.meta.scope.clone(), seed);
    let cluster = Cluster::new(peer.bookies.clone(), ledgers, seed);
    let done = timeout(PATIENCE, empty(&cluster, node)).await.is_ok();
    if done {
        world.trace.note(&format!("{} is replaced", node.id));
        node.renew_disks(world);
    } else {
        let (store, scope) = (&**cluster.ledgers.store(), cluster.ledgers.scope());
        while cancel_decommission(store, scope, &node.id).await.is_err() {
            sleep(Duration::from_millis(500)).await;
        }
    }
    peer.process.kill();
    node.take_out_of_service(false);
    done
}

/// Returns when the bookie is forgotten.
async fn empty(cluster: &Cluster, node: &Node) {
    let (store, scope) = (&**cluster.ledgers.store(), cluster.ledgers.scope());
    while decommission(store, scope, &node.id).await.is_err() {
        sleep(Duration::from_millis(500)).await;
    }
    while finish_decommission(cluster, &node.id).await.is_err() {
        sleep(Duration::from_millis(500)).await;
    }
}
