use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use super::world::*;
use crate::index::Rows;
use crate::state::TopicId;
use crate::vb::{Bound, Limits};

const T: TopicId = TopicId(1);

/// A virtual broker with messages in memory and in several checkpoints; one each 10 ms.
async fn filled(world: &World, messages: u64) -> std::sync::Arc<crate::vb::Vb> {
    let vb = world.founded().await;
    for number in 0..messages {
        send(&vb, 0, (number % 2) as u16, format!("{number}").as_bytes()).unwrap();
        if number % 50 == 49 && number < messages - 40 {
            vb.checkpoint().await.unwrap();
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    settle().await;
    vb
}

#[tokio::test(start_paused = true)]
async fn bounds_of_a_queue_are_told_apart() {
    let world = World::new(Limits::default(), 1 << 30);
    let vb = world.founded().await;
    let rows = |queue, from| vb.core().rows(T, queue, from, 10, 100);
    assert_eq!(rows(0, 0), Rows::End);
    assert_eq!(rows(0, 1), Rows::Outside { min: 0, max: 0 });
    send(&vb, 0, 0, b"x").unwrap();
    settle().await;
    assert_eq!(rows(0, 1), Rows::End);
    assert_eq!(rows(0, 2), Rows::Outside { min: 0, max: 1 });
    assert!(matches!(rows(0, 0), Rows::Found(found) if found.len() == 1));
}

#[tokio::test(start_paused = true)]
async fn a_small_limit_of_bytes_still_gives_one_message() {
    let world = World::new(Limits::default(), 1 << 30);
    let vb = filled(&world, 120).await;
    for from in [0, 30, 55] {
        let Rows::Found(found) = vb.rows(T, 0, from, 32, 1).await.unwrap() else { panic!("rows") };
        assert_eq!((found.len(), found[0].offset), (1, from));
    }
}

#[tokio::test(start_paused = true)]
async fn messages_are_found_in_memory_and_in_checkpoints_alike() {
    let limits = Limits { tail_bytes: 2000, entry_bytes: 1000, ..Limits::default() };
    let world = World::new(limits, 1 << 30);
    let vb = filled(&world, 500).await;
    assert!(hot(&vb) < 100);
    for queue in 0..2 {
        let read = read_queue(&vb, 0, queue, 0).await;
        let bodies: Vec<String> = read.iter().map(|m| String::from_utf8(m.body.to_vec()).unwrap()).collect();
        let expected: Vec<String> =
            (0..500).filter(|n| n % 2 == u64::from(queue)).map(|n| n.to_string()).collect();
        assert_eq!(bodies, expected);
        assert!(read.iter().zip(0..).all(|(message, offset)| message.queue_offset == offset));
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_is_found_by_its_position_and_only_there() {
    let limits = Limits { tail_bytes: 2000, ..Limits::default() };
    let world = World::new(limits, 1 << 30);
    let vb = filled(&world, 200).await;
    for message in read_queue(&vb, 0, 1, 0).await {
        let position = message.physical_offset as u64;
        let mut found = vb.message_at(position).await.unwrap().unwrap();
        assert_eq!(protocol::message::stored::Message::take(&mut found).unwrap(), message);
        assert_eq!(vb.message_at(position + 1).await.unwrap(), None);
    }
    assert_eq!(vb.message_at(u64::MAX).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn an_offset_is_found_by_time() {
    let world = World::new(Limits::default(), 1 << 30);
    let vb = filled(&world, 300).await;
    let messages = read_queue(&vb, 0, 0, 0).await;
    for message in &messages {
        let (time, offset) = (message.store_time, message.queue_offset as u64);
        assert_eq!(vb.offset_at(T, 0, time, Bound::Lower).await.unwrap(), offset);
        assert_eq!(vb.offset_at(T, 0, time, Bound::Upper).await.unwrap(), offset);
        assert_eq!(vb.offset_at(T, 0, time + 5, Bound::Lower).await.unwrap(), offset + 1);
        assert_eq!(vb.offset_at(T, 0, time + 5, Bound::Upper).await.unwrap(), offset);
    }
    assert_eq!(vb.offset_at(T, 0, 0, Bound::Lower).await.unwrap(), 0);
    assert_eq!(vb.offset_at(T, 0, 0, Bound::Upper).await.unwrap(), 0);
    assert_eq!(vb.offset_at(T, 0, i64::MAX, Bound::Lower).await.unwrap(), messages.len() as u64);
    assert_eq!(vb.offset_at(T, 3, 5, Bound::Lower).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn messages_are_found_by_the_hash_of_a_key_newest_first() {
    let world = World::new(Limits::default(), 1 << 30);
    let vb = filled(&world, 300).await;
    // The hash of a body is the sum of its bytes: "12" and "21" share one.
    let hash = u64::from(b'1') + u64::from(b'2');
    let mut expected: Vec<u64> = Vec::new();
    let mut times = Vec::new();
    for queue in 0..2 {
        for message in read_queue(&vb, 0, queue, 0).await {
            if message.body.iter().map(|byte| u64::from(*byte)).sum::<u64>() == hash {
                expected.push(message.physical_offset as u64);
                times.push(message.store_time);
            }
        }
    }
    expected.sort_unstable_by(|a, b| b.cmp(a));
    times.sort_unstable();
    assert!(expected.len() > 2);
    assert_eq!(vb.by_key(hash, 0, i64::MAX, 64).await.unwrap(), expected);
    assert_eq!(vb.by_key(hash, 0, i64::MAX, 2).await.unwrap(), expected[..2]);
    let first_two = vb.by_key(hash, 0, times[1], 64).await.unwrap();
    assert_eq!(first_two, expected[expected.len() - 2..]);
}

#[tokio::test(start_paused = true)]
async fn one_read_of_the_log_serves_all_who_wait_for_it() {
    let limits = Limits { tail_bytes: 0, ..Limits::default() };
    let world = World::new(limits, 1 << 30);
    let vb = filled(&world, 200).await;
    let Rows::Found(rows) = vb.rows(T, 0, 0, 30, 1 << 20).await.unwrap() else { panic!("rows") };
    let (a, b) = tokio::join!(vb.read_rows(&rows), vb.read_rows(&rows));
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_eq!(a, b);
    // The very same bytes, not copies of them.
    assert_eq!(a[0].as_ptr(), b[0].as_ptr());
}

/// A virtual broker, and what is read of its log.
async fn counted(world: &World) -> (Arc<crate::vb::Vb>, Arc<Reads>) {
    let reads = Arc::<Reads>::default();
    let mortal = Mortal { reads: reads.clone(), ..Mortal::on(&world.logs) };
    drop(world.founded().await);
    (world.open_on(&mortal).await.unwrap(), reads)
}

/// One of its queues has one of its messages, small, after each 200 KB of another's.
async fn sparse(world: &World) -> (Arc<crate::vb::Vb>, Arc<Reads>) {
    let (vb, reads) = counted(world).await;
    for number in 0..100 {
        (0..4).for_each(|_| drop(send(&vb, 0, 0, &[7; 50_000]).unwrap()));
        send(&vb, 0, 1, format!("{number}").as_bytes()).unwrap();
        settle().await;
    }
    vb.checkpoint().await.unwrap();
    reads.whole.store(0, SeqCst);
    (vb, reads)
}

#[tokio::test(start_paused = true)]
async fn a_sparse_queue_is_read_without_what_lies_between() {
    let world = World::new(Limits { tail_bytes: 0, ..Limits::default() }, 1 << 30);
    let (vb, reads) = sparse(&world).await;
    let read = read_queue(&vb, 0, 1, 0).await;
    let bodies: Vec<_> = read.iter().map(|message| message.body.clone()).collect();
    assert_eq!(bodies, (0..100).map(|number| format!("{number}")).collect::<Vec<_>>());
    let parts = reads.parts.load(SeqCst);
    assert!(reads.whole.load(SeqCst) == 0 && parts < 100 * 300, "{parts}");
    // The others who read it are served with what is in memory.
    assert_eq!(read_queue(&vb, 0, 1, 0).await.len(), 100);
    assert_eq!(reads.parts.load(SeqCst), parts);
    assert_eq!(read_queue(&vb, 0, 0, 0).await.len(), 400);
    assert!(reads.whole.load(SeqCst) > 5_000_000);
}

#[tokio::test(start_paused = true)]
async fn a_part_that_is_not_what_was_appended_is_read_again_with_its_entry() {
    let world = World::new(Limits { tail_bytes: 0, ..Limits::default() }, 1 << 30);
    let (vb, reads) = sparse(&world).await;
    reads.damaged.store(true, SeqCst);
    assert_eq!(read_queue(&vb, 0, 1, 0).await.len(), 100);
    assert_eq!(reads.doubts.load(SeqCst), 100);
    assert!(reads.whole.load(SeqCst) > 0);
}

#[tokio::test(start_paused = true)]
async fn readers_for_whom_memory_is_too_small_are_brought_together() {
    let limits = Limits { tail_bytes: 0, read_bytes: 400_000, entry_bytes: 10_000, ..Limits::default() };
    let world = World::new(limits, 1 << 30);
    let (vb, reads) = counted(&world).await;
    for number in 0..1000 {
        (0..4).for_each(|queue| drop(send(&vb, 0, queue, &[7; 1000]).unwrap()));
        if number % 10 == 9 {
            settle().await;
        }
    }
    vb.checkpoint().await.unwrap();
    reads.whole.store(0, SeqCst);
    let readers: Vec<_> = (0..4u16)
        .map(|queue| {
            let vb = vb.clone();
            tokio::spawn(async move { read_queue(&vb, 0, queue, u64::from(queue) * 200).await.len() })
        })
        .collect();
    for (queue, reader) in readers.into_iter().enumerate() {
        assert_eq!(reader.await.unwrap(), 1000 - queue * 200);
    }
    // Alone they would read 4.6, 3.7, 2.8 and 1.8 MB.
    let read = reads.whole.load(SeqCst);
    assert!(read < 7_000_000, "{read}");
}
