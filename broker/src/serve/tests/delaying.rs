use super::*;

fn back(message: &Message, level: i32) -> Command {
    Command::request(code::CONSUMER_SEND_MSG_BACK)
        .with("offset", message.physical_offset)
        .with("group", "g")
        .with("delayLevel", level)
        .with("originTopic", &message.topic)
}

/// Waits for the message at an offset of queue 0 of "t"; returns it, and how many ms that took.
async fn awaited(client: &Client, offset: i64) -> (String, u128) {
    let asked = Instant::now();
    let got = pulled(client.ask(held("t", 0, offset, "*", 300_000).write()).await);
    (got.bodies().concat(), asked.elapsed().as_millis())
}

#[tokio::test(start_paused = true)]
async fn a_delayed_message_comes_neither_early_nor_late() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    client.publish("t", 0, "", "now").await;
    let sent = Instant::now();
    let reply = client.publish("t", 0, "DELAY\u{1}2\u{2}TAGS\u{1}A\u{2}", "later").await;
    assert_eq!((reply.code, reply.fields.get("queueId")), (0, Some("0")));
    client.publish("t", 0, "DELAY\u{1}1\u{2}", "sooner").await;
    let first = pulled(client.ask(held("t", 0, 1, "*", 30_000).write()).await);
    assert_eq!(first.bodies(), ["sooner"]);
    let took = sent.elapsed().as_millis();
    assert!((1_000..1_050).contains(&took), "{took}");
    let got = pulled(client.ask(held("t", 0, 2, "A", 30_000).write()).await);
    let took = sent.elapsed().as_millis();
    assert!((5_000..5_050).contains(&took), "{took}");
    let message = &got.messages[0];
    assert_eq!((text(&message.body), &*message.topic, message.queue_offset), ("later".into(), "t", 2));
    assert_eq!((property(message, "DELAY"), property(message, "REAL_TOPIC")), (None, Some("t")));
}

#[tokio::test(start_paused = true)]
async fn delayed_messages_outlive_their_owner_and_come_once() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    for i in 0..300 {
        client.send(send("t", 0, "DELAY\u{1}1\u{2}").write().body(i.to_string()));
    }
    client.publish("t", 0, "DELAY\u{1}3\u{2}", "late").await;
    wait(500).await;
    let next = world.open().await;
    wait(1_000).await;
    let last = world.open().await;
    let client = last.client();
    let mut bodies = Vec::new();
    while bodies.len() < 300 {
        let got = client.pull("t", 0, bodies.len() as i64).await;
        assert_eq!(got.code, 0, "after {}", bodies.len());
        bodies.extend(got.bodies());
    }
    assert_eq!(bodies, (0..300).map(|i| i.to_string()).collect::<Vec<_>>());
    let late = pulled(client.ask(held("t", 0, 300, "*", 30_000).write()).await);
    assert_eq!(late.bodies(), ["late"]);
    drop(next);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_was_sent_back_is_tried_again_and_at_last_put_away() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    client.heartbeat("c", vec![consumes("g", "t", 1)], &[]).await;
    let sent = client.publish("t", 0, "KEYS\u{1}k\u{2}", "x").await;
    let first = sent.fields.get("msgId");
    let mut message = client.pull("t", 0, 0).await.messages.remove(0);
    for (times, wait, origin) in [(1, 10_000, None), (2, 30_000, Some("OTHER"))] {
        let sent = Instant::now();
        let request = back(&message, 0).with("maxReconsumeTimes", 2);
        let reply = client.ask(origin.into_iter().fold(request, |r, id| r.with("originMsgId", id))).await;
        assert_eq!(reply.code, 0, "{reply:?}");
        let got = pulled(client.ask(held("%RETRY%g", 0, times - 1, "*", 200_000).write()).await);
        let took = sent.elapsed().as_millis();
        assert!((wait..wait + 50).contains(&took), "{took}");
        message = got.messages.into_iter().next().unwrap();
        assert_eq!(i64::from(message.reconsume_times), times);
        assert_eq!(
            (property(&message, "RETRY_TOPIC"), property(&message, "ORIGIN_MESSAGE_ID")),
            (Some("t"), first),
            "whatever its consumer says"
        );
    }
    assert_eq!(client.ask(back(&message, 0).with("maxReconsumeTimes", 2)).await.code, 0);
    wait_for_dead(&client, 1).await;
    assert_eq!(client.ask(back(&message, -1)).await.code, 0, "a negative level puts it away at once");
    wait_for_dead(&client, 2).await;
    let lost = Command::request(code::CONSUMER_SEND_MSG_BACK)
        .with("offset", 5)
        .with("group", "g")
        .with("delayLevel", 0);
    assert_eq!(client.ask(lost).await.code, 1);
}

