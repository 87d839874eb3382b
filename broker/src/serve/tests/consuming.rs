use protocol::remoting::code::response;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_held_pull_is_answered_by_the_message_it_waits_for() {
    let world = World::new();
    let owner = world.open().await;
    let (producer, consumer) = (owner.client(), owner.client());
    producer.publish("t", 0, "", "a").await;
    let waiting = consumer.send(held("t", 0, 1, "*", 15_000).write());
    wait(5_000).await;
    assert!(consumer.replied(waiting).is_none());
    producer.publish("t", 1, "", "another queue").await;
    wait(10).await;
    assert!(consumer.replied(waiting).is_none());
    producer.publish("t", 0, "", "b").await;
    let got = pulled(consumer.replied(waiting).expect("answered by the append"));
    assert_eq!((got.code, got.next, got.bodies()), (0, 2, vec!["b".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_held_pull_ends_at_its_time_and_with_its_connection() {
    let world = World::new();
    let owner = world.open().await;
    let (client, other) = (owner.client(), owner.client());
    client.publish("t", 0, "", "a").await;
    let begun = Instant::now();
    let opaque = client.send(held("t", 0, 1, "*", 3_000).write());
    other.send(held("t", 0, 1, "*", 60_000).write());
    let got = pulled(client.reply(opaque).await);
    assert_eq!((got.code, got.next, got.max), (19, 1, 1));
    let took = begun.elapsed().as_millis();
    assert!((3_000..3_003).contains(&took), "{took}");
    assert_eq!(owner.served.held.lock().len(), 1);
    other.close();
    assert_eq!(owner.served.held.lock().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn only_wanted_tags_are_handed_out_and_others_do_not_wake_a_pull() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    for (i, tag) in ["A", "B", "A", "C", "B"].iter().enumerate() {
        client.publish("t", 0, &format!("TAGS\u{1}{tag}\u{2}"), &i.to_string()).await;
    }
    let got = pulled(client.ask(pull("t", 0, 0, "A||C").write()).await);
    assert_eq!((got.code, got.next, got.bodies().concat()), (0, 5, "023".to_owned()));
    let none = pulled(client.ask(pull("t", 0, 0, "X").write()).await);
    assert_eq!((none.code, none.next), (20, 5));
    let waiting = client.send(held("t", 0, 5, "A", 10_000).write());
    client.publish("t", 0, "TAGS\u{1}B\u{2}", "5").await;
    wait(10).await;
    assert!(client.replied(waiting).is_none(), "no B was asked for");
    client.publish("t", 0, "TAGS\u{1}A\u{2}", "6").await;
    assert_eq!(pulled(client.reply(waiting).await).bodies(), ["6"]);
    let waiting = client.send(held("t", 0, 7, "A", 1_000).write());
    client.publish("t", 0, "TAGS\u{1}B\u{2}", "7").await;
    let over = pulled(client.reply(waiting).await);
    assert_eq!((over.code, over.next), (19, 8), "it need not look at it again");
}

#[tokio::test(start_paused = true)]
async fn offsets_outside_a_queue_are_answered_as_rocketmq_does() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    client.publish("t", 0, "", "a").await;
    for (queue, offset, code, next) in
        [(0, 1, 19, 1), (0, 2, 21, 1), (0, 900, 21, 1), (0, -5, 21, 0), (1, 0, 19, 0), (1, 7, 21, 0)]
    {
        let got = client.pull("t", queue, offset).await;
        assert_eq!((got.code, got.next), (code, next), "queue {queue} offset {offset}");
    }
    assert_eq!(client.pull("t", 4, 0).await.code, 29);
    assert_eq!(client.pull("t", -1, 0).await.code, 29);
    assert_eq!(client.pull("nowhere", 0, 0).await.code, 17);
    let bad = pulled(client.ask(pull("t", 0, 0, "||").write()).await);
    assert_eq!(bad.code, 23);
    let sql = Pull { expression_type: Some("SQL92"), ..pull("t", 0, 0, "a > 1") };
    assert_eq!(client.ask(sql.write()).await.code, 3);
}

#[tokio::test(start_paused = true)]
async fn a_pull_without_a_subscription_needs_that_of_the_heartbeat() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    client.publish("t", 0, "", "a").await;
    let pull = |version| Pull { subscription: None, sub_version: version, ..pull("t", 0, 0, "*") };
    assert_eq!(client.ask(pull(5).write()).await.code, 24);
    client.heartbeat("c1", vec![consumes("g", "t", 5)], &[]).await;
    assert_eq!(client.ask(pull(5).write()).await.code, 0);
    assert_eq!(client.ask(pull(6).write()).await.code, 25);
}

#[tokio::test(start_paused = true)]
async fn committed_offsets_are_seen_once_they_are_in_the_log_and_outlive_the_owner() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    client.publish("t", 0, "", "a").await;
    client.heartbeat("c1", vec![consumes("g", "t", 1)], &[]).await;
    let query = |queue: i32| query("g", "t", queue);
    let commit = |queue: i32, offset: i64| commit("g", "t", queue, offset);
    let offset = |reply: Command| (reply.code, reply.fields.get("offset").map(str::to_owned));
    assert_eq!(offset(client.ask(query(0)).await), (0, Some("0".into())));
    assert_eq!(client.ask(query(0).with("setZeroIfNotFound", "false")).await.code, 22);
    client.send(commit_one_way("g", "t", 0, 1));
    assert_eq!(offset(client.ask(query(0)).await), (0, Some("1".into())));
    assert_eq!(client.ask(commit(1, 9)).await.code, 0);
    let staged = owner.served.vb.core().staged();
    assert_eq!(client.ask(commit(1, 9)).await.code, 0);
    assert_eq!(owner.served.vb.core().staged(), staged, "what changes nothing is not written");
    assert_eq!(client.ask(commit(9, 1)).await.code, 29);
    assert_eq!(client.ask(commit(0, -1)).await.code, 29);
    assert_eq!(client.ask(super::commit("nobody", "t", 0, 1)).await.code, 26);

    let next = world.open().await;
    let client = next.client();
    assert_eq!(offset(client.ask(query(0)).await), (0, Some("1".into())));
    assert_eq!(offset(client.ask(query(1)).await), (0, Some("9".into())));
}

#[tokio::test(start_paused = true)]
async fn a_new_group_begins_with_a_young_queue_also_when_that_has_left_memory() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    client.publish("t", 0, "", "a").await;
    owner.served.vb.checkpoint().await.unwrap();
    let cold = {
        let core = owner.served.vb.core();
        let topic = core.state().topic("t").unwrap().id;
        matches!(core.rows(topic, 0, 0, 1, usize::MAX), crate::vb::Rows::Cold)
    };
    assert!(cold);
    let query = query("g", "t", 0);
    assert_eq!(client.ask(query.clone()).await.fields.get("offset"), Some("0"));
    assert_eq!(client.ask(query.with("setZeroIfNotFound", "false")).await.code, 22);
}

#[tokio::test(start_paused = true)]
async fn whoever_pulls_old_messages_without_end_keeps_no_more_than_his_places_and_nobody_out() {
    let world = World::new();
    let owner = world.open().await;
    let (greedy, other) = (owner.client(), owner.client());
    greedy.publish("t", 0, "", "a").await;
    owner.served.vb.checkpoint().await.unwrap();
    let asked: Vec<i32> = (0..20_000).map(|_| greedy.send(pull("t", 0, 0, "*").write())).collect();
    assert_eq!(other.pull("t", 0, 0).await.bodies(), ["a"]);
    let mut codes = std::collections::BTreeMap::new();
    for opaque in asked {
        *codes.entry(greedy.reply(opaque).await.code).or_insert(0) += 1;
    }
    assert_eq!(codes, [(response::SUCCESS, 2_048), (response::FLOW_CONTROL, 17_952)].into());
}

#[tokio::test(start_paused = true)]
async fn one_way_commits_are_one_record_soon() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    client.publish("t", 0, "", "a").await;
    client.heartbeat("c1", vec![consumes("g", "t", 1)], &[]).await;
    let commit = Pull { commit: Some(1), ..pull("t", 0, 0, "*") };
    client.ask(commit.write()).await;
    wait(120).await;
    let core = owner.served.vb.core();
    let topic = core.state().topic("t").unwrap().id;
    assert_eq!(core.state().offsets().get("g", topic, 0), Some(1));
}

