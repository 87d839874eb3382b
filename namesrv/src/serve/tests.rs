use std::sync::Arc;

use protocol::body::cluster::ClusterInfo;
use protocol::body::register::{Registration, WHOLE_FIELD, body_crc};
use protocol::body::route::TopicRoute;
use protocol::body::topic::{DataVersion, KvTable, TopicConfig, TopicList, TopicTable};
use protocol::remoting::code::{request as ask, response};

use super::*;
use crate::Settings;

fn server() -> Arc<NameServer> {
    NameServer::new(Settings { port: 9876, ..Settings::default() }).unwrap()
}

fn asker(channel: u64, address: &str) -> Asker {
    Asker { channel: Channel(channel), address: format!("{address}:1000").parse().unwrap() }
}

/// What a request is answered, changes of what is kept included.
async fn say(server: &NameServer, request: Command) -> Command {
    let asked = server.answer(asker(1, "127.0.0.1"), &request);
    match asked {
        Ok(Answer::Now(reply)) => reply,
        Ok(Answer::Once(change, reply)) => match server.keep(|kept| settings::apply(kept, change)).await {
            Ok(()) => reply,
            Err(error) => refusal(&request, &error),
        },
        Err(error) => refusal(&request, &error),
    }
}

fn registration(name: &str, epoch: i64, topics: &[&str], compressed: bool) -> Command {
    let table = topics.iter().map(|topic| {
        (topic.to_string(), TopicConfig { topic_name: topic.to_string(), ..TopicConfig::default() })
    });
    let body = Registration::new(TopicTable {
        data_version: DataVersion { state_version: epoch, counter: 1, timestamp: 1 },
        topic_config_table: table.collect(),
    });
    let body = if compressed { body.compress() } else { body.encode() };
    Command::request(ask::REGISTER_BROKER)
        .with("brokerName", name)
        .with("brokerAddr", format!("{name}:10911"))
        .with("clusterName", "C")
        .with("haServerAddr", format!("{name}:10912"))
        .with("brokerId", 0)
        .with("compressed", compressed)
        .with("bodyCrc32", body_crc(&body))
        .body(body)
}

fn route_of(topic: &str) -> Command {
    Command::request(ask::GET_ROUTEINFO_BY_TOPIC).with("topic", topic)
}

#[tokio::test]
async fn what_is_registered_is_routed_compressed_or_not() {
    let server = server();
    assert_eq!(say(&server, route_of("T")).await.code, response::TOPIC_NOT_EXIST);
    for (name, compressed) in [("b-1", true), ("b-0", false)] {
        let reply = say(&server, registration(name, 1, &["T", "C"], compressed)).await;
        assert_eq!((reply.code, reply.body.len()), (response::SUCCESS, 0));
    }
    let route: TopicRoute = json::read(&say(&server, route_of("T")).await.body).unwrap();
    let names: Vec<_> = route.broker_datas.iter().map(|data| data.broker_name.as_str()).collect();
    assert_eq!(names, ["b-0", "b-1"]);
    let info = say(&server, Command::request(ask::GET_BROKER_CLUSTER_INFO)).await;
    let info: ClusterInfo = json::read(&info.body).unwrap();
    assert_eq!(info.cluster_addr_table["C"].len(), 2);
    server.lost(Channel(1));
    assert_eq!(say(&server, route_of("T")).await.code, response::TOPIC_NOT_EXIST);
}

#[tokio::test]
async fn a_damaged_registration_is_refused() {
    let server = server();
    let mut damaged = registration("b", 1, &["T"], false);
    damaged.body = "{}".into();
    let reply = say(&server, damaged).await;
    assert_eq!((reply.code, reply.remark.as_deref()), (response::SYSTEM_ERROR, Some("crc32 not match")));
    let reply = say(&server, Command::request(ask::REGISTER_BROKER)).await;
    assert_eq!(reply.code, response::SYSTEM_ERROR);
    assert!(reply.remark.is_some_and(|remark| remark.contains("brokerId") || remark.contains("clusterName")));
    let old = registration("b", 1, &["T"], false);
    say(&server, registration("b", 2, &["T"], false)).await;
    assert!(say(&server, old).await.remark.is_some_and(|remark| remark.contains("epoch 2")));
}

