//! What the client does by itself, against a broker in memory.

mod given;
mod toy;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use client::{Client, Consumed, Decision, Error, Message, Outcome};
use parking_lot::Mutex;
use protocol::remoting::Command;
use protocol::remoting::code::request;
use tokio::time::sleep;

use given::{member, send_numbers, until};

const SOON: u64 = 10;

#[tokio::test]
async fn messages_are_sent_pulled_and_committed() -> Outcome {
    let (_toy, _server, _listening, address) = toy::start().await;
    let client = Client::new(&address)?;
    let producer = client.producer("p");
    let mut ids = BTreeSet::new();
    for number in 0..10 {
        let sent = producer.send(Message::new("t", format!("{number}")).tag("even").key("k")).await?;
        ids.insert(sent.message_id);
    }
    producer.send_batch(vec![Message::new("t", "a").tag("odd"), Message::new("t", "b").tag("odd")]).await?;
    producer.send_one_way(Message::new("t", "c")).await?;
    let consumer = client.pull_consumer("c");
    let (mut even, mut odd) = (BTreeSet::new(), 0);
    for queue in consumer.queues("t").await? {
        let pulled = consumer.pull(&queue, "even", 0, 32, Duration::ZERO).await?;
        even.extend(pulled.messages.into_iter().map(|message| message.message_id));
        odd += consumer.pull(&queue, "odd || x", 0, 32, Duration::ZERO).await?.messages.len();
        assert_eq!(consumer.committed(&queue).await?, None);
        consumer.commit(&queue, pulled.next).await?;
        assert_eq!(consumer.committed(&queue).await?, Some(pulled.next));
    }
    assert_eq!((even, odd), (ids, 2));
    Ok(())
}