#[tokio::test(start_paused = true)]
async fn queues_say_where_they_begin_and_end_and_what_was_when() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    for body in ["a", "b", "c"] {
        client.publish("t", 0, "", body).await;
        wait(1_000).await;
    }
    let of = |code: i32, queue: i32| Command::request(code).with("topic", "t").with("queueId", queue);
    let offset = |reply: Command| reply.fields.number::<i64>("offset").unwrap_or(-99);
    assert_eq!(offset(client.ask(of(code::GET_MAX_OFFSET, 0)).await), 3);
    assert_eq!(offset(client.ask(of(code::GET_MIN_OFFSET, 0)).await), 0);
    assert_eq!(offset(client.ask(of(code::GET_MAX_OFFSET, 1)).await), 0);
    let first = client.ask(of(code::GET_EARLIEST_MSG_STORETIME, 0)).await;
    let first = first.fields.number::<i64>("timestamp").unwrap();
    assert!((BEGAN..BEGAN + 100).contains(&first));
    let none = client.ask(of(code::GET_EARLIEST_MSG_STORETIME, 1)).await;
    assert_eq!(none.fields.get("timestamp"), Some("-1"));
    let at = |time: i64| client.ask(of(code::SEARCH_OFFSET_BY_TIMESTAMP, 0).with("timestamp", time));
    assert_eq!(offset(at(0).await), 0);
    assert_eq!(offset(at(first + 500).await), 1);
    assert_eq!(offset(at(first + 90_000).await), 3);
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_lost_its_log_answers_held_pulls_as_if_nothing_were_new() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    client.publish("t", 0, "", "a").await;
    let waiting = client.send(held("t", 0, 1, "*", 60_000).write());
    let _next = world.open().await;
    let got = pulled(client.reply(waiting).await);
    assert_eq!((got.code, got.next), (19, 1));
    assert!(*owner.served.ended().borrow());
    let after = pulled(client.ask(held("t", 0, 0, "*", 60_000).write()).await);
    assert_eq!((after.code, after.next, after.messages.len()), (19, 0, 0));
    assert_eq!(client.publish("t", 0, "", "b").await.code, 14);
}
