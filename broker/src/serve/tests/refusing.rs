use proptest::prelude::*;

use super::*;

async fn refused(client: &Client, request: Command) -> (i32, String) {
    let reply = client.ask(request).await;
    (reply.code, reply.remark.unwrap_or_default())
}

#[tokio::test(start_paused = true)]
async fn sends_are_refused_with_rocketmqs_codes() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    client.publish("t", 0, "", "x").await;
    let long = format!("a\u{1}{}", "x".repeat(33_000));
    let timer = "TIMER_DELAY_SEC\u{1}5\u{2}";
    let cases = [
        (send("bad topic", 0, ""), 29, "illegal characters"),
        (send("", 0, ""), 29, "blank"),
        (send("SCHEDULE_TOPIC_XXXX", 0, ""), 29, "forbidden"),
        (send("RMQ_SYS_TRANS_HALF_TOPIC", 0, ""), 29, "forbidden"),
        (Send { default_topic: "nothing", ..send("new", 0, "") }, 17, "not exist"),
        (Send { default_topic: "t", ..send("new", 0, "") }, 17, "not exist"),
        (Send { default_queues: 0, ..send("new", 0, "") }, 29, "0 queues"),
        (Send { default_queues: 9_000_000, ..send("new", 0, "") }, 29, "9000000 queues"),
        (send("t", 4, ""), 29, "queueId[4]"),
        (send("t", 0, &long), 13, "32767"),
        (send("t", 0, timer), 3, "timers"),
        (send("%RETRY%nobody", 0, ""), 26, "nobody"),
    ];
    for (send, code, why) in cases {
        let (got, remark) = refused(&client, send.write().body("x")).await;
        assert!(got == code && remark.contains(why), "{send:?}: {got} {remark}");
    }
    let (code, _) = refused(&client, send("t", 0, "").write().body(vec![0; (4 << 20) + 1])).await;
    assert_eq!(code, 13);
    let batch = Send { batch: true, ..send("t", 0, "") };
    assert_eq!(refused(&client, batch.write().body("nonsense")).await.0, 13);
    assert_eq!(refused(&client, batch.write()).await.0, 13);
    assert_eq!(client.pull("t", 0, 0).await.max, 1, "nothing of this is stored");
}

#[tokio::test(start_paused = true)]
async fn no_topic_is_made_where_that_is_switched_off() {
    let world = World::new();
    let settings = Settings { auto_create_topic: false, auto_create_group: false, ..Settings::default() };
    let owner = world.open_with(settings).await;
    let client = owner.client();
    assert_eq!(client.publish("t", 0, "", "x").await.code, 17);
    assert_eq!(client.pull("TBW102", 0, 0).await.code, 26);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_supported_is_answered_three() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    for code in [200_050, 324, 400, 3_001, 55_555, -4] {
        assert_eq!(client.ask(Command::request(code)).await.code, 3);
    }
}

#[tokio::test(start_paused = true)]
async fn senders_are_told_to_wait_before_anything_is_stored_and_not_after() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    client.publish("t", 0, "", "x").await;
    world.hold();
    let waiting = client.send(send("t", 0, "").write().body("in flight"));
    wait(2_600).await;
    let busy = client.ask(send("t", 0, "").write().body("refused")).await;
    assert_eq!(busy.code, 2);
    assert!(busy.remark.is_some_and(|remark| remark.contains("ms")));
    let slow = client.reply(waiting).await;
    assert_eq!((slow.code, slow.fields.get("queueOffset")), (10, Some("1")));
    world.release();
    wait(100).await;
    assert_eq!(client.pull("t", 0, 0).await.bodies(), ["x", "in flight"]);
}

#[tokio::test(start_paused = true)]
async fn a_send_that_was_on_its_way_when_another_owner_came_is_answered_fourteen() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    client.publish("t", 0, "", "x").await;
    world.hold();
    let sent = client.send(send("t", 0, "").write().body("in flight"));
    wait(10).await;
    assert!(client.replied(sent).is_none());
    let (next, _) = tokio::join!(world.open(), async {
        wait(10).await;
        world.release();
    });
    let reply = client.reply(sent).await;
    assert!(reply.code == 14 && reply.remark.is_some_and(|why| why.contains("may or may not be stored")));
    assert_eq!(next.client().pull("t", 0, 0).await.bodies(), ["x"]);
}