#[tokio::test]
async fn one_key_has_one_queue() -> Outcome {
    let (_toy, _server, _listening, address) = toy::start().await;
    let producer = Client::new(&address)?.producer("p");
    let mut queues = BTreeSet::new();
    for _ in 0..6 {
        queues.insert(producer.send_ordered(Message::new("t", "x"), "order-7").await?.queue);
    }
    assert_eq!(queues.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_send_is_tried_again_where_that_may_help_and_only_there() -> Outcome {
    let (toy, _server, _listening, address) = toy::start().await;
    let producer = Client::new(&address)?.producer("p");
    toy.state.lock().refuse = vec![14, 2];
    producer.send(Message::new("t", "x")).await?;
    assert_eq!(toy.state.lock().sends, 3);
    toy.state.lock().refuse = vec![13];
    let refused = producer.send(Message::new("t", "x")).await;
    assert_eq!(refused.map_err(|error| error.code()), Err(Some(13)));
    assert_eq!(toy.state.lock().sends, 4);
    // A topic that does not exist is made by its first message, with as many queues as it gets.
    assert!(producer.send(Message::new("new", "x")).await?.queue.id < 4);
    Ok(())
}

#[tokio::test]
async fn errors_say_what_to_do() {
    assert!(matches!(Client::new(" ; "), Err(Error::Usage(_))));
    let client = Client::new("127.0.0.1:1").unwrap();
    let error = client.producer("p").send(Message::new("t", "x")).await.unwrap_err();
    assert!(error.to_string().starts_with("no name server answered: 127.0.0.1:1"), "{error}");
    let (_toy, _server, _listening, address) = toy::start().await;
    let client = Client::new(&address).unwrap();
    let nothing = client.push_consumer("c").start(|_| async { Consumed::Done }).await;
    assert!(matches!(nothing.err(), Some(Error::Usage(_))));
    let missing = client.push_consumer("c").subscribe("none", "*").start(|_| async { Consumed::Done }).await;
    assert_eq!(missing.err().and_then(|error| error.code()), Some(17));
}

#[tokio::test]
async fn a_push_consumer_gets_all_commits_and_leaves() -> Outcome {
    let (toy, _server, _listening, address) = toy::start().await;
    let client = Client::new(&address)?;
    let producer = client.producer("p");
    send_numbers(&producer, 0..50).await?;
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let heard = seen.clone();
    let consumer = member(&client)
        .start(move |messages| {
            let heard = heard.clone();
            async move {
                heard.lock().extend(messages.iter().map(|message| message.body.clone()));
                Consumed::Done
            }
        })
        .await?;
    until(SOON, || seen.lock().len() == 50).await;
    send_numbers(&producer, 50..60).await?;
    until(SOON, || seen.lock().len() == 60).await;
    let twice = client.push_consumer("c").subscribe("t", "*").start(|_| async { Consumed::Done }).await;
    assert!(matches!(twice.err(), Some(Error::Usage(_))));
    consumer.stop().await;
    assert_eq!(toy.committed("c", 0).zip(toy.committed("c", 1)).map(|(a, b)| a + b), Some(60));
    assert_eq!(toy.members("c"), 0);
    Ok(())
}

#[tokio::test]
async fn a_broker_that_answers_nothing_is_looked_for_elsewhere() -> Outcome {
    let (toy, _server, _listening, address) = toy::start().await;
    let (_other, _server2, _listening2, elsewhere) = toy::start().await;
    let seen = Arc::new(AtomicUsize::new(0));
    let heard = seen.clone();
    let consumer = member(&Client::new(&address)?)
        .start(move |messages| {
            heard.fetch_add(messages.len(), Ordering::Relaxed);
            async { Consumed::Done }
        })
        .await?;
    send_numbers(&Client::new(&address)?.producer("p"), 0..10).await?;
    until(SOON, || seen.load(Ordering::Relaxed) == 10).await;
    toy.state.lock().deaf = true;
    toy.lead_to(&elsewhere);
    send_numbers(&Client::new(&elsewhere)?.producer("p"), 0..20).await?;
    // Sooner than routes are asked for again without a reason.
    until(6, || seen.load(Ordering::Relaxed) == 20).await;
    drop(consumer);
    Ok(())
}

#[tokio::test]
async fn what_is_not_done_comes_again() -> Outcome {
    let (_toy, _server, _listening, address) = toy::start().await;
    let client = Client::new(&address)?;
    client.producer("p").send(Message::new("t", "x")).await?;
    let topics = Arc::new(Mutex::new(Vec::new()));
    let heard = topics.clone();
    let consumer = member(&client)
        .start(move |messages| {
            let heard = heard.clone();
            async move {
                let again = messages.iter().any(|message| message.reconsume_times > 0);
                heard
                    .lock()
                    .extend(messages.into_iter().map(|message| (message.topic, message.reconsume_times)));
                if again { Consumed::Done } else { Consumed::Later }
            }
        })
        .await?;
    until(SOON, || topics.lock().len() == 2).await;
    assert_eq!(*topics.lock(), [("t".to_owned(), 0), ("t".to_owned(), 1)]);
    consumer.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_listener_that_panics_has_not_done_it() -> Outcome {
    let (_toy, _server, _listening, address) = toy::start().await;
    let client = Client::new(&address)?;
    client.producer("p").send(Message::new("t", "x")).await?;
    let calls = Arc::new(AtomicUsize::new(0));
    let called = calls.clone();
    let consumer = member(&client)
        .start(move |_| {
            let call = called.fetch_add(1, Ordering::SeqCst);
            async move {
                assert!(call > 0, "the first call fails");
                Consumed::Done
            }
        })
        .await?;
    until(SOON, || calls.load(Ordering::SeqCst) == 2).await;
    consumer.stop().await;
    Ok(())
}

#[tokio::test]
async fn members_share_queues_and_take_over_from_one_that_leaves() -> Outcome {
    let (toy, _server, _listening, address) = toy::start().await;
    let (one, other) = (Client::new(&address)?, Client::new(&address)?);
    let counts = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let mut consumers = Vec::new();
    for (at, client) in [&one, &other].into_iter().enumerate() {
        let counts = counts.clone();
        let consumer = member(client).start(move |messages| {
            let counts = counts.clone();
            async move {
                counts[at].fetch_add(messages.len(), Ordering::SeqCst);
                Consumed::Done
            }
        });
        consumers.push(consumer.await?);
    }
    assert_eq!(toy.members("c"), 2);
    // Both know of each other once the notices have arrived.
    sleep(Duration::from_millis(300)).await;
    let producer = one.producer("p");
    send_numbers(&producer, 0..20).await?;
    let both =
        |counts: &[AtomicUsize; 2]| counts.iter().map(|count| count.load(Ordering::SeqCst)).sum::<usize>();
    until(SOON, || both(&counts) >= 20).await;
    assert!(counts.iter().all(|count| count.load(Ordering::SeqCst) > 0));
    consumers.remove(0).stop().await;
    let before = counts[0].load(Ordering::SeqCst);
    send_numbers(&producer, 20..40).await?;
    until(SOON, || both(&counts) >= 40).await;
    assert_eq!(counts[0].load(Ordering::SeqCst), before);
    consumers.remove(0).stop().await;
    Ok(())
}

#[tokio::test]
async fn in_order_a_message_holds_up_those_behind_it() -> Outcome {
    let (_toy, _server, _listening, address) = toy::start().await;
    let client = Client::new(&address)?;
    let producer = client.producer("p");
    for number in 0..6 {
        producer.send_ordered(Message::new("t", format!("{number}")), "key").await?;
    }
    let seen = Arc::new(Mutex::new(Vec::new()));
    let heard = seen.clone();
    let consumer = member(&client)
        .in_order()
        .start(move |messages| {
            let heard = heard.clone();
            async move {
                let mut heard = heard.lock();
                heard.extend(
                    messages.iter().map(|message| String::from_utf8_lossy(&message.body).into_owned()),
                );
                if *heard == ["0", "1"] { Consumed::Later } else { Consumed::Done }
            }
        })
        .await?;
    until(SOON, || seen.lock().len() == 7).await;
    assert_eq!(*seen.lock(), ["0", "1", "1", "2", "3", "4", "5"]);
    consumer.stop().await;
    Ok(())
}

#[tokio::test]
async fn broadcast_gives_every_member_all_messages() -> Outcome {
    let (_toy, _server, _listening, address) = toy::start().await;
    let (one, other) = (Client::new(&address)?, Client::new(&address)?);
    let count = Arc::new(AtomicUsize::new(0));
    let mut consumers = Vec::new();
    for client in [&one, &other] {
        let count = count.clone();
        let consumer = member(client).broadcast().start(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            async { Consumed::Done }
        });
        consumers.push(consumer.await?);
    }
    let producer = one.producer("p");
    send_numbers(&producer, 0..10).await?;
    until(SOON, || count.load(Ordering::SeqCst) == 20).await;
    for consumer in consumers {
        consumer.stop().await;
    }
    Ok(())
}

#[tokio::test]
async fn transactions_are_decided_and_checks_answered() -> Outcome {
    let (toy, server, _listening, address) = toy::start().await;
    let client = Client::new(&address)?;
    let producer = client.transaction_producer("p", |message| match message.get("KEYS") {
        Some("yes") => Decision::Commit,
        _ => Decision::Rollback,
    });
    let (_, decision) =
        producer.send(Message::new("t", "x").key("yes"), |_| async { Decision::Rollback }).await?;
    assert_eq!(decision, Decision::Rollback);
    until(SOON, || toy.state.lock().decided.len() == 1).await;
    producer.send(Message::new("t", "y").key("yes"), |_| async { Decision::Unknown }).await?;
    until(SOON, || toy.state.lock().decided.len() == 2).await;
    let (second, half) = toy.state.lock().halves[1].clone();
    let check = Command::one_way(request::CHECK_TRANSACTION_STATE)
        .with("commitLogOffset", second)
        .with("tranStateTableOffset", 1)
        .body(half);
    assert_eq!(server.connections(), 1);
    let asking = toy.state.lock().asked_by.clone().unwrap();
    assert!(asking.tell(check));
    until(SOON, || toy.state.lock().decided.len() == 3).await;
    let decided = toy.state.lock().decided.clone();
    assert_eq!(decided, [(0, 12, false), (second, 0, false), (second, 8, true)]);
    let delayed = producer.send(Message::new("t", "x").delay_level(1), |_| async { Decision::Commit }).await;
    assert!(matches!(delayed, Err(Error::Usage(_))));
    Ok(())
}
