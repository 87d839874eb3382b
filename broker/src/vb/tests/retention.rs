use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use ledger::log::Logs;

use super::world::*;
use crate::index::Rows;
use crate::state::{Change, Topic, TopicId, topic};
use crate::vb::{Limits, NewMessage, Record, Vb};

const T: TopicId = TopicId(1);

const MINUTE: Duration = Duration::from_secs(60);

/// Where the log begins.
async fn log_begins(world: &World) -> u64 {
    world.logs.links(&name("vb-3")).await.unwrap()[0].base.0
}

/// A hundred messages to one queue of each of these topics, in as many minutes.
async fn send_slowly(vb: &Vb, topics: &[usize]) {
    for _ in 0..100 {
        topics.iter().for_each(|topic| drop(send(vb, *topic, 0, b"old").unwrap()));
        tokio::time::sleep(MINUTE).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_older_than_its_retention_is_given_up_and_the_log_gets_shorter() {
    let world = World::new(Limits::default(), 2000);
    let vb = world.founded().await;
    let hour = Duration::from_secs(3600);
    for number in 0..100u64 {
        send(&vb, 0, 0, format!("{number}").as_bytes()).unwrap();
        if number < 5 {
            send(&vb, 1, 1, b"old").unwrap();
        }
        tokio::time::sleep(hour).await;
    }
    vb.checkpoint().await.unwrap();
    let begin = min(&vb, T, 0);
    assert!((20..30).contains(&begin), "72 hours are kept: {begin}");
    assert_eq!((min(&vb, TopicId(2), 1), max(&vb, TopicId(2), 1)), (5, 5));
    assert!(log_begins(&world).await > 0);
    assert_eq!(vb.core().rows(T, 0, 0, 1, 1), Rows::Outside { min: begin, max: 100 });
    let vb = world.open().await;
    assert_eq!((min(&vb, T, 0), max(&vb, T, 0)), (begin, 100));
    assert_eq!(min(&vb, TopicId(2), 1), 5);
    let read = read_queue(&vb, 0, 0, begin).await;
    assert_eq!(read.len() as u64, 100 - begin);
    assert_eq!(send(&vb, 1, 1, b"new").unwrap().first().unwrap().queue_offset, 5);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_is_given_up_although_nothing_more_is_stored() {
    let world = World::new(Limits::default(), 2000);
    let vb = world.founded().await;
    send_slowly(&vb, &[0]).await;
    assert_eq!(min(&vb, T, 0), 0);
    tokio::time::sleep(Duration::from_secs(74 * 3600)).await;
    assert_eq!((min(&vb, T, 0), max(&vb, T, 0)), (100, 100));
    assert!(log_begins(&world).await > 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_for_its_topic_alone_is_given_up_although_nothing_more_is_stored() {
    let world = World::new(Limits::default(), 2000);
    let vb = world.founded().await;
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    change(&vb, &with_attribute(T, TOPICS[0].0, "reserve.time", hours(3).as_millis() as u64)).unwrap();
    send_slowly(&vb, &[0, 1]).await;
    assert_eq!((min(&vb, T, 0), min(&vb, TopicId(2), 0)), (0, 0));
    tokio::time::sleep(hours(4)).await;
    assert_eq!((min(&vb, T, 0), min(&vb, TopicId(2), 0)), (100, 0));
    let vb = world.open().await;
    assert_eq!(min(&vb, T, 0), 100, "a checkpoint says so");
}

/// The store of links is away, or another replaces one: the next time is early enough, but there is one.
#[tokio::test(start_paused = true)]
async fn a_trim_that_came_to_nothing_is_tried_again() {
    for failure in [Trims::Refused, Trims::Skipped] {
        let world = World::new(Limits::default(), 2000);
        let mortal = Mortal::on(&world.logs);
        let vb = world.founded_on(&mortal).await;
        *mortal.trims.lock() = failure;
        send_slowly(&vb, &[0]).await;
        tokio::time::sleep(Duration::from_secs(74 * 3600)).await;
        assert_eq!((min(&vb, T, 0), log_begins(&world).await), (100, 0), "{failure:?}");
        *mortal.trims.lock() = Trims::Done;
        tokio::time::sleep(2 * MINUTE).await;
        assert!(log_begins(&world).await > 0, "{failure:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_owner_did_not_come_to_delete_the_next_one_deletes() {
    let world = World::new(Limits::default(), 2000);
    let mortal = Mortal::on(&world.logs);
    let vb = world.founded_on(&mortal).await;
    *mortal.trims.lock() = Trims::Skipped;
    send_slowly(&vb, &[0]).await;
    tokio::time::sleep(Duration::from_secs(74 * 3600)).await;
    drop(vb);
    assert_eq!(log_begins(&world).await, 0);
    let _next: Arc<Vb> = world.open().await;
    settle().await;
    assert!(log_begins(&world).await > 0);
}

#[tokio::test(start_paused = true)]
async fn about_so_many_bytes_are_kept_of_a_log() {
    const KEPT: u64 = 100_000;
    let limits = Limits { checkpoint_bytes: 2_000, ..Limits::default() };
    let world = World::new(limits, 2_000);
    let vb = world.founded().await;
    let bytes = Change::Setting { key: "retentionBytes".into(), value: Some(KEPT.to_string()) };
    change(&vb, &bytes).unwrap();
    for _ in 0..1_000 {
        send(&vb, 0, 0, &[b'x'; 300]).unwrap();
        settle().await;
    }
    let end = vb.core().acknowledged();
    let kept = end - log_begins(&world).await;
    assert!(end > 4 * KEPT, "{end}");
    assert!((KEPT..KEPT + KEPT / 8).contains(&kept), "{kept}");
    let first = min(&vb, T, 0);
    assert_eq!(read_queue(&vb, 0, 0, first).await.len() as u64, 1_000 - first);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_its_time_outlives_a_retention_that_is_shorter_than_that_of_others() {
    let world = World::new(Limits::default(), 2000);
    let vb = world.founded().await;
    change(&vb, &kept_for_long(T, TOPICS[0].0)).unwrap();
    let waits = [(TopicId(9), topic::DELAY), (TopicId(10), topic::HALF)];
    for (id, name) in waits {
        change(&vb, &Change::Topic(Topic::new(id, name, 1, topic::perm::ALL))).unwrap();
        let waiting = NewMessage { topic: id, topic_name: name, ..message(0, 0, b"waits", &[]) };
        vb.core().stage(&[Record::Message(waiting)], vb.now()).unwrap();
    }
    for _ in 0..100 {
        send(&vb, 0, 0, b"x").unwrap();
        send(&vb, 1, 0, b"x").unwrap();
        tokio::time::sleep(Duration::from_secs(3600)).await;
    }
    vb.checkpoint().await.unwrap();
    assert!((20..30).contains(&min(&vb, TopicId(2), 0)), "72 hours are kept of what is not needed");
    for (id, _) in waits {
        assert_eq!((min(&vb, id, 0), max(&vb, id, 0)), (0, 1));
        assert!(matches!(vb.rows(id, 0, 0, 1, 1).await, Ok(Rows::Found(_))));
    }
    change(&vb, &Change::Delivered { level: 1, next: 1 }).unwrap();
    change(&vb, &Change::Decided { half: 0 }).unwrap();
    settle().await;
    vb.checkpoint().await.unwrap();
    assert_eq!(waits.map(|(id, _)| min(&vb, id, 0)), [1, 1], "nothing is needed any more");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_given_up_while_the_clock_is_in_doubt() {
    let world = World::new(Limits::default(), 2000);
    let vb = world.founded().await;
    world.clock.in_doubt.store(true, SeqCst);
    for _ in 0..100 {
        send(&vb, 0, 0, b"x").unwrap();
        tokio::time::sleep(Duration::from_secs(3600)).await;
    }
    vb.checkpoint().await.unwrap();
    assert_eq!(min(&vb, T, 0), 0);
}

/// Sends a thousand messages to the topic and to another one in turn.
async fn send_much(vb: &Vb) {
    for number in 0..1_000 {
        send(vb, 0, number % 4, &[b'x'; 300]).unwrap();
        send(vb, 1, 0, &[b'y'; 300]).unwrap();
        settle().await;
    }
}

/// Bytes of all messages of the topic, of which each has as many as the first.
async fn bytes_of(vb: &Vb, topic: usize) -> u64 {
    let (mut count, mut len) = (0, 0);
    for queue in 0..4 {
        let id = TopicId(TOPICS[topic].1);
        let (first, end) = (min(vb, id, queue), max(vb, id, queue));
        let Rows::Found(rows) = vb.rows(id, queue, first, 1, usize::MAX).await.unwrap() else { continue };
        assert_eq!(read_queue(vb, topic, queue, first).await.len() as u64, end - first);
        (count, len) = (count + end - first, u64::from(rows[0].len));
    }
    count * len
}

#[tokio::test(start_paused = true)]
async fn about_so_many_bytes_are_kept_of_a_topic_and_all_of_others() {
    const KEPT: u64 = 40_000;
    let limits = Limits { checkpoint_bytes: 8_000, ..Limits::default() };
    let world = World::new(limits, 20_000);
    let vb = world.founded().await;
    change(&vb, &with_attribute(T, TOPICS[0].0, "retention.bytes", KEPT)).unwrap();
    send_much(&vb).await;
    tokio::time::sleep(2 * MINUTE).await;
    let kept = bytes_of(&vb, 0).await;
    assert!((KEPT..KEPT + KEPT / 4).contains(&kept), "{kept}");
    assert_eq!((min(&vb, TopicId(2), 0), max(&vb, TopicId(2), 0)), (0, 1_000));
    let mins: Vec<u64> = (0..4).map(|queue| min(&vb, T, queue)).collect();
    assert!(mins.iter().all(|min| mins[0].abs_diff(*min) <= 1), "all queues begin at one place: {mins:?}");
    send_much(&vb).await;
    vb.checkpoint().await.unwrap();
    let vb = world.open().await;
    assert!((0..4).zip(&mins).all(|(queue, before)| min(&vb, T, queue) >= *before));
    tokio::time::sleep(2 * MINUTE).await;
    let kept = bytes_of(&vb, 0).await;
    assert!((KEPT..KEPT + KEPT / 4).contains(&kept), "{kept}");
}

/// Its owner dies right after: a merge has dropped nothing that a queue of the next one has.
#[tokio::test(start_paused = true)]
async fn a_topic_that_is_shrunk_at_any_point_of_a_checkpoint_loses_nothing_that_it_has() {
    for polls in 1..1_000 {
        let world = World::new(Limits::default(), 1 << 30);
        let vb = world.founded().await;
        change(&vb, &with_attribute(T, TOPICS[0].0, "retention.bytes", 2_000)).unwrap();
        for round in 0..8 {
            (0..5).for_each(|_| drop(send(&vb, 0, 0, &[b'x'; 300]).unwrap()));
            settle().await;
            if round < 7 {
                vb.checkpoint().await.unwrap();
            }
        }
        // The eighth merges.
        let mut checkpoint = pin!(vb.checkpoint());
        if poll_often(&mut checkpoint, polls).await {
            assert!(polls > 1, "it never waits for anything");
            return;
        }
        let mut seen = BTreeMap::new();
        let (saved, shrunk) = tokio::join!(checkpoint, vb.shrink_topics(&mut seen));
        saved.and(shrunk).unwrap();
        assert!(min(&vb, T, 0) > 0);
        let vb = world.open().await;
        let first = min(&vb, T, 0);
        assert_eq!(read_queue(&vb, 0, 0, first).await.len() as u64, 40 - first, "after {polls} polls");
    }
    panic!("it does not end");
}
