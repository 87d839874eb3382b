use rustix::time::{ClockId, clock_gettime};

use super::*;

/// What this thread, and so everything in a test, has computed for so far.
fn computed() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn fifty_thousand_held_pulls_cost_nothing_while_idle() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    client.publish("t", 0, "", "first").await;
    for _ in 0..50_000 {
        client.send(held("t", 0, 1, "*", 250_000).write());
    }
    wait(1_000).await;
    assert!(client.heard.lock().is_empty());
    let before = computed();
    wait(100_000).await;
    let idle = computed() - before;
    println!("50,000 held pulls, idle: {idle:?} computed in 100 s");
    assert!(idle < Duration::from_millis(500), "{idle:?} in 100 s");
    // One message answers them all.
    client.publish("t", 0, "", "second").await;
    wait(100).await;
    assert_eq!(client.heard.lock().len(), 50_000);
}

#[tokio::test(start_paused = true)]
async fn what_waits_counts_for_its_connection_until_it_is_answered_or_held() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    client.publish("t", 0, "", "first").await;
    assert_eq!(client.connection.kept(), 0);
    let ids: Vec<i32> = (0..10).map(|_| client.send(held("t", 0, 1, "*", 20_000).write())).collect();
    assert_eq!(client.connection.kept(), 0, "held pulls have bounds of their own");
    // Nobody knows any more whether the virtual broker is still ours, and nothing is acknowledged.
    world.hold();
    wait(10_000).await;
    let request = held("t", 0, 1, "*", 30_000).write();
    let size = request.size();
    let more: Vec<i32> = (0..10).map(|_| client.send(request.clone())).collect();
    let asked = client.send(Command::request(code::GET_MAX_OFFSET).with("topic", "t").with("queueId", 0));
    assert!(client.connection.kept() > 10 * size + 11 * 100, "{}", client.connection.kept());
    world.release();
    client.reply(asked).await;
    assert_eq!(client.connection.kept(), 0);
    client.publish("t", 0, "", "second").await;
    for id in ids.into_iter().chain(more) {
        client.reply(id).await;
    }
    assert_eq!(client.connection.kept(), 0);
}
