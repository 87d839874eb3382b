use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::world::*;
use crate::state::{Change, Commit, TopicId};
use crate::vb::{Limits, Vb};

const T: TopicId = TopicId(1);

fn commit(offset: u64) -> Change {
    Change::Offsets(vec![Commit { group: "g".into(), topic: T, queue: 0, offset: offset as i64 }])
}

fn committed(vb: &Vb) -> Option<u64> {
    vb.core().state().offsets().get("g", T, 0).map(|offset| offset as u64)
}

#[tokio::test(start_paused = true)]
async fn a_new_owner_reads_the_checkpoint_and_what_is_behind_it() {
    let world = World::new(Limits::default(), 1 << 30);
    let vb = world.founded().await;
    for number in 0..30 {
        send(&vb, 0, 0, &[number]).unwrap();
    }
    change(&vb, &commit(7)).unwrap();
    settle().await;
    vb.checkpoint().await.unwrap();
    for number in 30..50 {
        send(&vb, 0, 0, &[number]).unwrap();
    }
    settle().await;
    let covered = vb.cold().manifest().covered;
    let vb = world.open().await;
    assert_eq!(vb.cold().manifest().covered, covered);
    assert_eq!((max(&vb, T, 0), committed(&vb)), (50, Some(7)));
    assert_eq!(hot(&vb), 20);
    let bodies: Vec<u8> = read_queue(&vb, 0, 0, 0).await.iter().map(|message| message.body[0]).collect();
    assert_eq!(bodies, (0..50).collect::<Vec<u8>>());
    assert_eq!(send(&vb, 0, 0, b"x").unwrap().first().unwrap().queue_offset, 50);
}

#[tokio::test(start_paused = true)]
async fn a_closed_virtual_broker_leaves_nothing_to_replay() {
    let world = World::new(Limits::default(), 1 << 30);
    let vb = world.founded().await;
    for _ in 0..10 {
        send(&vb, 0, 0, b"x").unwrap();
    }
    vb.close().await.unwrap();
    let vb = world.open().await;
    assert_eq!((hot(&vb), max(&vb, T, 0)), (0, 10));
}