async fn wait_for_dead(client: &Client, count: usize) {
    let got = client.pull("%DLQ%g", 0, 0).await;
    assert_eq!((got.code, got.messages.len()), (0, count));
    assert_eq!(property(&got.messages[0], "RETRY_TOPIC"), Some("t"));
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_its_consumer_sends_itself_goes_the_same_way() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    client.heartbeat("c", vec![consumes("g", "t", 1)], &[]).await;
    let retry = |times: i32| Send {
        reconsume_times: times,
        max_reconsume_times: Some(3),
        ..send("%RETRY%g", 0, "DELAY\u{1}1\u{2}RETRY_TOPIC\u{1}t\u{2}")
    };
    assert_eq!(client.ask(retry(3).write().body("x")).await.code, 0);
    let got = pulled(client.ask(held("%RETRY%g", 0, 0, "*", 5_000).write()).await);
    assert_eq!(got.messages[0].reconsume_times, 3);
    assert_eq!(client.ask(retry(4).write().body("dead")).await.code, 0);
    let dead = client.pull("%DLQ%g", 0, 0).await;
    assert_eq!((dead.bodies(), property(&dead.messages[0], "DELAY")), (vec!["dead".to_owned()], None));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_delivered_by_a_clock_in_doubt() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    world.clock.in_doubt.store(true, Ordering::SeqCst);
    client.publish("t", 0, "DELAY\u{1}1\u{2}", "later").await;
    wait(60_000).await;
    assert_eq!(client.pull("t", 0, 0).await.bodies(), Vec::<String>::new());
    world.clock.in_doubt.store(false, Ordering::SeqCst);
    let got = pulled(client.ask(held("t", 0, 0, "*", 5_000).write()).await);
    assert_eq!(got.bodies(), ["later"]);
}

#[tokio::test(start_paused = true)]
async fn the_backlog_of_one_level_does_not_hold_up_another() {
    let world = World::new();
    let mut settings = Settings::default();
    settings.set("messageDelayLevel", "1s 1s").unwrap();
    let owner = world.open_with(settings).await;
    let client = owner.client();
    for level in [1, 1, 1, 1, 2] {
        for _ in 0..if level == 1 { 1_000 } else { 1 } {
            let properties = format!("DELAY\u{1}{level}\u{2}");
            client.send(send("t", 0, &properties).write().body(level.to_string()));
        }
    }
    wait(2_000).await;
    let mut before = 0;
    loop {
        let got = client.pull("t", 0, before).await;
        assert_eq!(got.code, 0);
        match got.bodies().iter().position(|body| body == "2") {
            Some(at) => break before += at as i64,
            None => before = got.next,
        }
    }
    assert!(before <= 1_000, "{before} messages of the other level came before");
    assert_eq!(client.pull("t", 0, 0).await.max, 4_001);
}

#[tokio::test(start_paused = true)]
async fn a_level_that_is_shortened_is_so_for_those_who_wait_and_takes_what_it_says() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    client.publish("t", 0, "DELAY\u{1}3\u{2}", "waits").await;
    wait(1_000).await;
    let update = Command::request(code::UPDATE_BROKER_CONFIG).body("messageDelayLevel=1s 5s 3s\n");
    assert_eq!(client.ask(update).await.code, 0);
    let (body, took) = awaited(&client, 0).await;
    assert!(body == "waits" && (1_950..2_050).contains(&took), "{body} {took}");
    client.publish("t", 0, "DELAY\u{1}3\u{2}", "new").await;
    let (body, took) = awaited(&client, 1).await;
    assert!(body == "new" && (2_950..3_050).contains(&took), "{body} {took}");
}

#[tokio::test(start_paused = true)]
async fn what_became_due_while_the_machine_stood_still_comes_at_once() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    client.publish("t", 0, "DELAY\u{1}18\u{2}", "x").await;
    wait(5_000).await;
    world.set_clock(7_200_000);
    let (_, took) = awaited(&client, 0).await;
    assert!(took <= 1_050, "{took}");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_makes_nothing_early_and_if_it_was_wrong_nothing_wait_for_ever() {
    const DAY: i64 = 86_400_000;
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    client.publish("t", 0, "DELAY\u{1}3\u{2}", "a little").await;
    world.set_clock(-5_000);
    let (body, took) = awaited(&client, 0).await;
    assert!(body == "a little" && (14_950..15_050).contains(&took), "{body} {took}");
    client.publish("t", 0, "DELAY\u{1}3\u{2}", "far").await;
    wait(100).await;
    world.set_clock(-DAY);
    let (body, took) = awaited(&client, 1).await;
    assert!(body == "far" && took <= 1_050, "{body} {took}");
    client.publish("t", 0, "DELAY\u{1}3\u{2}", "after").await;
    let (body, took) = awaited(&client, 2).await;
    assert!(body == "after" && (9_950..10_050).contains(&took), "{body} {took}");
}
