use tokio::time::timeout;

use super::*;
use crate::entry::Contents;

/// A group that reads four queues of a topic.
async fn reader(owner: &Owner<'_>) -> Client {
    let client = owner.client();
    for queue in 0..4 {
        client.publish("t", queue, "", "x").await;
    }
    client.heartbeat("c", vec![consumes("g", "t", 1)], &[]).await;
    client
}

/// How many records the entry has that begins here.
fn records(owner: &Owner<'_>, position: u64) -> usize {
    let (base, body) = owner.served.vb.core().entry(position).unwrap();
    assert_eq!(base, position);
    Contents::decode(base, &body).unwrap().rows.len()
}

#[tokio::test(start_paused = true)]
async fn commits_that_nobody_waits_for_are_one_record() {
    let world = World::new();
    let owner = world.open().await;
    let client = reader(&owner).await;
    let before = owner.served.vb.core().staged();
    for (queue, offset) in [(0, 1), (1, 1), (0, 2), (2, 1), (0, 3), (3, 1)] {
        client.send(commit_one_way("g", "t", queue, offset));
        wait(10).await;
    }
    assert_eq!(owner.served.vb.core().staged(), before);
    wait(100).await;
    let after = owner.served.vb.core().staged();
    assert_eq!(records(&owner, before), 1);
    wait(1_000).await;
    assert_eq!(owner.served.vb.core().staged(), after);
    let reply = client.ask(query("g", "t", 0)).await;
    assert_eq!(reply.fields.get("offset"), Some("3"));
}

#[tokio::test(start_paused = true)]
async fn commits_that_nobody_waits_for_outlive_a_stop() {
    let world = World::new();
    let owner = world.open().await;
    let client = reader(&owner).await;
    let began = Instant::now();
    client.send(commit_one_way("g", "t", 2, 1));
    owner.served.close().await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(100), "nobody has waited until they are due");
    let next = world.open().await;
    let reply = next.client().ask(query("g", "t", 2)).await;
    assert_eq!((reply.code, reply.fields.get("offset")), (0, Some("1")));
}

/// The log does not take the last record: there is nothing to wait for, and a checkpoint can be taken all the same.
#[tokio::test(start_paused = true)]
async fn a_stop_that_is_refused_waits_for_nothing() {
    let limits = vb::Limits { unacknowledged: 32 << 10, reserve: 0, ..vb::Limits::default() };
    let world = World { limits, ..World::new() };
    let owner = world.open().await;
    let client = reader(&owner).await;
    let log = LogName::new("vb-0").unwrap();
    world.logs.hold(&log);
    client.send(send("t", 0, "").write().body("x".repeat(64 << 10)));
    let release = async {
        wait(50).await;
        world.logs.release(&log);
    };
    let (closed, ()) = tokio::join!(timeout(Duration::from_millis(900), owner.served.close()), release);
    assert!(matches!(closed, Ok(Ok(()))), "{closed:?}");
    let next = world.open().await;
    assert_eq!(next.client().pull("t", 0, 1).await.messages.len(), 1);
}
