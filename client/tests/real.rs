//! The client against a virtual broker of ours, over TCP.

mod given;
#[path = "real/mod.rs"]
mod real;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use client::{Client, Consumed, Decision, Error, Message, Outcome, Sent, TopicSettings};
use parking_lot::Mutex;
use protocol::message::OffsetId;
use tokio::time::sleep;

use given::{member, send_numbers, until};

async fn all(client: &Client, topic: &str) -> Outcome<BTreeSet<String>> {
    let consumer = client.pull_consumer("reader");
    let mut found = BTreeSet::new();
    for queue in consumer.queues(topic).await? {
        let mut next = consumer.min(&queue).await?;
        while next < consumer.max(&queue).await? {
            let pulled = consumer.pull(&queue, "*", next, 32, Duration::ZERO).await?;
            found.extend(pulled.messages.iter().map(|one| String::from_utf8_lossy(&one.body).into_owned()));
            assert!(pulled.next > next);
            next = pulled.next;
        }
    }
    Ok(found)
}

#[tokio::test]
async fn messages_are_sent_in_all_ways_and_found_again() -> Outcome {
    let real = real::start(&[None]).await;
    let client = Client::new(&real.address)?;
    let producer = client.producer("p");
    let first = producer.send(Message::new("t", "a").tag("x").key("k1")).await?;
    producer.send_ordered(Message::new("t", "b"), "order").await?;
    producer.send_batch(vec![Message::new("t", "c"), Message::new("t", "d").key("k2")]).await?;
    producer.send_one_way(Message::new("t", "e")).await?;
    let wanted: BTreeSet<String> = ["a", "b", "c", "d", "e"].map(String::from).into();
    for _ in 0..100 {
        if all(&client, "t").await? == wanted {
            break;
        }
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(all(&client, "t").await?, wanted);
    let admin = client.admin();
    let viewed = admin.view(first.offset_id.parse().unwrap()).await?;
    assert_eq!((viewed.message_id.as_str(), viewed.tag()), (first.message_id.as_str(), Some("x")));
    for key in ["k1", &first.message_id] {
        let found = admin.find("t", key, 10).await?;
        assert_eq!(found.iter().map(|one| &one.body[..]).collect::<Vec<_>>(), [b"a"], "{key}");
    }
    assert_eq!(&admin.find("t", "k2", 10).await?[0].body[..], b"d");
    Ok(())
}

/// Two messages of queue 0, one of each broker, with their bodies.
async fn one_of_each_broker(client: &Client) -> Outcome<Vec<(Sent, String)>> {
    let (producer, admin) = (client.producer("p"), client.admin());
    admin
        .create_topic("t", &TopicSettings { read_queues: 1, write_queues: 1, ..TopicSettings::default() })
        .await?;
    let mut sent = Vec::new();
    for queue in producer.queues("t").await? {
        let body = format!("in {}", queue.broker);
        sent.push((producer.send_to(&queue, Message::new("t", body.clone()).key("k")).await?, body));
    }
    assert_eq!(sent.len(), 2);
    Ok(sent)
}

#[tokio::test]
async fn what_is_found_is_in_a_queue_of_the_broker_that_has_it() -> Outcome {
    // As behind a load balancer, and as after a move to another machine with other ports.
    let hosts = [Some("10.9.9.9:1".parse().unwrap()), Some("10.9.9.9:2".parse().unwrap())];
    for hosts in [[None, None], hosts] {
        let real = real::start(&hosts).await;
        let client = Client::new(&real.address)?;
        let admin = client.admin();
        for (sent, body) in one_of_each_broker(&client).await? {
            let viewed = admin.view(sent.offset_id.parse().unwrap()).await?;
            assert_eq!((&viewed.queue, &viewed.body[..]), (&sent.queue, body.as_bytes()));
            let found = admin.find("t", &sent.message_id, 10).await?;
            assert_eq!(found.iter().map(|one| &one.queue).collect::<Vec<_>>(), [&sent.queue]);
        }
        let elsewhere = OffsetId { host: "10.9.9.9:1".parse().unwrap(), offset: 1 << 40 };
        assert!(admin.view(elsewhere).await.is_err());
    }
    Ok(())
}

#[tokio::test]
async fn how_far_a_group_is_cannot_be_told_without_all_brokers() -> Outcome {
    let mut real = real::start(&[None, None]).await;
    let client = Client::new(&real.address)?;
    let admin = client.admin();
    admin.create_group("c").await?;
    for (sent, _) in one_of_each_broker(&client).await? {
        client.pull_consumer("c").commit(&sent.queue, 1).await?;
    }
    assert_eq!(admin.places("c", None).await?.len(), 2);
    real.serving.pop();
    assert!(matches!(admin.places("c", None).await, Err(Error::Unanswered(_))));
    Ok(())
}

#[tokio::test]
async fn thousands_of_messages_over_a_lane_are_all_there() -> Outcome {
    let real = real::start(&[None]).await;
    let client = Client::new(&real.address)?;
    let producer = client.producer("p");
    producer.send(Message::new("t", "first")).await?;
    let queue = producer.queues("t").await?.remove(0);
    let lane = producer.lane(&queue).await?;
    let stored = Arc::new(AtomicUsize::new(0));
    for number in 0..5000 {
        let stored = stored.clone();
        lane.send_body_then(format!("{number}").into(), move |sent| {
            assert_eq!(sent, Ok(()));
            stored.fetch_add(1, Ordering::SeqCst);
        });
    }
    until(20, || stored.load(Ordering::SeqCst) == 5000).await;
    assert_eq!(all(&client, "t").await?.len(), 5001);
    Ok(())
}

#[tokio::test]
async fn members_consume_and_take_over_and_offsets_stay() -> Outcome {
    let real = real::start(&[None]).await;
    let (one, other) = (Client::new(&real.address)?, Client::new(&real.address)?);
    let producer = one.producer("p");
    producer.send(Message::new("t", "0")).await?;
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let mut consumers = Vec::new();
    for client in [&one, &other] {
        let seen = seen.clone();
        let consumer = member(client).start(move |messages| {
            seen.lock().extend(messages.iter().map(|one| one.body.clone()));
            async { Consumed::Done }
        });
        consumers.push(consumer.await?);
    }
    send_numbers(&producer, 1..100).await?;
    until(20, || seen.lock().len() == 100).await;
    consumers.remove(0).stop().await;
    send_numbers(&producer, 100..200).await?;
    until(30, || seen.lock().len() == 200).await;
    consumers.remove(0).stop().await;
    let reader = one.pull_consumer("c");
    let mut committed = 0;
    for queue in reader.queues("t").await? {
        committed += reader.committed(&queue).await?.unwrap_or(0);
    }
    assert_eq!(committed, 200);
    Ok(())
}

#[tokio::test]
async fn in_order_under_a_lock() -> Outcome {
    let real = real::start(&[None]).await;
    let client = Client::new(&real.address)?;
    let producer = client.producer("p");
    for number in 0..20 {
        producer.send_ordered(Message::new("t", format!("{number}")), "key").await?;
    }
    let seen = Arc::new(Mutex::new(Vec::new()));
    let heard = seen.clone();
    let consumer = member(&client)
        .in_order()
        .start(move |messages| {
            heard.lock().extend(messages.iter().map(|one| String::from_utf8_lossy(&one.body).into_owned()));
            async { Consumed::Done }
        })
        .await?;
    until(20, || seen.lock().len() == 20).await;
    let wanted: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    assert_eq!(*seen.lock(), wanted);
    consumer.stop().await;
    Ok(())
}

#[tokio::test]
async fn only_what_a_transaction_commits_is_seen() -> Outcome {
    let real = real::start(&[None]).await;
    let client = Client::new(&real.address)?;
    client.producer("p").send(Message::new("t", "plain")).await?;
    let producer = client.transaction_producer("tx", |_| Decision::Unknown);
    for (body, decision) in [("yes", Decision::Commit), ("no", Decision::Rollback), ("?", Decision::Unknown)]
    {
        producer.send(Message::new("t", body), |_| async move { decision }).await?;
    }
    let wanted: BTreeSet<String> = ["plain", "yes"].map(String::from).into();
    for _ in 0..200 {
        if all(&client, "t").await? == wanted {
            break;
        }
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(all(&client, "t").await?, wanted);
    Ok(())
}

#[tokio::test]
async fn a_delayed_message_comes_late_and_a_failed_one_again() -> Outcome {
    let real = real::start(&[None]).await;
    let client = Client::new(&real.address)?;
    let producer = client.producer("p");
    producer.send(Message::new("t", "now")).await?;
    let sent = std::time::Instant::now();
    producer.send(Message::new("t", "later").delay_level(1)).await?;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let heard = seen.clone();
    let consumer = member(&client)
        .start(move |messages| {
            let body = String::from_utf8_lossy(&messages[0].body).into_owned();
            let again = messages[0].reconsume_times > 0;
            heard.lock().push((body.clone(), messages[0].reconsume_times, sent.elapsed()));
            async move { if body == "now" && !again { Consumed::Later } else { Consumed::Done } }
        })
        .await?;
    until(30, || seen.lock().len() == 3).await;
    let seen = seen.lock().clone();
    let later = seen.iter().find(|(body, ..)| body == "later").unwrap();
    assert!((1000..2000).contains(&later.2.as_millis()), "{later:?}");
    let again = seen.iter().find(|(_, times, _)| *times == 1).unwrap();
    assert_eq!(again.0, "now");
    assert!(again.2.as_secs() >= 10, "{again:?}");
    consumer.stop().await;
    Ok(())
}