#[tokio::test(start_paused = true)]
async fn checkpoints_are_taken_by_themselves_after_a_while_and_after_much() {
    let limits = Limits { checkpoint_rows: 20, ..Limits::default() };
    let world = World::new(limits, 1 << 30);
    let vb = world.founded().await;
    send(&vb, 0, 0, b"x").unwrap();
    tokio::time::sleep(Duration::from_secs(14)).await;
    assert_eq!(vb.cold().manifest().covered, 0);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let covered = vb.cold().manifest().covered;
    assert!(covered > 0);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(vb.cold().manifest().covered, covered, "an idle one writes nothing");
    for _ in 0..25 {
        send(&vb, 0, 0, b"x").unwrap();
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(vb.cold().manifest().covered > covered);
    assert_eq!(hot(&vb), 0);
}

#[tokio::test(start_paused = true)]
async fn many_checkpoints_become_few_runs_and_a_short_log() {
    let world = World::new(Limits::default(), 1 << 30);
    let vb = world.founded().await;
    for number in 0..200u64 {
        send(&vb, 0, (number % 3) as u16, format!("{number}").as_bytes()).unwrap();
        settle().await;
        vb.checkpoint().await.unwrap();
    }
    let manifest = vb.cold().manifest();
    assert!(manifest.rows.len() < 25, "{}", manifest.rows.len());
    assert_eq!(manifest.rows.iter().map(|run| run.rows).sum::<u64>(), 200);
    let vb = world.open().await;
    for queue in 0..3 {
        let read = read_queue(&vb, 0, queue, 0).await;
        let bodies: Vec<String> = read.iter().map(|m| String::from_utf8(m.body.to_vec()).unwrap()).collect();
        let expected: Vec<String> =
            (0..200).filter(|n| n % 3 == u64::from(queue)).map(|n| n.to_string()).collect();
        assert_eq!(bodies, expected);
    }
}

/// What an owner does in its life; returns what was acknowledged to it: messages by queue, and the last commit.
async fn live(vb: &Arc<Vb>, rounds: u64) -> (BTreeMap<u16, Vec<String>>, u64) {
    let mut sent: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    let mut offset = 0;
    for round in 0..rounds {
        for number in 0..5u64 {
            let (queue, body) = ((number % 2) as u16, format!("{round}-{number}"));
            let Ok(staged) = send(vb, 0, queue, body.as_bytes()) else { return (sent, offset) };
            settle().await;
            let acknowledged = vb.core().acknowledged();
            if acknowledged < staged.end {
                return (sent, offset);
            }
            sent.entry(queue).or_default().push(body);
        }
        let Ok(staged) = change(vb, &commit(round)) else { return (sent, offset) };
        settle().await;
        let acknowledged = vb.core().acknowledged();
        if acknowledged < staged.end {
            return (sent, offset);
        }
        offset = round;
        if vb.checkpoint().await.is_err() {
            return (sent, offset);
        }
    }
    (sent, offset)
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_any_two_appends_loses_nothing_and_doubles_nothing() {
    for most in 0..130 {
        let world = World::new(Limits::default(), 300);
        world.founded().await.checkpoint().await.unwrap();
        let mortal = Mortal { most, ..Mortal::on(&world.logs) };
        let vb = world.open_on(&mortal).await.unwrap();
        let (sent, offset) = live(&vb, 12).await;
        drop(vb);
        let vb = world.open().await;
        for (queue, bodies) in &sent {
            let read = read_queue(&vb, 0, *queue, 0).await;
            assert!(read.iter().zip(0..).all(|(message, offset)| message.queue_offset == offset));
            let read: Vec<String> =
                read.iter().map(|m| String::from_utf8(m.body.to_vec()).unwrap()).collect();
            assert_eq!(read[..bodies.len()], bodies[..], "cut after {most}");
            assert!(read.len() <= bodies.len() + 1, "cut after {most}");
        }
        assert!(committed(&vb).unwrap_or(0) >= offset, "cut after {most}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_any_two_appends_leaves_a_checkpoint_that_can_be_gone_on_from() {
    // The same with the second life cut as well, so that checkpoints stand on checkpoints of several owners.
    for most in (0..60).step_by(3) {
        let world = World::new(Limits::default(), 300);
        world.founded().await.checkpoint().await.unwrap();
        let mut last = 0;
        for life in 0..3 {
            let mortal = Mortal { most: most + life, ..Mortal::on(&world.logs) };
            let vb = world.open_on(&mortal).await.unwrap();
            let before = max(&vb, T, 0);
            assert!(before >= last, "cut after {most}");
            let (sent, _) = live(&vb, 12).await;
            last = before + sent.get(&0).map_or(0, |sent| sent.len() as u64);
        }
        let vb = world.open().await;
        assert!(max(&vb, T, 0) >= last, "cut after {most}");
        assert_eq!(read_queue(&vb, 0, 0, 0).await.len() as u64, max(&vb, T, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_that_is_given_up_anywhere_is_made_good_by_the_next() {
    for polls in 1..1_000 {
        let world = World::new(Limits::default(), 300);
        let vb = world.founded().await;
        for number in 0..30 {
            send(&vb, 0, 0, &[number]).unwrap();
        }
        change(&vb, &commit(7)).unwrap();
        let finished = poll_often(&mut pin!(vb.checkpoint()), polls).await;
        vb.checkpoint().await.unwrap();
        assert_eq!(vb.cold().manifest().covered, vb.core().acknowledged());
        let vb = world.open().await;
        assert_eq!((max(&vb, T, 0), committed(&vb)), (30, Some(7)), "given up after {polls} polls");
        assert_eq!(read_queue(&vb, 0, 0, 0).await.len(), 30);
        if finished {
            assert!(polls > 1, "it never waits for anything");
            return;
        }
    }
    panic!("it does not end");
}

#[tokio::test(start_paused = true)]
async fn queues_of_a_deleted_topic_go_and_their_places_are_used_again() {
    let world = World::new(Limits::default(), 1 << 30);
    let vb = world.founded().await;
    send(&vb, 0, 0, b"x").unwrap();
    send(&vb, 0, 1, b"x").unwrap();
    settle().await;
    change(&vb, &Change::TopicDeleted(T)).unwrap();
    for _ in 0..3 {
        settle().await;
        vb.checkpoint().await.unwrap();
    }
    assert!(vb.core().index().queue(T, 0).is_none());
    send(&vb, 1, 0, b"x").unwrap();
    send(&vb, 1, 1, b"x").unwrap();
    assert_eq!(vb.core().index().slots(), 2);
    settle().await;
    let vb = world.open().await;
    assert_eq!((max(&vb, T, 0), max(&vb, TopicId(2), 1)), (0, 1));
}

const QUEUES: u64 = 3 * 33_334;

/// Bytes of this process's memory.
fn resident() -> i64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<i64>().unwrap() * 4096
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_idle_queues_are_small() {
    let world = World::new(Limits::default(), 1 << 30);
    let vb = world.founded().await;
    for topic in 0..3 {
        for queue in 0..33_334 {
            send(&vb, topic, queue, b"x").unwrap();
        }
        settle().await;
    }
    vb.checkpoint().await.unwrap();
    assert_eq!(hot(&vb), 0);
    assert!(size_of::<crate::index::queue::Queue>() <= 128);
    let part_bytes: u64 = vb.cold().manifest().queues.iter().map(|(_, at)| u64::from(at.len)).sum();
    assert!(part_bytes < QUEUES * 8, "{part_bytes}");
    let before = resident();
    let vb = world.open().await;
    let each = (resident() - before) / QUEUES as i64;
    println!("an idle queue takes {each} bytes");
    assert!(each < 1024, "{each}");
    assert_eq!(u64::from(vb.core().index().slots()), QUEUES);
    assert_eq!(max(&vb, T, 33_333), 1);
}
