use super::*;

fn member(client: &str, seen: u64) -> Member<u32> {
    Member {
        client: client.into(),
        language: Language::JAVA,
        version: 0,
        handle: 0,
        seen: Duration::from_secs(seen),
    }
}

fn consumes(group: &str, topics: &[(&str, &str, i64)]) -> ConsumerData {
    let subscription = |(topic, tags, version): &(&str, &str, i64)| {
        let mut subscription = Subscription::by_tags(topic, tags).unwrap_or_default();
        subscription.sub_version = *version;
        subscription
    };
    ConsumerData {
        group_name: group.into(),
        subscription_data_set: topics.iter().map(subscription).collect(),
        ..ConsumerData::default()
    }
}

fn rebalances(changed: &Changed) -> bool {
    changed.rebalance
}

#[test]
fn a_heartbeat_that_changes_nothing_tells_nobody() {
    let mut members = Members::default();
    let data = consumes("g", &[("t", "*", 1)]);
    assert!(rebalances(&members.heard_consumer(1, &data, 0, member("a", 0))));
    assert!(!rebalances(&members.heard_consumer(1, &data, 0, member("a", 30))));
}

#[test]
fn a_newer_subscription_replaces_the_older_one_and_an_older_one_does_not() {
    let mut members = Members::default();
    members.heard_consumer(1, &consumes("g", &[("t", "*", 5)]), 0, member("a", 0));
    assert!(rebalances(&members.heard_consumer(1, &consumes("g", &[("t", "x", 6)]), 0, member("a", 0))));
    assert!(!rebalances(&members.heard_consumer(1, &consumes("g", &[("t", "y", 4)]), 0, member("a", 0))));
    let subscribed = |m: &Members<u32>| m.consumers("g").map(|g| g.subscriptions["t"].sub_string.clone());
    assert_eq!(subscribed(&members).as_deref(), Some("x"));
    assert!(rebalances(&members.heard_consumer(1, &consumes("g", &[("u", "*", 1)]), 0, member("a", 0))));
    assert!(members.consumers("g").is_some_and(|g| !g.subscriptions.contains_key("t")));
}

#[test]
fn a_client_leaves_with_its_last_connection() {
    let mut members = Members::default();
    let data = consumes("g", &[("t", "*", 1)]);
    members.heard_consumer(1, &data, 0, member("a", 0));
    members.heard_consumer(2, &data, 0, member("a", 0));
    members.heard_consumer(3, &data, 0, member("b", 0));
    assert_eq!(members.consumers("g").map(|g| g.clients().len()), Some(2));
    let first = members.closed(1);
    assert_eq!(first.iter().map(rebalances).collect::<Vec<_>>(), [false]);
    let last = members.closed(2);
    assert_eq!(last.iter().map(|c| c.left.as_deref()).collect::<Vec<_>>(), [Some("a")]);
    assert_eq!(members.closed(2), []);
    members.closed(3);
    assert!(members.consumers("g").is_none());
}

#[test]
fn a_client_that_unregisters_stays_in_its_other_groups() {
    let mut members = Members::default();
    members.heard_consumer(1, &consumes("g", &[]), 0, member("a", 0));
    members.heard_consumer(1, &consumes("h", &[]), 0, member("a", 0));
    members.heard_producer(1, "p", member("a", 0));
    let changed = members.unregister(1, Some("g"), Some("p"));
    assert_eq!(changed.and_then(|c| c.left).as_deref(), Some("a"));
    assert!(members.consumers("g").is_none() && members.producers("p").is_none());
    assert!(members.consumers("h").is_some());
    assert_eq!(members.unregister(1, Some("nobody"), None), None);
}

#[test]
fn a_heartbeat_without_subscriptions_is_enough_if_they_are_known() {
    let mut members = Members::default();
    assert!(!members.knows(1, "g", 77));
    members.heard_consumer(1, &consumes("g", &[("t", "*", 1)]), 77, member("a", 0));
    assert!(members.knows(1, "g", 77) && !members.knows(1, "g", 78) && !members.knows(2, "g", 77));
    members.heard_again(1, "g", Duration::from_secs(100));
    assert!(members.silent(Duration::from_secs(50)).is_empty());
}

#[test]
fn a_connection_is_silent_when_nothing_came_by_it() {
    let mut members = Members::default();
    members.heard_consumer(1, &consumes("g", &[]), 0, member("a", 10));
    members.heard_producer(1, "p", member("a", 90));
    members.heard_producer(2, "p", member("b", 20));
    let silent: Vec<Channel> = members.silent(Duration::from_secs(50)).iter().map(|s| s.0).collect();
    assert_eq!(silent, [2]);
}

#[test]
fn producers_are_asked_in_turn() {
    let mut members = Members::default();
    assert!(members.producer_to_ask("p").is_none());
    members.heard_producer(1, "p", member("a", 0));
    members.heard_producer(2, "p", member("b", 0));
    let mut ask = || members.producer_to_ask("p").map(|m| m.client.to_string());
    let (first, second, third) = (ask(), ask(), ask());
    assert!(first != second && first == third);
}
