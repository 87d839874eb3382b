use protocol::body::connection::{ConsumerConnection, ProducerConnection, ProducerTable, SubscriptionOf};
use protocol::body::group::{GroupConfig, GroupList, GroupTable};
use protocol::body::log::{Holder, LogLinks};
use protocol::body::offset::{AllOffsets, CorrectionOffsets, GroupOffsets, ResetOffsets};
use protocol::body::stats::{
    BrokerStats, ConsumeStats, ConsumeStatsList, QueueRows, TimeSpans, TopicStats, key,
};
use protocol::body::topic::{KvTable, TopicConfig, TopicList, TopicTable};

use super::*;

fn make(topic: &str, queues: i32, perm: i32, attributes: &str) -> Command {
    Command::request(code::UPDATE_AND_CREATE_TOPIC)
        .with("topic", topic)
        .with("defaultTopic", "TBW102")
        .with("readQueueNums", queues)
        .with("writeQueueNums", queues)
        .with("perm", perm)
        .with("topicFilterType", "SINGLE_TAG")
        .with("order", false)
        .with("attributes", attributes)
}

fn read<T: serde::de::DeserializeOwned>(reply: &Command) -> T {
    assert_eq!(reply.code, 0, "{:?}", reply.remark);
    json::read(&reply.body).unwrap()
}

#[tokio::test(start_paused = true)]
async fn topics_are_made_changed_told_and_deleted() {
    let world = World::new();
    let owner = world.open().await;
    let admin = owner.client();
    assert_eq!(admin.ask(make("t", 3, 6, "+message.type=FIFO")).await.code, 0);
    let version = owner.served.topic_table().data_version;
    assert_eq!(admin.ask(make("t", 3, 6, "+message.type=FIFO")).await.code, 0);
    assert_eq!(owner.served.topic_table().data_version, version, "nothing has changed");
    assert_eq!(admin.ask(make("t", 5, 4, "")).await.code, 0);
    let one = Command::request(code::GET_TOPIC_CONFIG).with("topic", "t");
    let told: TopicConfig = read(&admin.ask(one.clone()).await);
    assert_eq!((told.read_queue_nums, told.perm, told.attributes.len()), (5, 4, 1));
    let reply = admin.ask(Command::request(code::GET_ALL_TOPIC_CONFIG)).await;
    let table: TopicTable = read(&reply);
    assert!(table.topic_config_table.contains_key("t") && table.topic_config_table.contains_key("TBW102"));
    assert_eq!(reply.fields.number::<usize>("totalTopicNum").ok(), Some(table.topic_config_table.len()));
    let system: TopicList = read(&admin.ask(Command::request(code::GET_SYSTEM_TOPIC_LIST_FROM_BROKER)).await);
    assert!(system.topic_list.contains(&"c".into()) && !system.topic_list.contains(&"t".into()));
    let list = r#"{"topicConfigList":[{"topicName":"l","readQueueNums":2,"writeQueueNums":2,"perm":6}]}"#;
    assert_eq!(admin.ask(Command::request(code::UPDATE_AND_CREATE_TOPIC_LIST).body(list)).await.code, 0);
    let listed = Command::request(code::GET_TOPIC_CONFIG).with("topic", "l");
    assert_eq!(read::<TopicConfig>(&admin.ask(listed).await).read_queue_nums, 2);
    for wrong in [
        make("a b", 1, 6, ""),
        make("TBW102", 1, 6, ""),
        make("c", 1, 6, ""),
        make("broker-0", 1, 6, ""),
        make("c_REPLY_TOPIC", 1, 6, ""),
        make("u", 0, 6, ""),
        make("u", i32::MAX, 6, ""),
        make("u", 1, 9, ""),
        make("u", 1, 6, "+colour=red"),
    ] {
        assert_ne!(admin.ask(wrong).await.code, 0);
    }
    admin.publish("t", 0, "", "x").await;
    let delete = Command::request(code::DELETE_TOPIC_IN_BROKER).with("topic", "t");
    assert_eq!(admin.ask(delete.clone()).await.code, 0);
    assert_eq!(admin.ask(delete).await.code, 0, "what is gone is gone");
    assert_eq!(admin.ask(one).await.code, 17);
}

