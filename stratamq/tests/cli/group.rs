use client::{Client, Consumed, Message, Outcome};
use serde_json::json;

use crate::standalone::Standalone;
use crate::words;

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn groups_are_made_described_moved_and_deleted() -> Outcome {
    let standalone = Standalone::start();
    let cli = &standalone.cli;
    assert_eq!(cli.says("group create billing"), "group billing is made\n");
    cli.says("topic create orders --queues 1");
    let client = Client::new(&cli.namesrv)?;
    let producer = client.producer("p");
    for body in ["one", "two", "three"] {
        producer.send(Message::new("orders", body)).await?;
    }
    let reader = client.pull_consumer("billing");
    reader.commit(&reader.queues("orders").await?[0], 1).await?;
    assert_eq!(cli.json("topic describe orders")[0]["groups"], json!(["billing"]));

    let lag = &cli.json("group lag billing --topic orders")[0];
    let told = ["topic", "broker", "queue", "max", "consumed", "lag"].map(|key| lag[key].clone());
    assert_eq!(told, [json!("orders"), json!("broker-0"), json!(0), json!(3), json!(1), json!(2)]);
    assert!(lag["last_consumed"].as_i64().unwrap() > 1_700_000_000_000);
    assert!(words(&cli.says("group lag billing"))[1].starts_with("orders broker-0 0 3 1 2 2"));
    assert_eq!(cli.says("group describe billing"), "nobody consumes as billing now\n");
    assert_eq!(cli.json("group describe billing"), Vec::<serde_json::Value>::new());

    let member =
        client.push_consumer("billing").subscribe("orders", "*").start(|_| async { Consumed::Later });
    let member = member.await?;
    let described = &cli.json("group describe billing")[0];
    assert_eq!(described["client"], client.id());
    assert!(described["address"].as_str().unwrap().starts_with("127.0.0.1:"));
    let listed = cli.json("group list");
    assert!(listed.iter().any(|row| row["group"] == "billing" && row["members"] == 1), "{listed:?}");
    member.stop().await;

    for (to, offset) in [("first", 0), ("last", 3), ("1h", 0)] {
        let moved = cli.json(&format!("group reset billing --topic orders --to {to}"));
        assert_eq!(
            moved,
            [json!({ "topic": "orders", "broker": "broker-0", "queue": 0, "offset": offset })],
            "{to}"
        );
    }
    assert_eq!(cli.says("group delete billing"), "group billing is deleted\n");
    assert!(!cli.says("group list").contains("billing"));
    let (code, why) = cli.refuses("group reset billing --topic none --to first");
    assert!(code == 1 && why.contains("code 17"), "{why}");
    Ok(())
}
