use bytes::BytesMut;
use protocol::message::Batched;
use protocol::message::sys_flag::BORN_V6;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_message_comes_back_as_it_was_sent_with_what_the_broker_adds() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    let reply = client.publish("t", 2, "TAGS\u{1}TagA\u{2}KEYS\u{1}k1 k2\u{2}UNIQ_KEY\u{1}U", "hello").await;
    assert_eq!(reply.code, 0, "{reply:?}");
    let field = |name| reply.fields.get(name).unwrap_or_default().to_owned();
    assert_eq!(
        (field("queueId"), field("queueOffset"), field("transactionId")),
        ("2".into(), "0".into(), "U".into())
    );
    assert_eq!((field("MSG_REGION"), field("TRACE_ON")), ("DefaultRegion".into(), "true".into()));
    let got = client.pull("t", 2, 0).await;
    assert_eq!((got.code, got.next, got.min, got.max), (0, 1, 0, 1));
    let message = &got.messages[0];
    assert_eq!((text(&message.body), &*message.topic, message.queue), ("hello".into(), "t", 2));
    assert_eq!(message.born_host, client.connection.peer());
    for (name, value) in
        [("TAGS", "TagA"), ("UNIQ_KEY", "U"), ("CLUSTER", "c"), ("MSG_REGION", "DefaultRegion")]
    {
        assert_eq!(property(message, name), Some(value));
    }
    assert_eq!(message.store_time, BEGAN + (message.store_time - BEGAN));
    let id = field("msgId");
    assert_eq!(id.len(), 32);
    assert_eq!(i64::from_str_radix(&id[16..], 16).unwrap(), message.physical_offset);
    let seen =
        client.ask(Command::request(code::VIEW_MESSAGE_BY_ID).with("offset", message.physical_offset)).await;
    assert_eq!((seen.code, pulled(seen).bodies()), (0, vec!["hello".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_born_host_is_an_ipv4_address_if_its_sender_has_one() {
    let world = World::new();
    let owner = world.open().await;
    for (queue, peer, born, flag, bytes) in
        [(0, "[::ffff:10.1.2.3]:5000", "10.1.2.3:5000", 0, 8), (1, "[::1]:5000", "[::1]:5000", BORN_V6, 20)]
    {
        let client = owner.client_from(100 + queue as u64, peer.parse().unwrap(), 10_911);
        assert_eq!(client.publish("t", queue, "UNIQ_KEY\u{1}U", "hello").await.code, 0);
        let reply = client.ask(pull("t", queue, 0, "*").write()).await;
        let size = reply.body.len();
        let got = pulled(reply);
        let message = &got.messages[0];
        assert_eq!((message.born_host, message.sys_flag & BORN_V6), (born.parse().unwrap(), flag));
        let properties = message.properties.len();
        assert_eq!(size, 72 + bytes + 8 + "hello".len() + 1 + "t".len() + 2 + properties);
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_without_a_key_or_queue_is_given_both() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    let mut queues = Vec::new();
    for _ in 0..4 {
        let reply = client.publish("t", -1, "", "x").await;
        queues.push(reply.fields.number::<i32>("queueId").unwrap());
        assert_eq!(reply.fields.get("transactionId").map(str::len), Some(32));
    }
    queues.sort_unstable();
    assert_eq!(queues, [0, 1, 2, 3]);
    let got = client.pull("t", 0, 0).await;
    assert_eq!(property(&got.messages[0], "UNIQ_KEY").map(str::len), Some(32));
}

#[tokio::test(start_paused = true)]
async fn the_old_code_with_long_names_is_understood() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    let mut request = Command::request(code::SEND_MESSAGE).body("old");
    for (name, value) in [
        ("producerGroup", "p"),
        ("topic", "t"),
        ("defaultTopic", "TBW102"),
        ("defaultTopicQueueNums", "4"),
        ("queueId", "1"),
        ("sysFlag", "0"),
        ("bornTimestamp", "1"),
        ("flag", "7"),
        ("properties", "a\u{1}b\u{2}"),
    ] {
        request = request.with(name, value);
    }
    assert_eq!(client.ask(request).await.code, 0);
    let got = client.pull("t", 1, 0).await;
    assert_eq!((got.messages[0].flag, property(&got.messages[0], "a")), (7, Some("b")));
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_several_messages_with_offsets_and_ids_of_their_own() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    let mut body = BytesMut::new();
    for i in 0..3 {
        let one = Batched {
            flag: i,
            body: format!("b{i}").into(),
            properties: format!("TAGS\u{1}t{i}\u{2}").into(),
        };
        one.encode(&mut body);
    }
    let request = Send { batch: true, ..send("t", 0, "") }.write().body(body.freeze());
    let reply = client.ask(request).await;
    assert_eq!(reply.code, 0, "{reply:?}");
    assert_eq!(reply.fields.get("msgId").map(|ids| ids.split(',').count()), Some(3));
    let got = client.pull("t", 0, 0).await;
    assert_eq!(got.bodies(), ["b0", "b1", "b2"]);
    assert_eq!(
        got.messages.iter().map(|m| (m.queue_offset, m.flag)).collect::<Vec<_>>(),
        [(0, 0), (1, 1), (2, 2)]
    );
    assert_eq!(property(&got.messages[2], "TAGS"), Some("t2"));
}

#[tokio::test(start_paused = true)]
async fn a_one_way_message_is_stored_and_a_burst_is_in_order() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    for i in 0..100 {
        let mut request = send("t", 0, "").write().body(format!("{i}"));
        request.flag |= 2;
        client.send(request);
    }
    wait(50).await;
    let mut bodies = Vec::new();
    while bodies.len() < 100 {
        let got = client.pull("t", 0, bodies.len() as i64).await;
        assert_eq!(got.code, 0);
        assert!(got.messages.len() <= 32);
        bodies.extend(got.bodies());
    }
    assert_eq!(bodies, (0..100).map(|i| i.to_string()).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_sent_to_is_made_like_the_one_that_is_named() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    client.publish("four", 0, "", "x").await;
    let request = Send { default_queues: 100, ..send("eight", 0, "") }.write().body("x");
    client.ask(request).await;
    let topics = owner.served.topic_table().topic_config_table;
    assert_eq!((topics["four"].write_queue_nums, topics["four"].perm), (4, 6));
    assert_eq!(topics["eight"].write_queue_nums, 8);
    assert!(*owner.served.topics_changed().borrow() >= 2);
    let names = ["TBW102", "c", "broker-0", "SCHEDULE_TOPIC_XXXX"];
    assert!(names.iter().all(|name| topics.contains_key(*name)), "{:?}", topics.keys());
}

#[tokio::test(start_paused = true)]
async fn a_message_is_found_by_its_keys() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    for i in 0..5 {
        client
            .publish("t", 0, &format!("KEYS\u{1}k{i} all\u{2}UNIQ_KEY\u{1}U{i}\u{2}"), &format!("{i}"))
            .await;
    }
    let find = |key: &str, unique: bool| {
        let request = Command::request(code::QUERY_MESSAGE)
            .with("topic", "t")
            .with("key", key)
            .with("maxNum", 64)
            .with("beginTimestamp", 0)
            .with("endTimestamp", i64::MAX);
        client.ask(if unique { request.with("_UNIQUE_KEY_QUERY", true) } else { request })
    };
    assert_eq!(pulled(find("k3", false).await).bodies(), ["3"]);
    assert_eq!(pulled(find("U2", true).await).bodies(), ["2"]);
    assert_eq!(pulled(find("all", false).await).messages.len(), 5);
    assert_eq!(find("nobody", false).await.code, 22);
    assert_eq!(find("k3", true).await.code, 22);
}

#[tokio::test(start_paused = true)]
async fn who_chose_so_is_answered_before_the_message_is_on_disk_for_a_tenth_of_a_second() {
    let world = World::new();
    let mut settings = Settings::default();
    settings.set("flushDiskType", "ASYNC_FLUSH").unwrap();
    let owner = world.open_with(settings).await;
    let client = owner.client();
    client.publish("t", 0, "", "a").await;
    wait(10).await;
    world.hold();
    let soon = client.send(send("t", 0, "").write().body("b"));
    assert_eq!(client.replied(soon).map(|reply| reply.code), Some(0));
    assert_eq!(client.pull("t", 0, 0).await.bodies(), ["a"], "nobody reads it before");
    wait(200).await;
    let late = client.send(send("t", 0, "").write().body("c"));
    wait(100).await;
    assert!(client.replied(late).is_none());
    world.release();
    assert_eq!(client.reply(late).await.code, 0);
}