#[tokio::test(start_paused = true)]
async fn who_makes_a_topic_is_answered_when_name_servers_know_it() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    let ways = |name: &str| [make(name, 1, 6, ""), send(&format!("{name}-sent"), 0, "").write().body("x")];
    for request in ways("untold") {
        assert_eq!(client.ask(request).await.code, 0, "nobody tells name servers");
    }
    owner.served.topics_known(0);
    for request in ways("told") {
        let opaque = client.send(request);
        wait(100).await;
        assert!(client.replied(opaque).is_none());
        owner.served.topics_known(owner.served.registration().data_version.counter as u64);
        wait(1).await;
        assert_eq!(client.replied(opaque).unwrap().code, 0);
    }
    for request in ways("unheard") {
        let opaque = client.send(request);
        wait(490).await;
        assert!(client.replied(opaque).is_none());
        wait(20).await;
        assert_eq!(client.replied(opaque).unwrap().code, 0, "they may be away");
    }
    let again = client.send(send("unheard-sent", 0, "").write().body("y"));
    wait(1).await;
    assert!(client.replied(again).is_some(), "only the first of a topic waits");
}

#[tokio::test(start_paused = true)]
async fn nobody_deletes_what_a_virtual_broker_needs_for_itself() {
    let world = World::new();
    let owner = world.open().await;
    let admin = owner.client();
    let system: TopicList = read(&admin.ask(Command::request(code::GET_SYSTEM_TOPIC_LIST_FROM_BROKER)).await);
    for name in ["TBW102", "c", "broker-0", "c_REPLY_TOPIC"] {
        let delete = Command::request(code::DELETE_TOPIC_IN_BROKER).with("topic", name);
        let reply = admin.ask(delete).await;
        let said = format!("The topic[{name}] is conflict with system topic.");
        assert_eq!((reply.code, reply.remark), (29, Some(said)));
        assert!(system.topic_list.iter().any(|listed| listed == name), "{name}");
        assert!(owner.served.topic_table().topic_config_table.contains_key(name), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_says_whether_its_senders_wait_for_the_disk() {
    let world = World::new();
    let owner = world.open().await;
    let admin = owner.client();
    for (topic, attributes) in [("soon", "+durability=async"), ("safe", "+durability=sync"), ("plain", "")] {
        assert_eq!(admin.ask(make(topic, 1, 6, attributes)).await.code, 0);
    }
    assert_eq!(admin.ask(make("soon", 1, 6, "+durability=maybe")).await.code, 1);
    let log = LogName::new("vb-0").unwrap();
    let answered = async |topics: [&str; 3]| {
        wait(10).await;
        world.logs.hold(&log);
        let sent = topics.map(|topic| admin.send(send(topic, 0, "").write().body("x")));
        let answered = sent.map(|opaque| admin.replied(opaque).map(|reply| reply.code));
        world.logs.release(&log);
        wait(10).await;
        answered
    };
    assert_eq!(answered(["soon", "safe", "plain"]).await, [Some(0), None, None]);
    let update = Command::request(code::UPDATE_BROKER_CONFIG).body("flushDiskType=ASYNC_FLUSH\n");
    assert_eq!(admin.ask(update).await.code, 0);
    assert_eq!(answered(["soon", "safe", "plain"]).await, [Some(0), None, Some(0)]);
    assert_eq!(admin.ask(make("soon", 1, 6, "-durability")).await.code, 0);
    let update = Command::request(code::UPDATE_BROKER_CONFIG).body("flushDiskType=SYNC_FLUSH\n");
    assert_eq!(admin.ask(update).await.code, 0);
    assert_eq!(answered(["soon", "safe", "plain"]).await, [None, None, None]);
}

#[tokio::test(start_paused = true)]
async fn a_virtual_broker_without_write_permission_is_drained_by_its_routes() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    client.publish("t", 0, "", "x").await;
    let ordered = r#"{"topicConfigList":[{"topicName":"ordered","readQueueNums":1,"writeQueueNums":1,"perm":6,"order":true}]}"#;
    assert_eq!(client.ask(Command::request(code::UPDATE_AND_CREATE_TOPIC_LIST).body(ordered)).await.code, 0);
    let perm = |name: &str| owner.served.registration().topic_config_table[name].perm;
    assert_eq!((perm("t"), perm("TBW102")), (6, 7));
    let update =
        |perm: u8| Command::request(code::UPDATE_BROKER_CONFIG).body(format!("brokerPermission={perm}\n"));
    let news = owner.served.topics_changed();
    assert_eq!(client.ask(update(4)).await.code, 0);
    assert!(news.has_changed().unwrap(), "it is registered at once");
    assert_eq!((perm("t"), perm("TBW102")), (4, 4));
    assert_eq!(owner.served.topic_table().topic_config_table["t"].perm, 6, "the topic itself is what it was");
    // Who has an older route goes on until he has the new one.
    assert_eq!(client.publish("t", 0, "", "y").await.code, 0);
    let refused = client.publish("ordered", 0, "", "z").await;
    assert!(refused.code == 16 && refused.remark.is_some_and(|why| why.contains("forbidden")));
    assert_eq!(client.ask(update(6)).await.code, 0);
    assert_eq!(client.publish("ordered", 0, "", "z").await.code, 0);
}

#[tokio::test(start_paused = true)]
async fn groups_are_made_told_and_deleted_with_their_offsets() {
    let world = World::new();
    let owner = world.open().await;
    let admin = owner.client();
    admin.publish("t", 0, "", "x").await;
    let config = GroupConfig { group_name: "g".into(), retry_max_times: 3, ..GroupConfig::default() };
    let update = Command::request(code::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP).body(json::write(&config));
    assert_eq!(admin.ask(update).await.code, 0);
    let one = Command::request(code::GET_SUBSCRIPTIONGROUP_CONFIG).with("group", "g");
    assert_eq!(read::<GroupConfig>(&admin.ask(one.clone()).await), config);
    let all: GroupTable = read(&admin.ask(Command::request(code::GET_ALL_SUBSCRIPTIONGROUP_CONFIG)).await);
    assert_eq!(all.subscription_group_table.get("g"), Some(&config));
    assert_eq!(admin.ask(commit("g", "t", 0, 1)).await.code, 0);
    let delete = Command::request(code::DELETE_SUBSCRIPTIONGROUP);
    assert_eq!(admin.ask(delete.with("groupName", "g").with("cleanOffset", true)).await.code, 0);
    assert_eq!(owner.served.vb.core().state().offsets().of_group("g").count(), 0);
    let again: GroupConfig = read(&admin.ask(one).await);
    assert_eq!(again.retry_max_times, 16, "it is made again, with defaults");
    let list = r#"{"groupConfigList":[{"groupName":"l","retryMaxTimes":4}]}"#;
    assert_eq!(
        admin.ask(Command::request(code::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST).body(list)).await.code,
        0
    );
    let listed = Command::request(code::GET_SUBSCRIPTIONGROUP_CONFIG).with("group", "l");
    assert_eq!(read::<GroupConfig>(&admin.ask(listed).await).retry_max_times, 4);
    let garbage = Command::request(code::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP).body("no json");
    assert_eq!(admin.ask(garbage).await.code, 1);
}

#[tokio::test(start_paused = true)]
async fn progress_is_told_by_queue() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    client.heartbeat("a", vec![consumes("g", "t", 1)], &["p"]).await;
    for body in ["1", "2", "3"] {
        client.publish("t", 0, "", body).await;
        wait(1_000).await;
    }
    client.ask(commit("g", "t", 0, 2)).await;
    let stats: TopicStats =
        read(&client.ask(Command::request(code::GET_TOPIC_STATS_INFO).with("topic", "t")).await);
    let first = stats.offset_table.get(&key("broker-0", "t", 0)).copied().unwrap();
    assert_eq!((first.min_offset, first.max_offset), (0, 3));
    assert!(first.last_update_timestamp > BEGAN && stats.topic_put_tps > 0.0);
    let ask = Command::request(code::GET_CONSUME_STATS).with("consumerGroup", "g").with("topic", "");
    let stats: ConsumeStats = read(&client.ask(ask).await);
    let first = stats.offset_table.get(&key("broker-0", "t", 0)).copied().unwrap();
    assert_eq!((first.broker_offset, first.consumer_offset), (3, 2));
    assert!(first.last_timestamp > BEGAN);
    assert_eq!(stats.lag(), 1);
    let all: ConsumeStatsList =
        read(&client.ask(Command::request(code::GET_BROKER_CONSUME_STATS).with("isOrder", false)).await);
    assert_eq!(all.total_diff, 1);
    let ask = Command::request(code::QUERY_CONSUME_TIME_SPAN).with("topic", "t").with("group", "g");
    let spans: TimeSpans = read(&client.ask(ask).await);
    let first = spans.consume_time_span_set.first().unwrap();
    assert!(first.min < first.consumed && first.consumed < first.max && first.delay > 0);
    let ask = Command::request(code::QUERY_CONSUME_QUEUE);
    let ask = ask.with("topic", "t").with("queueId", 0).with("index", 1).with("count", 10);
    let rows: QueueRows = read(&client.ask(ask).await);
    assert_eq!((rows.queue_data.len(), rows.max_queue_index), (2, 3));
    let who: GroupList =
        read(&client.ask(Command::request(code::QUERY_TOPIC_CONSUME_BY_WHO).with("topic", "t")).await);
    assert_eq!(who.group_list, ["g"]);
    let what: TopicList =
        read(&client.ask(Command::request(code::QUERY_TOPICS_BY_CONSUMER).with("group", "g")).await);
    assert_eq!(what.topic_list, ["t"]);
    let offsets: AllOffsets = read(&client.ask(Command::request(code::GET_ALL_CONSUMER_OFFSET)).await);
    assert_eq!(offsets.offset_table.get("t@g").and_then(|row| row.get(&0)), Some(&2));
    let view = Command::request(code::VIEW_BROKER_STATS_DATA);
    let view = |name, of| view.clone().with("statsName", name).with("statsKey", of);
    let stats: BrokerStats = read(&client.ask(view("TOPIC_PUT_NUMS", "t")).await);
    assert_eq!((stats.stats_minute.sum, stats.stats_day.sum), (3, 3));
    assert_eq!(client.ask(view("TOPIC_PUT_NUMS", "nothing")).await.code, 1);
}

#[tokio::test(start_paused = true)]
async fn who_is_connected_is_told_and_asked() {
    let world = World::new();
    let owner = world.open().await;
    let (client, admin) = (owner.client(), owner.client());
    client.heartbeat("a", vec![consumes("g", "t", 1)], &["p"]).await;
    let ask = |group: &str| Command::request(code::GET_CONSUMER_CONNECTION_LIST).with("consumerGroup", group);
    let told: ConsumerConnection = read(&admin.ask(ask("g")).await);
    assert_eq!(told.connection_set.first().map(|one| &*one.client_id), Some("a"));
    assert!(told.subscription_table.contains_key("t"));
    assert_eq!(admin.ask(ask("nobody")).await.code, 206);
    let ask = |group: &str| Command::request(code::GET_PRODUCER_CONNECTION_LIST).with("producerGroup", group);
    let told: ProducerConnection = read(&admin.ask(ask("p")).await);
    assert_eq!(told.connection_set.len(), 1);
    assert_eq!(admin.ask(ask("nobody")).await.code, 1);
    let told: ProducerTable = read(&admin.ask(Command::request(code::GET_ALL_PRODUCER_INFO)).await);
    assert!(told.data.contains_key("p"));
    let ask = Command::request(code::QUERY_SUBSCRIPTION_BY_CONSUMER).with("group", "g").with("topic", "t");
    let told: SubscriptionOf = read(&admin.ask(ask).await);
    assert_eq!(told.subscription_data.map(|one| one.sub_string), Some("*".into()));

    let ask = Command::request(code::GET_CONSUMER_RUNNING_INFO).with("consumerGroup", "g");
    assert_eq!(admin.ask(ask.clone().with("clientId", "b")).await.code, 1);
    let asked = admin.send(ask.with("clientId", "a").with("jstackEnable", false));
    wait(10).await;
    let passed: Vec<Command> = client.told();
    let passed = passed.iter().find(|told| told.code == code::GET_CONSUMER_RUNNING_INFO).unwrap();
    assert_eq!(passed.fields.get("clientId"), Some("a"));
    client.connection.answered(passed.reply(0).body("{\"jstack\":\"\"}"));
    let said = admin.reply(asked).await;
    assert_eq!((said.code, text(&said.body)), (0, "{\"jstack\":\"\"}".into()));
}

#[tokio::test(start_paused = true)]
async fn members_are_told_where_to_go_on() {
    let world = World::new();
    let owner = world.open().await;
    let (client, admin) = (owner.client(), owner.client());
    for body in ["1", "2", "3"] {
        admin.publish("t", 0, "", body).await;
        wait(1_000).await;
    }
    let ask = |timestamp: i64, force: bool| {
        let ask = Command::request(code::INVOKE_BROKER_TO_RESET_OFFSET).with("group", "g").with("topic", "t");
        ask.with("timestamp", timestamp).with("isForce", force)
    };
    let update = |text: &'static str| Command::request(code::UPDATE_BROKER_CONFIG).body(text);
    admin.ask(update("autoCreateSubscriptionGroup=false\n")).await;
    assert_eq!(admin.ask(ask(0, true)).await.code, 26, "there is no such group");
    admin.ask(update("autoCreateSubscriptionGroup=true\n")).await;
    let told: ResetOffsets = read(&admin.ask(ask(-1, true)).await);
    assert_eq!(told.offset_table.get(&key("broker-0", "t", 0)), Some(&3), "a group begins where it is told");
    client.heartbeat("a", vec![consumes("g", "t", 1)], &[]).await;
    client.ask(commit("g", "t", 0, 3)).await;
    client.told();
    let reply = admin.ask(ask(BEGAN, true)).await;
    let told: ResetOffsets = read(&reply);
    assert_eq!(told.offset_table.get(&key("broker-0", "t", 0)), Some(&0));
    let heard: Vec<Command> = client.told();
    let heard = heard.iter().find(|told| told.code == code::RESET_CONSUMER_CLIENT_OFFSET).unwrap();
    assert_eq!((heard.fields.get("group"), &heard.body), (Some("g"), &reply.body));
    // To the end, and not against the direction unless forced.
    client.ask(commit("g", "t", 0, 1)).await;
    let told: ResetOffsets = read(&admin.ask(ask(-1, false)).await);
    assert_eq!(told.offset_table.get(&key("broker-0", "t", 0)), Some(&1));
    let told: ResetOffsets = read(&admin.ask(ask(-1, true)).await);
    assert_eq!(told.offset_table.get(&key("broker-0", "t", 0)), Some(&3));
    // Without members, too.
    client.close();
    wait(10).await;
    assert_eq!(admin.ask(ask(BEGAN, true)).await.code, 0);
    let query = Command::request(code::QUERY_CONSUMER_OFFSET).with("consumerGroup", "g");
    let at = admin.ask(query.with("topic", "t").with("queueId", 0)).await;
    assert_eq!(at.fields.get("offset"), Some("0"));
}

#[tokio::test(start_paused = true)]
async fn members_are_asked_where_they_are() {
    let world = World::new();
    let owner = world.open().await;
    let (client, other, admin) = (owner.client(), owner.client(), owner.client());
    client.publish("t", 0, "", "x").await;
    let ask =
        Command::request(code::INVOKE_BROKER_TO_GET_CONSUMER_STATUS).with("topic", "t").with("group", "g");
    assert_eq!(admin.ask(ask.clone()).await.code, 1, "nobody is there");
    client.heartbeat("a", vec![consumes("g", "t", 1)], &[]).await;
    other.heartbeat("b", vec![consumes("g", "t", 1)], &[]).await;
    let asked = admin.send(ask);
    wait(10).await;
    let question = |client: &Client| {
        let told = client.told().into_iter();
        told.into_iter().find(|told| told.code == code::GET_CONSUMER_STATUS_FROM_CLIENT).unwrap()
    };
    let said = format!("{{\"messageQueueTable\":{{{}:7}}}}", key("broker-0", "t", 0));
    client.connection.answered(question(&client).reply(0).body(said));
    // As a client that does not know the question.
    other.connection.answered(question(&other).reply(3));
    let told: GroupOffsets = read(&admin.reply(asked).await);
    let positions: Vec<_> = told.consumer_table.iter().collect();
    assert_eq!(positions, [(&"a".to_owned(), &[(key("broker-0", "t", 0), 7)].into())]);
}

#[tokio::test(start_paused = true)]
async fn a_group_that_joins_is_told_how_far_the_slowest_has_come() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    for group in ["g", "h"] {
        client.heartbeat(group, vec![consumes(group, "t", 1)], &[]).await;
    }
    client.publish("t", 0, "", "x").await;
    client.publish("t", 0, "", "x").await;
    client.ask(commit("g", "t", 0, 2)).await;
    client.ask(commit("h", "t", 0, 1)).await;
    let ask = Command::request(code::QUERY_CORRECTION_OFFSET).with("topic", "t").with("compareGroup", "g");
    let slowest = async |left_out: &str| -> CorrectionOffsets {
        read(&client.ask(ask.clone().with("filterGroups", left_out)).await)
    };
    assert_eq!(slowest("").await.correction_offsets, [(0, 1)].into());
    assert_eq!(slowest("h,x").await.correction_offsets, [(0, 2)].into());
}