#[tokio::test(start_paused = true)]
async fn a_pull_that_is_forbidden_says_by_what() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    client.publish("t", 0, "", "x").await;
    let forbidden = async |pull: Pull<'_>| {
        let reply = client.ask(pull.write()).await;
        (reply.code, reply.fields.number::<i32>("forbiddenType").unwrap_or(0))
    };
    let change = async |code: i32, body: &'static str| {
        assert_eq!(client.ask(Command::request(code).body(body)).await.code, 0);
    };
    assert_eq!(forbidden(pull("t", 0, 0, "*")).await, (0, 0));
    let no_broadcast = r#"{"groupName":"g","consumeEnable":true,"consumeBroadcastEnable":false}"#;
    change(code::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, no_broadcast).await;
    let broadcast = ConsumerData { message_model: "BROADCASTING".into(), ..consumes("g", "t", 1) };
    client.heartbeat("c", vec![broadcast], &[]).await;
    assert_eq!(forbidden(Pull { subscription: None, ..pull("t", 0, 0, "*") }).await, (16, 4));
    let list = r#"{"topicConfigList":[{"topicName":"w","readQueueNums":1,"writeQueueNums":1,"perm":2}]}"#;
    change(code::UPDATE_AND_CREATE_TOPIC_LIST, list).await;
    assert_eq!(forbidden(pull("w", 0, 0, "*")).await, (16, 3));
    let disabled = r#"{"groupName":"g","consumeEnable":false}"#;
    change(code::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, disabled).await;
    assert_eq!(forbidden(pull("t", 0, 0, "*")).await, (16, 2));
    change(code::UPDATE_BROKER_CONFIG, "brokerPermission=2\n").await;
    assert_eq!(forbidden(pull("t", 0, 0, "*")).await, (16, 1));
}

/// Codes that are served, and some that are not.
const CODES: [i32; 24] =
    [10, 310, 320, 11, 361, 12, 14, 15, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 41, 42, 46, 39, 105, 200_050];
const NAMES: [&str; 30] = [
    "topic",
    "queueId",
    "consumerGroup",
    "queueOffset",
    "maxMsgNums",
    "sysFlag",
    "commitOffset",
    "subscription",
    "suspendTimeoutMillis",
    "subVersion",
    "key",
    "maxNum",
    "beginTimestamp",
    "endTimestamp",
    "offset",
    "timestamp",
    "group",
    "delayLevel",
    "producerGroup",
    "tranStateTableOffset",
    "commitLogOffset",
    "commitOrRollback",
    "clientID",
    "a",
    "b",
    "c",
    "d",
    "e",
    "f",
    "i",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever fields and body a request has, it is answered once, and the broker goes on.
    #[test]
    fn fuzz_requests_are_answered(
        requests in proptest::collection::vec(
            (
                proptest::sample::select(&CODES[..]),
                proptest::collection::vec((proptest::sample::select(&NAMES[..]), prop_oneof![
                    Just("0".to_owned()), Just("-1".to_owned()), Just("t".to_owned()), Just("g".to_owned()),
                    Just(i64::MAX.to_string()), Just(i64::MIN.to_string()), Just("7".to_owned()), ".{0,10}",
                ]), 0..30),
                prop_oneof![
                    Just(String::new()), ".{0,40}", Just("{}".to_owned()), Just("{\"clientID\":\"c\"}".to_owned()),
                    Just("{\"clientID\":\"c\",\"consumerDataSet\":[{\"groupName\":\"g\"}]}".to_owned()),
                ],
            ),
            1..12,
        ),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let world = World::new();
            let owner = world.open().await;
            let client = owner.client();
            for (code, fields, body) in requests {
                let mut request = Command::request(code).body(body);
                for (name, value) in fields {
                    request = request.with(name, value);
                }
                client.ask(request).await;
            }
            assert_eq!(client.heard.lock().iter().filter(|command| command.is_reply()).count(), 0, "answered twice");
            assert_eq!(client.publish("after", 0, "", "x").await.code, 0);
            owner.served.abandon();
        });
    }
}
