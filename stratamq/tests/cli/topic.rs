use serde_json::json;

use crate::standalone::Standalone;
use crate::{Cli, words};

#[test]
fn topics_are_made_listed_described_and_deleted() {
    let standalone = Standalone::start();
    let cli = &standalone.cli;
    let made = cli.says("topic create orders --queues 2 --durability async");
    assert_eq!(made, "topic orders has 2 queues on each broker\n");
    assert_eq!(cli.says("topic create 2024 --queues 1 --perm r --json"), "");
    // It only begins with the broker's name.
    cli.says("topic create broker-0-orders");
    assert_eq!(words(&cli.says("topic list")), ["topic", "2024", "broker-0-orders", "orders"]);
    let names = ["2024", "broker-0-orders", "orders"];
    assert_eq!(cli.json("topic list"), names.map(|name| json!({ "topic": name })));
    let all = cli.says("topic list --all");
    for name in ["orders", "broker-0", "DefaultCluster", "DefaultCluster_REPLY_TOPIC", "TBW102"] {
        assert!(all.lines().any(|line| line == name), "{name} in {all}");
    }

    cli.says("message send orders one");
    cli.says("group create billing");
    let described = cli.json("topic describe orders");
    let of = |key: &str| described.iter().map(|row| row[key].as_i64().unwrap()).collect::<Vec<_>>();
    assert_eq!((of("queue"), of("min")), (vec![0, 1], vec![0, 0]));
    assert_eq!((of("max").iter().sum::<i64>(), of("messages")), (1, of("max")));
    assert!(of("last").iter().any(|ms| *ms > 1_700_000_000_000));
    assert!(described.iter().all(|row| row["broker"] == "broker-0" && row["groups"] == json!([])));
    let table = cli.says("topic describe orders");
    assert_eq!(words(&table)[0], "broker queue min max messages last");
    assert!(table.ends_with("\nconsumed by nobody\n"), "{table}");

    assert_eq!(cli.says("topic delete orders"), "topic orders is deleted\n");
    assert_eq!(
        cli.json("topic list"),
        names[..2].iter().map(|name| json!({ "topic": name })).collect::<Vec<_>>()
    );
    let (code, why) = cli.refuses("topic describe orders");
    assert!(code == 1 && why.contains("code 17"), "{why}");
}

#[test]
fn what_no_broker_takes_is_refused_before_any_is_asked() {
    let nowhere = Cli { namesrv: "127.0.0.1:1".into() };
    for (arguments, wanted) in [
        ("topic create t --queues 16385", "16385 is not in 1..=16384"),
        ("topic create t --perm x", "--perm: rw, r or w, not 'x'"),
        ("group reset g --topic t --to soon", "--to: first, last, a time ago such as 1h, or ms since 1970"),
        ("message find k", "'k' is no offsetMsgId: to look for a key, name its --topic"),
    ] {
        let (code, why) = nowhere.refuses(arguments);
        assert!(code == 2 && why.contains(wanted), "{arguments}: {why}");
    }
    for arguments in ["topic list", "group lag g", "message send t x", "cluster list"] {
        let (code, why) = nowhere.refuses(arguments);
        assert_eq!(code, 1);
        assert!(why.starts_with("stratamq: no name server answered: 127.0.0.1:1"), "{arguments}: {why}");
    }
}