#[tokio::test(start_paused = true)]
async fn offsets_are_cloned() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    client.heartbeat("a", vec![consumes("g", "t", 1)], &[]).await;
    client.publish("t", 0, "", "x").await;
    client.ask(commit("g", "t", 0, 1)).await;
    let clone = Command::request(code::CLONE_GROUP_OFFSET).with("srcGroup", "g").with("destGroup", "h");
    assert_eq!(client.ask(clone.with("topic", "").with("offline", false)).await.code, 0);
    let core = owner.served.vb.core();
    let topic = core.state().topic("t").unwrap().id;
    assert_eq!(core.state().offsets().get("h", topic, 0), Some(1));
}

#[tokio::test(start_paused = true)]
async fn offsets_that_an_operator_sets_are_told_once_they_are_in_the_log() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    client.heartbeat("a", vec![consumes("g", "t", 1), consumes("h", "t", 1)], &[]).await;
    client.publish("t", 0, "", "x").await;
    client.ask(commit("g", "t", 0, 1)).await;
    let query = |group| Command::request(code::QUERY_CONSUMER_OFFSET).with("consumerGroup", group);
    let query = |group| query(group).with("topic", "t").with("queueId", 0);
    let reset = Command::request(code::INVOKE_BROKER_TO_RESET_OFFSET).with("group", "g").with("topic", "t");
    let reset = reset.with("timestamp", BEGAN).with("isForce", true);
    let clone = Command::request(code::CLONE_GROUP_OFFSET).with("srcGroup", "g").with("destGroup", "h");
    for (change, group, offset) in [(clone.with("topic", ""), "h", 1), (reset, "g", 0)] {
        world.hold();
        client.send(change);
        wait(10).await;
        // Neither is it told, nor is whoever confirms it told that it is there.
        let asked = [client.send(query(group)), client.send(commit(group, "t", 0, offset))];
        wait(10).await;
        assert_eq!(asked.map(|opaque| client.replied(opaque).is_some()), [false, false], "{group}");
        world.release();
        assert_eq!(client.reply(asked[0]).await.fields.number("offset"), Ok(offset));
        assert_eq!(client.reply(asked[1]).await.code, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn settings_are_changed_for_good() {
    let world = World::new();
    let owner = world.open().await;
    let admin = owner.client();
    let update = |text: &'static str| Command::request(code::UPDATE_BROKER_CONFIG).body(text);
    assert_eq!(admin.ask(update("autoCreateTopicEnable=false\nmessageDelayLevel=1s 2s\n")).await.code, 0);
    let wrong = admin.ask(update("maxMessageSize=1000\nautoCreateTopicEnable=perhaps\n")).await;
    assert!(wrong.code == 1 && wrong.remark.is_some_and(|text| text.contains("true or false")));
    let ignored = admin.ask(update("haListenPort=10912\n")).await;
    assert!(ignored.code == 0 && ignored.remark.is_some_and(|text| text.contains("haListenPort")));
    assert_eq!(admin.ask(update("\n")).await.code, 1);
    owner.served.close().await.unwrap();
    let owner = world.open().await;
    let admin = owner.client();
    let shown = text(&admin.ask(Command::request(code::GET_BROKER_CONFIG)).await.body);
    for line in ["autoCreateTopicEnable=false", "messageDelayLevel=1s 2s", "brokerName=broker-0"] {
        assert!(shown.lines().any(|shown| shown == line), "{line} in {shown}");
    }
    assert!(!shown.contains("maxMessageSize=1000"), "all of them or none");
    wait(30_000).await;
    let told: KvTable = read(&admin.ask(Command::request(code::GET_BROKER_RUNTIME_INFO)).await);
    assert_eq!(told.table.get("putTps").map(String::as_str), Some("0 0 0"));
    assert!(told.table.get("brokerVersionDesc").is_some_and(|text| text.starts_with("StrataMQ")));
}

#[tokio::test(start_paused = true)]
async fn a_log_is_told_with_what_holds_it() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    let ask = async || read::<LogLinks>(&client.ask(Command::request(code::STRATA_LOG)).await);
    let told = ask().await;
    let [link] = &told.links[..] else { panic!("{told:?}") };
    assert_eq!((link.from, link.to, told.one_in), (0, None, 1));
    assert_eq!((&link.held_by[0].by, link.live()), (&Holder::Recovery, link.bytes), "no checkpoint yet");
    for _ in 0..10 {
        client.publish("t", 0, "", "now").await;
    }
    client.publish("t", 0, "DELAY\u{1}5\u{2}", "later").await;
    owner.served.vb.checkpoint().await.unwrap();
    let told = ask().await;
    let [link] = &told.links[..] else { panic!("{told:?}") };
    let topic = Holder::Topic { topic: "t".into(), retention_ms: 72 * 3_600_000 };
    let by: Vec<&Holder> = link.held_by.iter().map(|held| &held.by).collect();
    assert_eq!(by, [&topic, &Holder::Delays], "the largest part first");
    assert!(link.live() > 10 * 88 && link.live() < link.bytes, "{told:?}");
}
