use super::*;
use protocol::body::heartbeat::ConsumerList;
use protocol::body::lock::{LockReply, LockRequest, Queue};

async fn list(client: &Client) -> (i32, Vec<String>) {
    let request = Command::request(code::GET_CONSUMER_LIST_BY_GROUP).with("consumerGroup", "g");
    let reply = client.ask(request).await;
    let list: ConsumerList = json::read(&reply.body).unwrap_or_default();
    (reply.code, list.consumer_id_list)
}

fn notices(client: &Client) -> usize {
    client.told().iter().filter(|told| told.code == code::NOTIFY_CONSUMER_IDS_CHANGED).count()
}

#[tokio::test(start_paused = true)]
async fn members_hear_of_those_who_come_and_go() {
    let world = World::new();
    let owner = world.open().await;
    let (a, b) = (owner.client(), owner.client());
    assert_eq!(list(&a).await.0, 1);
    let reply = a.heartbeat("a", vec![consumes("g", "t", 1)], &["p"]).await;
    assert_eq!((reply.code, reply.fields.get("IS_SUPPORT_HEART_BEAT_V2")), (0, Some("true")));
    assert!(owner.served.vb.core().state().topic("%RETRY%g").is_some());
    b.heartbeat("b", vec![consumes("g", "t", 1)], &[]).await;
    assert_eq!(list(&b).await, (0, vec!["a".into(), "b".into()]));
    assert!(notices(&a) >= 1);
    a.heartbeat("a", vec![consumes("g", "t", 1)], &["p"]).await;
    notices(&b);
    a.heartbeat("a", vec![consumes("g", "t", 1)], &["p"]).await;
    assert_eq!(notices(&b), 0, "a heartbeat that changes nothing tells nobody");
    b.close();
    wait(10).await;
    assert_eq!((notices(&a), list(&a).await.1), (1, vec!["a".into()]));
    let gone = Command::request(code::UNREGISTER_CLIENT).with("clientID", "a").with("consumerGroup", "g");
    assert_eq!(a.ask(gone).await.code, 0);
    assert_eq!(list(&b).await.0, 1);
}

#[tokio::test(start_paused = true)]
async fn a_member_hears_of_a_change_after_the_answer_to_its_heartbeat() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    let log = LogName::new("vb-0").unwrap();
    world.logs.hold(&log);
    let meanwhile = async {
        wait(50).await;
        let early = notices(&client);
        world.logs.release(&log);
        early
    };
    let (reply, early) = tokio::join!(client.heartbeat("a", vec![consumes("g", "t", 1)], &[]), meanwhile);
    assert_eq!((reply.code, early), (0, 0));
    wait(10).await;
    assert_eq!(notices(&client), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_falls_silent_is_closed() {
    let world = World::new();
    let owner = world.open().await;
    let (a, b) = (owner.client(), owner.client());
    a.heartbeat("a", vec![consumes("g", "t", 1)], &[]).await;
    wait(60_000).await;
    b.heartbeat("b", vec![consumes("g", "t", 1)], &[]).await;
    wait(75_000).await;
    assert!(!a.connection.is_open());
    assert_eq!(list(&b).await.1, ["b"]);
}

#[tokio::test(start_paused = true)]
async fn members_of_the_owner_before_are_listed_for_a_while() {
    let world = World::new();
    let owner = world.open().await;
    let (a, b) = (owner.client(), owner.client());
    a.heartbeat("a", vec![consumes("g", "t", 1)], &[]).await;
    b.heartbeat("b", vec![consumes("g", "t", 1)], &[]).await;
    wait(10).await;
    let next = world.open().await;
    let b = next.client();
    b.heartbeat("b", vec![consumes("g", "t", 1)], &[]).await;
    assert_eq!(list(&b).await.1, ["a", "b"]);
    notices(&b);
    wait(61_000).await;
    assert_eq!(list(&b).await.1, ["b"]);
    assert_eq!(notices(&b), 1);
    assert_eq!(next.served.vb.core().state().remembered("g").map(|r| r.members.len()), Some(1));
}

#[tokio::test(start_paused = true)]
async fn an_asker_who_is_not_in_the_list_gets_an_error_instead() {
    let world = World::new();
    let owner = world.open().await;
    let (a, b) = (owner.client(), owner.client());
    a.heartbeat("a", vec![consumes("g", "t", 1)], &[]).await;
    b.heartbeat("b", vec![consumes("h", "t", 1)], &[]).await;
    assert_eq!(list(&b).await.0, 1);
    assert_eq!(list(&owner.client()).await, (0, vec!["a".into()]), "a connection that never said who it is");
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_without_subscriptions_asks_for_them_if_they_are_not_known() {
    let world = World::new();
    let owner = world.open().await;
    let a = owner.client();
    let beat = |without: bool| Heartbeat {
        client_id: "a".into(),
        consumer_data_set: vec![consumes("g", "t", 1)],
        heartbeat_fingerprint: 7,
        without_sub: without,
        ..Heartbeat::default()
    };
    let ask = |beat: Heartbeat| a.ask(Command::request(code::HEART_BEAT).body(json::write(&beat)));
    let resend = |reply: Command| reply.fields.get("IS_SUB_CHANGE").map(str::to_owned);
    assert_eq!(resend(ask(beat(true)).await).as_deref(), Some("true"));
    assert_eq!(resend(ask(beat(false)).await).as_deref(), Some("false"));
    assert_eq!(resend(ask(beat(true)).await).as_deref(), Some("false"));
}

async fn lock(client: &Client, id: &str, code: i32) -> Vec<i32> {
    let queue = |queue_id| Queue { broker_name: "broker-0".into(), queue_id, topic: "t".into() };
    let foreign = Queue { broker_name: "broker-9".into(), queue_id: 0, topic: "t".into() };
    let body = LockRequest {
        consumer_group: "g".into(),
        client_id: id.into(),
        only_this_broker: false,
        mq_set: vec![queue(0), queue(1), queue(99), foreign],
    };
    let reply = client.ask(Command::request(code).body(json::write(&body))).await;
    assert_eq!(reply.code, 0);
    let reply: LockReply = json::read(&reply.body).unwrap_or_default();
    reply.locked.iter().map(|queue| queue.queue_id).collect()
}

#[tokio::test(start_paused = true)]
async fn a_lock_holds_for_a_minute_whoever_owns_the_virtual_broker() {
    let world = World::new();
    let owner = world.open().await;
    let (a, b) = (owner.client(), owner.client());
    a.publish("t", 0, "", "x").await;
    assert_eq!(lock(&a, "a", code::LOCK_BATCH_MQ).await, [0, 1]);
    assert_eq!(lock(&b, "b", code::LOCK_BATCH_MQ).await, [0; 0]);
    lock(&b, "b", code::UNLOCK_BATCH_MQ).await;
    assert_eq!(lock(&b, "b", code::LOCK_BATCH_MQ).await, [0; 0]);
    let next = world.open().await;
    let b = next.client();
    wait(30_000).await;
    assert_eq!(lock(&b, "b", code::LOCK_BATCH_MQ).await, [0; 0], "the new owner keeps the lock");
    wait(31_000).await;
    assert_eq!(lock(&b, "b", code::LOCK_BATCH_MQ).await, [0, 1]);
    lock(&b, "b", code::UNLOCK_BATCH_MQ).await;
    assert_eq!(lock(&next.client(), "c", code::LOCK_BATCH_MQ).await, [0, 1]);
}
