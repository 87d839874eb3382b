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
