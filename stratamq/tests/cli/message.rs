use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use client::{Client, Message, Outcome, TopicSettings};
use serde_json::{Value, json};

use crate::standalone::Standalone;
use crate::{Cli, real};

#[test]
fn messages_are_sent_and_shown() {
    let standalone = Standalone::start();
    let cli = &standalone.cli;
    cli.says("topic create orders --queues 1");
    let sent = cli.json("message send orders one --tag paid --key k1 --key k2 --property colour=red");
    assert_eq!(sent.len(), 1);
    let told = ["status", "broker", "queue", "offset"].map(|key| sent[0][key].clone());
    assert_eq!(told, [json!("stored"), json!("broker-0"), json!(0), json!(0)]);
    cli.says("message send orders two");
    cli.says("message send orders late --delay 18");

    let shown = cli.json("message peek orders");
    assert_eq!(bodies(&shown), ["one", "two"]);
    assert_eq!(shown[0]["message_id"], sent[0]["message_id"]);
    assert_eq!(shown[0]["offset_id"], sent[0]["offset_id"]);
    let properties = ["TAGS", "KEYS", "colour"].map(|name| shown[0]["properties"][name].clone());
    assert_eq!(properties, [json!("paid"), json!("k1 k2"), json!("red")]);
    assert_eq!(bodies(&cli.json("message peek orders -n 1")), ["one"]);
    assert_eq!(bodies(&cli.json("message peek orders --queue 0 --offset 1")), ["two"]);
    assert_eq!(bodies(&cli.json("message tail orders -n 1")), ["two"]);
    assert_eq!(bodies(&cli.json("message tail orders --tags paid||x")), ["one"]);
    assert!(cli.says("message tail orders").lines().next().unwrap().ends_with(" broker-0/0 0 [paid] one"));

    let (code, why) = cli.refuses("message peek orders --queue 7");
    assert_eq!(
        (code, why.as_str()),
        (1, "stratamq: topic 'orders' has no such queue: see 'topic describe orders'\n")
    );
    for arguments in ["message peek none", "message tail none"] {
        let (code, why) = cli.refuses(arguments);
        assert!(code == 1 && why.contains("code 17"), "{why}");
    }
    assert_eq!(cli.refuses("message send orders x --property colour").0, 2);
}

#[test]
fn a_followed_topic_is_shown_as_it_grows() {
    let standalone = Standalone::start();
    let cli = &standalone.cli;
    cli.says("message send orders before");
    let mut tail = cli.command("message tail orders -f --json");
    let mut tail = Following(tail.stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(tail.0.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap()["body"].clone();
    assert_eq!(next(), "before");
    cli.says("message send orders after");
    assert_eq!(next(), "after");
}

/// Ends what would go on for ever.
struct Following(Child);

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The group has consumed what is first in queue 0 of the second broker, and nothing of the first.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn who_has_consumed_a_message_is_told_by_the_broker_that_has_it() -> Outcome {
    let mut real = real::start(&[None, None]).await;
    let client = Client::new(&real.address)?;
    let one = TopicSettings { read_queues: 1, write_queues: 1, ..TopicSettings::default() };
    client.admin().create_topic("orders", &one).await?;
    client.admin().create_group("billing").await?;
    let (producer, consumer) = (client.producer("p"), client.pull_consumer("billing"));
    let mut ids = Vec::new();
    for (queue, committed) in producer.queues("orders").await?.iter().zip([0, 1]) {
        let message = Message::new("orders", format!("in {}", queue.broker)).key("k1");
        ids.push(producer.send_to(queue, message).await?.offset_id);
        consumer.commit(queue, committed).await?;
    }
    let cli = Cli { namesrv: real.address.clone() };
    for (broker, id) in ids.iter().enumerate() {
        let (name, consumed) = (format!("broker-{broker}"), broker == 1);
        let found = &cli.json(&format!("message find {id}"))[0];
        assert_eq!(
            (&found["broker"], &found["queue"], &found["offset"]),
            (&json!(name), &json!(0), &json!(0))
        );
        assert_eq!(found["groups"], json!([{ "group": "billing", "consumed": consumed }]));
        let said = cli.says(&format!("message find {id}"));
        assert!(said.contains(&format!(" {name}/0 0 in {name}\n")), "{said}");
        assert_eq!(said.contains("billing has consumed it\n"), consumed, "{said}");
    }
    let found = cli.json("message find k1 --topic orders");
    let mut groups: Vec<_> =
        found.iter().map(|row| (row["broker"].clone(), row["groups"][0]["consumed"].clone())).collect();
    groups.sort_by_key(|(broker, _)| broker.to_string());
    assert_eq!(groups, [(json!("broker-0"), json!(false)), (json!("broker-1"), json!(true))]);
    let (code, why) = cli.refuses("message find k9 --topic orders");
    assert_eq!((code, why.as_str()), (1, "stratamq: no message has the key 'k9'\n"));

    // By its topic of retries a group is listed.
    client.admin().create_topic("%RETRY%billing", &one).await?;
    assert_eq!(cli.json("group list"), [json!({ "group": "billing", "members": 0, "lag": 1 })]);
    real.serving.pop();
    for arguments in ["group lag billing", "group list", "message find k1 --topic orders"] {
        let (code, why) = cli.refuses(arguments);
        assert!(code == 1 && why.contains("cannot connect"), "{arguments}: {why}");
    }
    Ok(())
}

fn bodies(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["body"].as_str().unwrap()).collect()
}