#[tokio::test]
async fn a_broker_asks_whether_it_has_to_register_again() {
    let server = server();
    let query = |counter: i64| {
        let version = DataVersion { state_version: 1, counter, timestamp: 1 };
        Command::request(ask::QUERY_DATA_VERSION)
            .with("brokerName", "b")
            .with("brokerAddr", "b:10911")
            .body(json::write(&version))
    };
    assert_eq!(say(&server, query(1)).await.fields.get("changed"), Some("true"));
    say(&server, registration("b", 1, &["T"], false).with(WHOLE_FIELD, true)).await;
    let reply = say(&server, query(1)).await;
    assert_eq!(reply.fields.get("changed"), Some("false"));
    assert_eq!(json::read::<DataVersion>(&reply.body).map(|version| version.counter), Ok(1));
    assert_eq!(say(&server, query(2)).await.fields.get("changed"), Some("true"));
}

#[tokio::test]
async fn keys_and_ordered_topics_are_kept_and_told() {
    let server = server();
    let key = |code: i32| Command::request(code).with("namespace", "ORDER_TOPIC_CONFIG").with("key", "T");
    let list = || Command::request(ask::GET_KVLIST_BY_NAMESPACE).with("namespace", "ORDER_TOPIC_CONFIG");
    assert_eq!(say(&server, key(ask::GET_KV_CONFIG)).await.code, response::QUERY_NOT_FOUND);
    assert_eq!(say(&server, list()).await.code, response::QUERY_NOT_FOUND);
    assert_eq!(say(&server, key(ask::PUT_KV_CONFIG)).await.code, response::SYSTEM_ERROR);
    assert_eq!(say(&server, key(ask::PUT_KV_CONFIG).with("value", "b:8")).await.code, response::SUCCESS);
    assert_eq!(say(&server, key(ask::GET_KV_CONFIG)).await.fields.get("value"), Some("b:8"));
    let registered = say(&server, registration("b", 1, &["T"], false)).await;
    let table: KvTable = json::read(&registered.body).unwrap();
    assert_eq!(table.table.get("T").map(String::as_str), Some("b:8"));
    let ordered = |reply: Command| json::read::<TopicRoute>(&reply.body).unwrap().order_topic_conf;
    assert_eq!(ordered(say(&server, route_of("T")).await).as_deref(), Some("b:8"));
    let off = Command::request(ask::UPDATE_NAMESRV_CONFIG).body("# a comment\norderMessageEnable=false\n");
    assert_eq!(say(&server, off).await.code, response::SUCCESS);
    assert_eq!(ordered(say(&server, route_of("T")).await), None);
    assert_eq!(say(&server, key(ask::DELETE_KV_CONFIG)).await.code, response::SUCCESS);
    assert_eq!(say(&server, list()).await.code, response::QUERY_NOT_FOUND);
}

#[tokio::test]
async fn settings_are_shown_and_those_that_mean_nothing_here_are_named() {
    let server = server();
    let shown = say(&server, Command::request(ask::GET_NAMESRV_CONFIG)).await;
    let shown = std::str::from_utf8(&shown.body).unwrap();
    assert!(shown.contains("listenPort=9876\n") && shown.contains("orderMessageEnable=true\n"), "{shown}");
    let update = |text: &'static str| Command::request(ask::UPDATE_NAMESRV_CONFIG).body(text);
    for wrong in ["orderMessageEnable=maybe", "orderMessageEnable", "listenPort=1\norderMessageEnable=maybe"]
    {
        assert_eq!(say(&server, update(wrong)).await.code, response::SYSTEM_ERROR, "{wrong}");
    }
    for scripted in ["listenPort=1", "listenPort=1\norderMessageEnable=false\nclusterTest=true\n"] {
        let reply = say(&server, update(scripted)).await;
        let remark = reply.remark.unwrap_or_default();
        assert!(
            reply.code == response::SUCCESS && remark.starts_with("without effect here: listenPort"),
            "{remark}"
        );
        assert!(!remark.contains("orderMessageEnable"), "{remark}");
    }
    let shown = say(&server, Command::request(ask::GET_NAMESRV_CONFIG)).await;
    let shown = std::str::from_utf8(&shown.body).unwrap();
    assert!(shown.contains("listenPort=9876\n") && shown.contains("orderMessageEnable=false\n"), "{shown}");
}

