use protocol::message::OffsetId;

use super::*;

pub(super) async fn half(client: &Client, key: &str) -> Command {
    let properties = format!("TRAN_MSG\u{1}true\u{2}PGROUP\u{1}p\u{2}UNIQ_KEY\u{1}{key}\u{2}TAGS\u{1}A\u{2}");
    let reply = client.publish("t", 1, &properties, key).await;
    assert_eq!(reply.code, 0, "{reply:?}");
    reply
}

pub(super) fn end(reply: &Command, how: i32) -> Command {
    let id = reply.fields.get("msgId").unwrap_or_default();
    Command::request(code::END_TRANSACTION)
        .with("producerGroup", "p")
        .with("tranStateTableOffset", reply.fields.get("queueOffset").unwrap_or_default())
        .with("commitLogOffset", i64::from_str_radix(&id[16..], 16).unwrap())
        .with("commitOrRollback", how)
        .with("msgId", "m")
}

fn questions(client: &Client) -> Vec<Command> {
    client.told().into_iter().filter(|told| told.code == code::CHECK_TRANSACTION_STATE).collect()
}

#[tokio::test(start_paused = true)]
async fn a_half_message_is_seen_only_once_it_is_committed() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    let (kept, dropped) = (half(&client, "K").await, half(&client, "D").await);
    assert_eq!((kept.fields.get("queueId"), kept.fields.get("transactionId")), (Some("1"), Some("K")));
    assert_eq!(client.pull("t", 1, 0).await.max, 0);
    let wrong = end(&kept, 8).with("producerGroup", "other");
    assert_eq!(client.ask(wrong).await.code, 1);
    assert_eq!(client.ask(end(&kept, 8)).await.code, 0);
    assert_eq!(client.ask(end(&dropped, 12)).await.code, 0);
    assert_eq!(client.ask(end(&kept, 12)).await.code, 1, "what was said first holds");
    let got = client.pull("t", 1, 0).await;
    let message = &got.messages[0];
    assert_eq!((got.bodies(), message.sys_flag & 12, message.prepared_offset), (vec!["K".to_owned()], 8, 0));
    assert_eq!((property(message, "TRAN_MSG"), property(message, "REAL_TOPIC")), (Some("true"), None));
    assert_eq!((property(message, "PGROUP"), property(message, "TAGS")), (Some("p"), Some("A")));
    let by_tag = pulled(client.ask(pull("t", 1, 0, "A").write()).await);
    assert_eq!(by_tag.messages.len(), 1);
    assert!(owner.served.vb.core().state().halves().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_decision_is_taken_while_senders_are_told_to_wait() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    let sent = half(&client, "K").await;
    world.hold();
    client.send(send("t", 0, "").write().body("in flight"));
    wait(2_600).await;
    assert_eq!(client.ask(send("t", 0, "").write().body("refused")).await.code, 2);
    let decided = client.send(end(&sent, 8));
    wait(10).await;
    world.release();
    assert_eq!(client.reply(decided).await.code, 0);
    assert_eq!(client.pull("t", 1, 0).await.bodies(), ["K"]);
}

