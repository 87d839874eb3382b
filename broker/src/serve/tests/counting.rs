use std::collections::BTreeMap;

use super::*;
use crate::own::Serving;
use crate::own::metrics;

/// Whether the metrics have these lines; a line is a name, labels beside the virtual broker's, and a value.
fn told(owner: &Owner<'_>, lines: &[(&str, &str, u64)]) {
    let serving = BTreeMap::from([(0, Serving { served: owner.served.clone(), port: 1 })]);
    let text = metrics::text(&serving, None);
    for (name, labels, value) in lines {
        let node = "cluster=\"c\",node_type=\"broker\",node_id=\"broker-0\"";
        let line = format!("{name}{{{node}{labels}}} {value}");
        assert!(text.lines().any(|told| told == line), "{line} in\n{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn messages_are_counted_by_topic_group_and_size() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    client.publish("t", 0, "", "hello").await;
    client.publish("t", 1, "", &"x".repeat(2_000)).await;
    client.publish("u", 0, "", "gone").await;
    assert_eq!(client.pull("t", 0, 0).await.messages.len(), 1);
    let delete = Command::request(code::DELETE_TOPIC_IN_BROKER).with("topic", "u");
    assert_eq!(client.ask(delete).await.code, 0);
    told(
        &owner,
        &[
            ("rocketmq_messages_in_total", ",topic=\"t\"", 2),
            ("rocketmq_throughput_in_total", ",topic=\"t\"", 2_005),
            ("rocketmq_messages_in_total", ",topic=\"(others)\"", 1),
            ("rocketmq_messages_out_total", ",consumer_group=\"g\",topic=\"t\"", 1),
            ("rocketmq_message_size_bucket", ",le=\"1024\"", 2),
            ("rocketmq_message_size_bucket", ",le=\"4096\"", 3),
            ("rocketmq_message_size_bucket", ",le=\"+Inf\"", 3),
            ("rocketmq_message_size_sum", "", 2_009),
            ("rocketmq_message_size_count", "", 3),
            ("rocketmq_broker_permission", "", 6),
        ],
    );
}

#[tokio::test(start_paused = true)]
async fn what_waits_and_what_becomes_of_it_is_counted() {
    let world = World::new();
    let owner = world.open().await;
    let client = owner.client();
    client.heartbeat("a", vec![consumes("g", "t", 1)], &["p"]).await;
    client.publish("t", 0, "DELAY\u{1}3\u{2}", "later").await;
    client.publish("t", 0, "", "now").await;
    let message = client.pull("t", 0, 0).await.messages.remove(0);
    let dead = Command::request(code::CONSUMER_SEND_MSG_BACK)
        .with("offset", message.physical_offset)
        .with("group", "g")
        .with("delayLevel", -1)
        .with("originMsgId", "ORIGIN")
        .with("originTopic", "t");
    assert_eq!(client.ask(dead).await.code, 0);
    let again = Send { reconsume_times: 17, max_reconsume_times: Some(16), ..send("%RETRY%g", 0, "") };
    let reply = client.ask(again.write().body("dead")).await;
    assert_eq!(reply.code, 0, "{reply:?}");
    let [kept, dropped] = [transacting::half(&client, "K").await, transacting::half(&client, "D").await];
    wait(5_500).await;
    assert_eq!(client.ask(transacting::end(&kept, 8)).await.code, 0);
    assert_eq!(client.ask(transacting::end(&dropped, 12)).await.code, 0);
    told(
        &owner,
        &[
            ("rocketmq_timing_messages", "", 1),
            ("rocketmq_send_to_dlq_messages_total", ",consumer_group=\"g\"", 2),
            ("rocketmq_commit_messages_total", "", 1),
            ("rocketmq_rollback_messages_total", "", 1),
            ("rocketmq_finish_message_latency_bucket", ",le=\"5\"", 2),
            ("rocketmq_finish_message_latency_sum", "", 10),
        ],
    );
    wait(10_000).await;
    told(&owner, &[("rocketmq_timing_messages", "", 0)]);
}