#[tokio::test]
async fn lists_and_permissions_are_those_of_registered_topics() {
    let server = server();
    say(&server, registration("b", 1, &["T", "C"], false)).await;
    let list = |reply: Command| json::read::<TopicList>(&reply.body).unwrap().topic_list;
    assert_eq!(
        list(say(&server, Command::request(ask::GET_ALL_TOPIC_LIST_FROM_NAMESERVER)).await),
        ["C", "T"]
    );
    let of_cluster = Command::request(ask::GET_TOPICS_BY_CLUSTER).with("cluster", "C");
    assert_eq!(list(say(&server, of_cluster).await).len(), 2);
    let system = say(&server, Command::request(ask::GET_SYSTEM_TOPIC_LIST_FROM_NS)).await;
    let system: TopicList = json::read(&system.body).unwrap();
    assert_eq!((system.topic_list.len(), system.broker_addr.as_deref()), (2, Some("b:10911")));
    let wipe = Command::request(ask::WIPE_WRITE_PERM_OF_BROKER).with("brokerName", "b");
    assert_eq!(say(&server, wipe).await.fields.get("wipeTopicCount"), Some("2"));
    let route: TopicRoute = json::read(&say(&server, route_of("T")).await.body).unwrap();
    assert_eq!(route.queue_datas[0].perm, 4);
    let add = Command::request(ask::ADD_WRITE_PERM_OF_BROKER).with("brokerName", "b");
    assert_eq!(say(&server, add).await.fields.get("addTopicCount"), Some("2"));
    say(&server, Command::request(ask::DELETE_TOPIC_IN_NAMESRV).with("topic", "T")).await;
    assert_eq!(say(&server, route_of("T")).await.code, response::TOPIC_NOT_EXIST);
    let unregister = Command::request(ask::UNREGISTER_BROKER)
        .with("brokerName", "b")
        .with("brokerAddr", "b:10911")
        .with("clusterName", "C")
        .with("brokerId", 0);
    assert_eq!(say(&server, unregister).await.code, response::SUCCESS);
    assert_eq!(list(say(&server, Command::request(ask::GET_ALL_TOPIC_LIST_FROM_NAMESERVER)).await).len(), 0);
}

#[tokio::test]
async fn what_is_not_served_is_answered_by_name() {
    let reply = say(&server(), Command::request(ask::SEND_MESSAGE)).await;
    assert_eq!(reply.code, response::REQUEST_CODE_NOT_SUPPORTED);
    assert!(reply.remark.is_some_and(|remark| remark.contains("SEND_MESSAGE")));
    assert_eq!(say(&server(), Command::request(-5)).await.code, response::REQUEST_CODE_NOT_SUPPORTED);
}

#[tokio::test]
async fn every_code_is_answered_as_the_table_of_compatibility_says() {
    let table = include_str!("../../../docs/compatibility.md");
    for (name, code) in ask::ALL {
        let reply = say(&server(), Command::request(*code)).await;
        let row = format!("| {code} | {name} | name server | ");
        let promised =
            table.lines().any(|line| line.starts_with(&row) && !line.starts_with(&format!("{row}3 ")));
        assert_eq!(reply.code != response::REQUEST_CODE_NOT_SUPPORTED, promised, "{name}");
    }
}

#[test]
fn http_tells_addresses_metrics_and_health() {
    let told = NameServer::new(Settings { nsaddr: "a:1;b:1".into(), ..Settings::default() }).unwrap();
    assert_eq!(told.http("/rocketmq/nsaddr").body, "a:1;b:1");
    assert_eq!(told.http("/rocketmq/nsaddr-unit").body, "a:1;b:1");
    assert_eq!((told.http("/rocketmq/nsaddrs").status, server().http("/rocketmq/nsaddr").status), (404, 503));
    assert!(told.http("/metrics").body.contains("\nstratamq_namesrv_brokers 0\n"));
    assert_eq!(told.http("/ready").status, 200);
}