#[tokio::test(start_paused = true)]
async fn a_decision_that_comes_before_its_message_is_on_disk_waits_for_that() {
    let world = World::new();
    let mut settings = Settings::default();
    settings.set("flushDiskType", "ASYNC_FLUSH").unwrap();
    let owner = world.open_with(settings).await;
    let client = owner.client();
    client.publish("t", 0, "", "makes the topic").await;
    world.hold();
    let (kept, dropped) = (half(&client, "K").await, half(&client, "D").await);
    for (sent, how) in [(&kept, 8), (&dropped, 12)] {
        let mut decision = end(sent, how);
        decision.flag |= 2;
        client.send(decision);
    }
    wait(10).await;
    assert_eq!(client.pull("t", 1, 0).await.max, 0);
    world.release();
    wait(10).await;
    assert_eq!(client.pull("t", 1, 0).await.bodies(), ["K"]);
    assert!(owner.served.vb.core().state().halves().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_producer_is_asked_until_it_decides_also_by_the_next_owner() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    client.heartbeat("c", vec![], &["p"]).await;
    let sent = half(&client, "K").await;
    wait(5_900).await;
    assert_eq!(questions(&client).len(), 0);
    wait(200).await;
    let asked = questions(&client);
    assert_eq!(asked.len(), 1);
    let (question, fields) = (&asked[0], &asked[0].fields);
    assert_eq!(
        (fields.get("msgId"), fields.get("tranStateTableOffset")),
        (Some("K"), sent.fields.get("queueOffset"))
    );
    assert_eq!(fields.get("offsetMsgId"), sent.fields.get("msgId"));
    let message = Message::take(&mut question.body.clone()).unwrap();
    assert_eq!((&*message.topic, message.queue, text(&message.body)), ("t", 1, "K".into()));
    // It does not know: nothing changes.
    assert_eq!(client.ask(end(&sent, 0)).await.code, 0);
    wait(30_100).await;
    assert_eq!(questions(&client).len(), 1);

    let next = world.open().await;
    let client = next.client();
    client.heartbeat("c", vec![], &["p"]).await;
    wait(30_100).await;
    assert_eq!(questions(&client).len(), 1);
    assert_eq!(client.ask(end(&sent, 8)).await.code, 0);
    assert_eq!(client.pull("t", 1, 0).await.bodies(), ["K"]);
    wait(120_000).await;
    assert_eq!(questions(&client).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_nobody_decides_on_is_parked() {
    let world = World::new();
    let mut settings = Settings::default();
    for (key, value) in
        [("transactionTimeOut", "1000"), ("transactionCheckInterval", "1000"), ("transactionCheckMax", "3")]
    {
        settings.set(key, value).unwrap();
    }
    let owner = world.open_with(settings).await;
    let client = owner.client();
    client.heartbeat("c", vec![], &["p"]).await;
    half(&client, "K").await;
    wait(10_000).await;
    assert_eq!(questions(&client).len(), 3);
    assert!(owner.served.vb.core().state().halves().is_empty());
    assert_eq!(client.pull("TRANS_CHECK_MAX_TIME_TOPIC", 0, 0).await.bodies(), ["K"]);
    assert_eq!(client.pull("t", 1, 0).await.max, 0);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_was_given_up_can_be_asked_for_again() {
    let world = World::new();
    let mut settings = Settings::default();
    for (key, value) in [("transactionTimeOut", "1000"), ("transactionCheckMax", "0")] {
        settings.set(key, value).unwrap();
    }
    let owner = world.open_with(settings).await;
    let client = owner.client();
    client.heartbeat("c", vec![], &["p"]).await;
    let sent = half(&client, "K").await;
    wait(2_000).await;
    let parked = client.pull("TRANS_CHECK_MAX_TIME_TOPIC", 0, 0).await;
    let update = Command::request(code::UPDATE_BROKER_CONFIG).body("transactionCheckMax=5\n");
    assert_eq!(client.ask(update).await.code, 0);
    let resume =
        |id: String| Command::request(code::RESUME_CHECK_HALF_MESSAGE).with("topic", "t").with("msgId", id);
    let not_parked = sent.fields.get("msgId").unwrap().to_owned();
    assert_eq!(client.ask(resume(not_parked)).await.code, 1, "it is where half messages wait");
    assert_eq!(client.ask(resume("garbage".into())).await.code, 1);
    let message = &parked.messages[0];
    let mut id = String::new();
    OffsetId { host: message.store_host, offset: message.physical_offset }.write(&mut id);
    assert_eq!(client.ask(resume(id)).await.code, 0);
    wait(1_100).await;
    let question = questions(&client).pop().unwrap();
    let decided = Command::request(code::END_TRANSACTION)
        .with("producerGroup", "p")
        .with("tranStateTableOffset", question.fields.get("tranStateTableOffset").unwrap_or_default())
        .with("commitLogOffset", question.fields.get("commitLogOffset").unwrap_or_default())
        .with("commitOrRollback", 8)
        .with("msgId", "m");
    assert_eq!(client.ask(decided).await.code, 0);
    assert_eq!(client.pull("t", 1, 0).await.bodies(), ["K"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_may_want_to_be_left_alone_for_longer() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    client.heartbeat("c", vec![], &["p"]).await;
    let properties = "TRAN_MSG\u{1}true\u{2}PGROUP\u{1}p\u{2}CHECK_IMMUNITY_TIME_IN_SECONDS\u{1}20\u{2}";
    client.publish("t", 0, properties, "x").await;
    wait(19_900).await;
    assert_eq!(questions(&client).len(), 0);
    wait(200).await;
    assert_eq!(questions(&client).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_question_that_became_due_while_the_machine_stood_still_is_asked_at_once() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    client.heartbeat("c", vec![], &["p"]).await;
    half(&client, "K").await;
    wait(2_000).await;
    assert_eq!(questions(&client).len(), 0);
    world.set_clock(4_000);
    wait(1_050).await;
    assert_eq!(questions(&client).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_of_transactions_that_are_decided() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    for how in [8, 12, 8] {
        let sent = half(&client, "K").await;
        assert_eq!(owner.served.halves.waiting(), 1);
        assert_eq!(client.ask(end(&sent, how)).await.code, 0);
        assert_eq!(owner.served.halves.waiting(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_delay_begins_with_the_commit() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    let properties = "TRAN_MSG\u{1}true\u{2}PGROUP\u{1}p\u{2}DELAY\u{1}2\u{2}";
    let sent = client.publish("t", 1, properties, "x").await;
    wait(3_000).await;
    let committed = Instant::now();
    assert_eq!(client.ask(end(&sent, 8)).await.code, 0);
    let got = pulled(client.ask(held("t", 1, 0, "*", 30_000).write()).await);
    assert_eq!(got.bodies(), ["x"]);
    assert!((5_000..5_050).contains(&committed.elapsed().as_millis()));
}
