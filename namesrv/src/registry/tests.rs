use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;
use protocol::body::route::{PERM_READ, PERM_WRITE, QueueData};

use super::*;
use crate::routes::Units;

const ASKER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 0, 9));
const FIRST: Channel = Channel(1);
const OTHER: Channel = Channel(2);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn version(epoch: i64, counter: i64) -> DataVersion {
    DataVersion { state_version: epoch, counter, timestamp: 0 }
}

fn topic(name: &str, queues: i32) -> TopicConfig {
    TopicConfig {
        topic_name: name.into(),
        read_queue_nums: queues,
        write_queue_nums: queues,
        ..TopicConfig::default()
    }
}

fn told(name: &str, address: &str, version: DataVersion, topics: &[&str]) -> Announced {
    Announced {
        cluster: "C".into(),
        name: name.into(),
        address: address.into(),
        version,
        topics: topics.iter().map(|name| topic(name, 8)).collect(),
        whole: true,
        ..Announced::default()
    }
}

fn addresses(registry: &Registry, topic: &str) -> Vec<String> {
    let route = registry.route(topic, ASKER).unwrap_or_default();
    route.broker_datas.iter().flat_map(|data| data.broker_addrs.values().cloned()).collect()
}

#[test]
fn a_route_names_every_broker_that_has_the_topic_in_one_order() {
    let mut registry = Registry::default();
    for name in ["b-2", "b-0", "b-1"] {
        let address = format!("{name}:1");
        registry.register(told(name, &address, version(1, 1), &["T", name, "C"]), FIRST, at(0)).unwrap();
    }
    assert_eq!(addresses(&registry, "T"), ["b-0:1", "b-1:1", "b-2:1"]);
    assert_eq!(addresses(&registry, "b-1"), ["b-1:1"]);
    assert_eq!(addresses(&registry, "C").len(), 3);
    assert_eq!(registry.route("nobody's", ASKER), None);
    assert_eq!(registry.topics_of("C"), ["C", "T", "b-0", "b-1", "b-2"]);
    assert_eq!(registry.system_topics(ASKER).0, ["C", "b-0", "b-1", "b-2"]);
    assert_eq!(registry.cluster_info(ASKER).cluster_addr_table["C"].len(), 3);
}

#[test]
fn an_older_epoch_is_refused_and_a_newer_one_takes_the_name_over() {
    let mut registry = Registry::default();
    registry.register(told("b", "old:1", version(5, 90), &["T"]), FIRST, at(0)).unwrap();
    registry.register(told("b", "new:1", version(6, 1), &["T"]), OTHER, at(1)).unwrap();
    assert_eq!(addresses(&registry, "T"), ["new:1"]);
    let refused = registry.register(told("b", "old:1", version(5, 91), &["T"]), FIRST, at(2));
    assert!(matches!(refused, Err(Refused::Older { registered: 6, offered: 5, .. })));
    // What the old owner says at its end does not touch the new one.
    assert!(!registry.unregister("b", 0, "old:1"));
    assert!(registry.closed(FIRST).is_empty());
    assert_eq!(addresses(&registry, "T"), ["new:1"]);
    assert!(registry.unregister("b", 0, "new:1"));
    assert_eq!(registry.route("T", ASKER), None);
    assert_eq!(registry.counts(), (0, 0));
}

#[test]
fn who_is_silent_or_cut_off_is_gone() {
    let mut registry = Registry::default();
    registry.register(told("b", "b:1", version(1, 1), &["T"]), FIRST, at(0)).unwrap();
    registry.register(told("c", "c:1", version(1, 1), &["T"]), OTHER, at(0)).unwrap();
    registry.heartbeat(Some("c"), "c:1", OTHER, at(100));
    assert!(registry.expire(at(120)).is_empty());
    assert_eq!(registry.expire(at(121)), ["b at b:1"]);
    assert_eq!(addresses(&registry, "T"), ["c:1"]);
    assert_eq!(registry.closed(OTHER), ["c at c:1"]);
    assert_eq!(registry.all_topics(), Vec::<String>::new());
}

