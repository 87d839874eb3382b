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
    world.hold();
    let meanwhile = async {
        wait(50).await;
        let early = notices(&client);
        world.release();
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

/// The end of the old connection and the first heartbeat by the new one meet wherever the core is held up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_comes_back_while_it_leaves_is_remembered() {
    let world = World::new();
    let owner = world.open().await;
    let mut old = owner.client();
    old.heartbeat("a", vec![consumes("g", "t", 1)], &[]).await;
    let beat = json::write(&Heartbeat {
        client_id: "a".into(),
        consumer_data_set: vec![consumes("g", "t", 1)],
        ..Heartbeat::default()
    });
    for round in 0..100 {
        let new = owner.client();
        std::thread::scope(|scope| {
            let core = owner.served.vb.core();
            scope.spawn(|| old.close());
            scope.spawn(|| new.send(Command::request(code::HEART_BEAT).body(beat.clone())));
            std::thread::sleep(Duration::from_millis(1));
            drop(core);
        });
        let core = owner.served.vb.core();
        let known = core.state().remembered("g").map(|known| known.members.len());
        assert_eq!(known, Some(1), "round {round}");
        drop(core);
        old = new;
    }
}

#[tokio::test(start_paused = true)]
async fn an_asker_who_is_not_in_the_list_gets_an_error_instead() {
    let world = World::new();
    let owner = world.open().await;
    let (a, b) = (owner.client(), owner.client());
    a.heartbeat("a", vec![consumes("g", "t", 1)], &[]).await;
    b.heartbeat("b", vec![consumes("h", "t", 1)], &[]).await;
    assert_eq!(list(&b).await.0, 1);
    // As a client whose connection broke, before its next heartbeat.
    let again = owner.client();
    assert_eq!(list(&again).await.0, 1);
    again.heartbeat("c", vec![consumes("g", "t", 1)], &[]).await;
    assert_eq!(list(&again).await, (0, vec!["a".into(), "c".into()]));
    // As clients before 4.5, who ask by one port and send heartbeats to the other.
    assert_eq!(list(&owner.client_by(10_909)).await, (0, vec!["a".into(), "c".into()]));
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

fn locking(group: &str, id: &str, code: i32) -> Command {
    let queue = |queue_id| Queue { broker_name: "broker-0".into(), queue_id, topic: "t".into() };
    let foreign = Queue { broker_name: "broker-9".into(), queue_id: 0, topic: "t".into() };
    let body = LockRequest {
        consumer_group: group.into(),
        client_id: id.into(),
        only_this_broker: false,
        mq_set: vec![queue(0), queue(1), queue(99), foreign],
    };
    Command::request(code).body(json::write(&body))
}

async fn lock(client: &Client, id: &str, code: i32) -> Vec<i32> {
    let reply = client.ask(locking("g", id, code)).await;
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

#[tokio::test(start_paused = true)]
async fn a_lock_is_confirmed_only_once_it_is_written_down_however_often_it_is_asked_for() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    client.publish("t", 0, "", "x").await;
    client.heartbeat("a", vec![consumes("g", "t", 1)], &[]).await;
    world.hold();
    let asked = [0, 1].map(|_| client.send(locking("g", "a", code::LOCK_BATCH_MQ)));
    wait(10).await;
    assert_eq!(asked.map(|opaque| client.replied(opaque).is_some()), [false, false]);
    world.release();
    for opaque in asked {
        let reply: LockReply = json::read(&client.reply(opaque).await.body).unwrap();
        assert_eq!(reply.locked.len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn only_groups_that_may_be_have_locks() {
    let world = World::new();
    let owner = world.open_with(Settings { max_groups: 1, ..Settings::default() }).await;
    let client = owner.client();
    client.publish("t", 0, "", "x").await;
    assert_eq!(lock(&client, "a", code::LOCK_BATCH_MQ).await, [0, 1]);
    let ask = async |group: &str| client.ask(locking(group, "a", code::LOCK_BATCH_MQ)).await.code;
    assert_eq!((ask("h").await, ask("not a group").await), (1, 1), "one too many, and no name");
    let update = Command::request(code::UPDATE_BROKER_CONFIG).body("autoCreateSubscriptionGroup=false\n");
    client.ask(update).await;
    assert_eq!(ask("h").await, 26);
    assert_eq!(owner.served.vb.core().state().all_remembered().count(), 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_remembered_of_locks_that_ran_out_and_of_groups_that_are_gone() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    client.publish("t", 0, "", "x").await;
    lock(&client, "a", code::LOCK_BATCH_MQ).await;
    let remembered = || owner.served.vb.core().state().all_remembered().count();
    assert_eq!(remembered(), 1);
    wait(71_000).await;
    assert_eq!(remembered(), 0);
    client.heartbeat("a", vec![consumes("g", "t", 1)], &[]).await;
    lock(&client, "a", code::LOCK_BATCH_MQ).await;
    let delete = Command::request(code::DELETE_SUBSCRIPTIONGROUP).with("groupName", "g");
    assert_eq!((client.ask(delete).await.code, remembered()), (0, 0));
    // Who is still there is known to the next owner all the same.
    client.heartbeat("a", vec![consumes("g", "t", 1)], &[]).await;
    lock(&client, "a", code::LOCK_BATCH_MQ).await;
    let core = owner.served.vb.core();
    let known = core.state().remembered("g").unwrap();
    assert_eq!((known.members.len(), known.locks.len()), (1, 2));
}
