use std::sync::Arc;
use std::time::Duration;

use net::{Failure, Inbox, Reply};
use protocol::bookie::{AddOptions, Answer, ReadOptions, Refusal, Request};
use protocol::{EntryId, LedgerId};
use tokio::time::{Instant, sleep};

use super::world::*;
use crate::Error;
use crate::service::{Bookie, Reason};

#[tokio::test(start_paused = true)]
async fn what_is_added_can_be_read() -> Result<(), Error> {
    let mut world = World::new().await;
    world.open_ledger(7).await;
    let bookie = world.start().await?;
    for entry in 0..3 {
        assert_eq!(add(&bookie, 7, entry).await, added());
    }
    assert_eq!(read(&bookie, 7, 1).await, the_entry(7, 1));
    assert_eq!(read(&bookie, 7, -1).await, the_entry(7, 2));
    assert_eq!(read(&bookie, 7, 3).await, refused(Refusal::NoEntry));
    assert_eq!(read(&bookie, 8, 0).await, refused(Refusal::NoLedger));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_was_acknowledged_survives_power_loss() -> Result<(), Error> {
    let mut world = World::new().await;
    world.open_ledger(7).await;
    for start in 0..5 {
        let bookie = world.start().await?;
        for entry in 0..start * 10 {
            assert_eq!(read(&bookie, 7, entry).await, the_entry(7, entry));
        }
        for entry in start * 10..start * 10 + 10 {
            assert_eq!(add(&bookie, 7, entry).await, added());
        }
        drop(bookie);
        world.drives[0].lose_power();
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_ledger_stays_on_its_disk_and_disks_can_be_added() -> Result<(), Error> {
    let mut world = World::new().await;
    for ledger in 0..20 {
        world.open_ledger(ledger).await;
    }
    let bookie = world.start().await?;
    for ledger in 0..10 {
        assert_eq!(add(&bookie, ledger, 0).await, added());
    }
    bookie.stop().await;
    world.drives.push(Drive::new(5));
    let bookie = world.start().await?;
    for ledger in 0..20 {
        assert_eq!(add(&bookie, ledger, 1).await, added());
    }
    let readers: Vec<_> = bookie.core.placement.readers().cloned().collect();
    for ledger in 0..10 {
        assert_eq!(read(&bookie, ledger, 0).await, the_entry(ledger, 0));
        assert!(readers[0].knows(LedgerId(ledger))? && !readers[1].knows(LedgerId(ledger))?);
    }
    assert!(!readers[1].ledgers()?.is_empty(), "the new disk takes new ledgers");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_failed_sync_stops_the_bookie_and_nothing_is_acknowledged() -> Result<(), Error> {
    let mut world = World::new().await;
    world.open_ledger(7).await;
    let bookie = world.start().await?;
    assert_eq!(add(&bookie, 7, 0).await, added());
    world.drives[0].device.fail(disk::simulated::Call::Sync, 0, disk::simulated::Fault::Io);
    assert_eq!(add(&bookie, 7, 1).await, Err(Failure::Unreachable));
    assert!(matches!(bookie.stopped().await, Reason::Failed(_)));
    assert_eq!(add(&bookie, 7, 2).await, Err(Failure::Unreachable));
    assert!(!bookie.health().alive);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_flood_is_pushed_back_and_passes() -> Result<(), Error> {
    let mut world = World::new().await;
    world.open_ledger(7).await;
    let bookie = world.start().await?;
    assert_eq!(add(&bookie, 7, 0).await, added());
    let inbox = Inbox::new();
    let payload = vec![1; 30_000];
    let flood = (1..201)
        .map(|entry| (add_request(7, entry, &payload, AddOptions::default()), inbox.expect(entry as u64)));
    bookie.core.submit(flood.collect());
    assert!(bookie.is_busy());
    bookie.room().await;
    let mut replies: Vec<Reply> = Vec::new();
    while replies.len() < 200 {
        replies.extend(inbox.take().await.into_iter().map(|(_, reply)| reply));
    }
    let pushed = replies.iter().filter(|reply| **reply == refused(Refusal::TooManyRequests)).count();
    assert!(pushed > 20 && pushed < 150, "{pushed}");
    assert!(replies.iter().filter(|reply| **reply == added()).count() == 200 - pushed);
    assert_eq!(bookie.core.budget.used(), 0);
    Ok(())
}

fn long_poll(ledger: i64, previous: i64, wait_ms: u32) -> Request {
    let options = ReadOptions {
        previous_lac: Some(EntryId(previous)),
        wait_ms,
        piggyback_lac: true,
        ..ReadOptions::default()
    };
    Request::Read { ledger: LedgerId(ledger), entry: EntryId::NONE, options }
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_is_answered_when_the_lac_moves_on() -> Result<(), Error> {
    let mut world = World::new().await;
    world.open_ledger(7).await;
    let bookie = Arc::new(world.start().await?);
    for entry in 0..2 {
        assert_eq!(add(&bookie, 7, entry).await, added());
    }
    let polling = |bookie: Arc<Bookie>| async move { ask(&bookie, long_poll(7, 0, 10_000)).await };
    let poll = tokio::spawn(polling(bookie.clone()));
    sleep(Duration::from_secs(3)).await;
    assert!(!poll.is_finished());
    let now = Instant::now();
    assert_eq!(add(&bookie, 7, 2).await, added());
    match poll.await {
        Ok(Ok(Answer::Entry { body: got, max_lac })) => {
            assert_eq!((got, max_lac), (body(7, 1, 0, b"payload"), Some(EntryId(1))));
        }
        other => panic!("{other:?}"),
    }
    assert!(now.elapsed() < Duration::from_millis(100), "woken, not polled");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_ends_with_its_time() -> Result<(), Error> {
    let mut world = World::new().await;
    world.open_ledger(7).await;
    let bookie = world.start().await?;
    assert_eq!(add(&bookie, 7, 0).await, added());
    let now = Instant::now();
    let nothing = Answer::Entry { body: Default::default(), max_lac: Some(EntryId::NONE) };
    assert_eq!(ask(&bookie, long_poll(7, 0, 2_000)).await, Ok(nothing));
    assert!((2_000..2_100).contains(&(now.elapsed().as_millis())));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_dropped_bookie_answers_nothing_and_forgets_nobody() -> Result<(), Error> {
    let mut world = World::new().await;
    world.open_ledger(7).await;
    let bookie = world.start().await?;
    let inbox = Inbox::new();
    bookie.handle(add_request(7, 0, b"x", AddOptions::default()), inbox.expect(0));
    drop(bookie);
    assert_eq!(inbox.take().await.pop_front(), Some((0, Err(Failure::Unreachable))));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_explicit_lac_wakes_a_long_poll() -> Result<(), Error> {
    let mut world = World::new().await;
    world.open_ledger(7).await;
    let bookie = Arc::new(world.start().await?);
    assert_eq!(add(&bookie, 7, 0).await, added());
    let polling = |bookie: Arc<Bookie>| async move { ask(&bookie, long_poll(7, -1, 10_000)).await };
    let poll = tokio::spawn(polling(bookie.clone()));
    sleep(Duration::from_secs(1)).await;
    let write = Request::WriteLac {
        ledger: LedgerId(7),
        lac: EntryId(0),
        key: protocol::entry::MasterKey::of(b""),
        packet: vec![1; 20].into(),
    };
    assert_eq!(ask(&bookie, write).await, Ok(Answer::LacWritten));
    assert!(matches!(poll.await, Ok(Ok(Answer::Entry { body, .. })) if !body.is_empty()));
    Ok(())
}