#[test]
fn news_that_overtake_each_other_lose_nothing() {
    let mut registry = Registry::default();
    registry.register(told("b", "b:1", version(1, 1), &["A"]), FIRST, at(0)).unwrap();
    registry.register(told("b", "b:1", version(1, 3), &["A", "B", "C"]), FIRST, at(1)).unwrap();
    // The registration that was made before came after.
    registry.register(told("b", "b:1", version(1, 2), &["A", "B"]), FIRST, at(2)).unwrap();
    assert_eq!(registry.all_topics(), ["A", "B", "C"]);
    assert_eq!(registry.version("b", "b:1"), Some(version(1, 3)));
    registry.register(told("b", "b:1", version(1, 4), &["A", "C"]), FIRST, at(3)).unwrap();
    assert_eq!(registry.all_topics(), ["A", "C"]);
}

#[test]
fn a_registration_of_changes_alone_deletes_nothing() {
    let mut registry = Registry::default();
    registry.register(told("b", "b:1", version(0, 1), &["A", "B"]), FIRST, at(0)).unwrap();
    let change = Announced { whole: false, ..told("b", "b:1", version(0, 2), &["N"]) };
    registry.register(change, FIRST, at(1)).unwrap();
    assert_eq!(registry.all_topics(), ["A", "B", "N"]);
    registry.delete_topic("A", Some("another cluster"));
    registry.delete_topic("B", Some("C"));
    assert_eq!(registry.all_topics(), ["A", "N"]);
}

#[test]
fn a_full_registry_refuses_what_is_new_and_hears_those_it_knows() {
    let mut registry = Registry::within(3);
    registry.register(told("b", "b:1", version(1, 1), &["A", "B"]), FIRST, at(0)).unwrap();
    registry.register(told("c", "c:1", version(1, 1), &["A"]), OTHER, at(0)).unwrap();
    for counter in 2..5 {
        registry.register(told("b", "b:1", version(1, counter), &["A", "B"]), FIRST, at(100)).unwrap();
    }
    assert_eq!(registry.expire(at(121)), ["c at c:1"], "who was heard stays");
    registry.register(told("c", "c:1", version(1, 2), &["A"]), OTHER, at(122)).unwrap();
    let more = registry.register(told("c", "c:1", version(1, 3), &["A", "C"]), OTHER, at(123));
    assert!(matches!(more, Err(Refused::TooMany(_))), "{more:?}");
    let queues = |broker: &str| vec![QueueData { broker_name: broker.into(), ..QueueData::default() }];
    registry.add_topic("B", queues("b")).unwrap();
    assert!(registry.add_topic("B", queues("c")).is_err());
    assert_eq!(registry.all_topics(), ["A", "B"]);
}

#[test]
fn the_write_permission_of_a_broker_is_wiped_for_all_its_topics_until_it_is_given_back() {
    let mut registry = Registry::default();
    let mut first = told("b", "b:1", version(1, 1), &["A", "B"]);
    first.topics.push(TopicConfig { perm: PERM_READ, ..topic("R", 1) });
    registry.register(first, FIRST, at(0)).unwrap();
    let perm = |registry: &Registry, topic: &str| registry.route(topic, ASKER).unwrap().queue_datas[0].perm;
    assert_eq!(registry.set_read_only("b", true), 3);
    assert_eq!(registry.set_read_only("nobody", true), 0);
    registry.register(told("b", "b:1", version(1, 2), &["A", "B", "R"]), FIRST, at(1)).unwrap();
    assert_eq!(perm(&registry, "A"), PERM_READ);
    registry.set_read_only("b", false);
    assert_eq!(perm(&registry, "A"), PERM_READ | PERM_WRITE);
}

#[test]
fn slaves_are_told_their_master_and_bring_no_topics() {
    let mut registry = Registry::default();
    let slave = Announced { id: 1, ..told("b", "s:1", version(0, 1), &["S"]) };
    assert_eq!(registry.register(slave.clone(), OTHER, at(0)), Ok(Master::default()));
    let master = Announced { ha_address: "m:2".into(), ..told("b", "m:1", version(0, 1), &["T"]) };
    registry.register(master, FIRST, at(0)).unwrap();
    let master = Master { address: Some("m:1".into()), ha_address: Some("m:2".into()) };
    assert_eq!(registry.register(slave, OTHER, at(1)), Ok(master));
    assert_eq!(addresses(&registry, "T"), ["m:1", "s:1"]);
    assert_eq!(registry.route("S", ASKER), None);
    // The slave becomes the master: one address has one id.
    registry.register(told("b", "s:1", version(1, 1), &["T"]), OTHER, at(2)).unwrap();
    assert_eq!(addresses(&registry, "T"), ["s:1"]);
}

#[test]
fn the_address_depends_on_who_asks() {
    let mut registry = Registry::default();
    let rules = "10.0.0.0/8=inside:1".parse().unwrap();
    registry.register(Announced { rules, ..told("b", "b:1", version(1, 1), &["T"]) }, FIRST, at(0)).unwrap();
    let inside = IpAddr::V4(Ipv4Addr::new(10, 1, 1, 1));
    assert_eq!(addresses(&registry, "T"), ["b:1"]);
    assert_eq!(registry.route("T", inside).unwrap().broker_datas[0].broker_addrs[&0], "inside:1");
    assert_eq!(registry.cluster_info(inside).broker_addr_table["b"].broker_addrs[&0], "inside:1");
}

#[test]
fn unit_topics_are_listed_by_their_flags() {
    let mut registry = Registry::default();
    let mut some = told("b", "b:1", version(1, 1), &[]);
    some.topics = [("plain", 0), ("unit", 1), ("sub", 2), ("both", 3)]
        .map(|(name, flag)| TopicConfig { topic_sys_flag: flag, ..topic(name, 1) })
        .into();
    registry.register(some, FIRST, at(0)).unwrap();
    assert_eq!(registry.unit_topics(Units::Unit), ["both", "unit"]);
    assert_eq!(registry.unit_topics(Units::Subscribed), ["both", "sub"]);
    assert_eq!(registry.unit_topics(Units::SubscribedOnly), ["sub"]);
}

#[derive(Clone, Debug)]
enum Event {
    Register { broker: u8, address: u8, epoch: i64, counter: i64, channel: u64, topics: u8 },
    Unregister { broker: u8, address: u8 },
    Closed(u64),
    Pass(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..3u8, 0..3u8, 0..4i64, 0..9i64, 0..3u64, any::<u8>()).prop_map(
            |(broker, address, epoch, counter, channel, topics)| Event::Register {
                broker, address, epoch, counter, channel, topics
            }
        ),
        1 => (0..3u8, 0..3u8).prop_map(|(broker, address)| Event::Unregister { broker, address }),
        1 => (0..3u64).prop_map(Event::Closed),
        1 => (0..100u64).prop_map(Event::Pass),
    ]
}

proptest! {
    /// Whatever happens: no epoch goes back while a broker is there, and what is counted is what is held.
    #[test]
    fn epochs_do_not_go_back_and_nothing_is_left_behind(events in proptest::collection::vec(event(), 0..60)) {
        let mut registry = Registry::default();
        let mut now = 0;
        for event in events {
            let epoch = |registry: &Registry, broker: &str| {
                registry.brokers.get(broker).and_then(|b| b.members.get(&0)).map(|m| m.version.state_version)
            };
            match event {
                Event::Register { broker, address, epoch: offered, counter, channel, topics } => {
                    let name = format!("b-{broker}");
                    let held = epoch(&registry, &name);
                    let names: Vec<String> = (0..8).filter(|bit| topics & (1 << bit) != 0).map(|bit| format!("t-{bit}")).collect();
                    let names: Vec<&str> = names.iter().map(String::as_str).collect();
                    let done = registry.register(told(&name, &format!("a-{address}"), version(offered, counter), &names), Channel(channel), at(now));
                    prop_assert_eq!(done.is_err(), held.is_some_and(|held| held > offered));
                    prop_assert!(epoch(&registry, &name) >= held);
                }
                Event::Unregister { broker, address } => {
                    registry.unregister(&format!("b-{broker}"), 0, &format!("a-{address}"));
                }
                Event::Closed(channel) => drop(registry.closed(Channel(channel))),
                Event::Pass(seconds) => {
                    now += seconds;
                    registry.expire(at(now));
                }
            }
            let rows: usize = registry.topics.values().map(BTreeMap::len).sum();
            let members: usize = registry.brokers.values().map(|broker| broker.members.len()).sum();
            prop_assert_eq!((registry.rows, registry.members), (rows, members));
            prop_assert!(registry.topics.values().flat_map(BTreeMap::keys).all(|name| registry.brokers.contains_key(name)));
            prop_assert!(registry.brokers.values().all(|broker| !broker.members.is_empty()));
        }
    }
}
