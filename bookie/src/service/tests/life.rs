use std::time::Duration;

use metadata::registry::{Standing, bookies};
use protocol::bookie::{AddOptions, Answer, Refusal, Request};
use tokio::time::Instant;

use super::world::*;
use crate::Error;
use crate::service::{Bookie, Reason};

async fn standing(world: &World) -> Option<Standing> {
    let all = bookies(&*world.store, world.ledgers.scope()).await.unwrap_or_default();
    all.first().map(|info| info.standing)
}

async fn is_short(world: &World) -> bool {
    let all = bookies(&*world.store, world.ledgers.scope()).await.unwrap_or_default();
    all.first().is_some_and(|info| info.short)
}

#[tokio::test(start_paused = true)]
async fn a_bookie_registers_by_itself_and_publishes_its_address() -> Result<(), Error> {
    let mut world = World::new().await;
    world.settings.address = "10.0.0.7:3181".into();
    world.settings.zone = "east".into();
    let bookie = world.start().await?;
    assert!(!bookie.health().ready);
    seconds(2).await;
    assert!(bookie.health().ready);
    let all = bookies(&*world.store, world.ledgers.scope()).await?;
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].address.as_str(), all[0].zone.as_str()), ("10.0.0.7:3181", "east"));
    assert_eq!((all[0].standing, all[0].incarnation), (Standing::Writable, Some(1)));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_name_stays_when_the_host_name_changes() -> Result<(), Error> {
    let mut world = World::new().await;
    world.start().await?.stop().await;
    world.settings.id = id("another-host:3181");
    let bookie = world.start().await?;
    assert_eq!(bookie.id(), &id("b1:3181"));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_killed_bookie_serves_before_its_old_registration_has_ended() -> Result<(), Error> {
    let mut world = World::new().await;
    world.open_ledger(7).await;
    let bookie = world.start().await?;
    seconds(2).await;
    drop(bookie);
    world.drives[0].device.kill();
    let before = Instant::now();
    let bookie = world.start().await?;
    assert_eq!(add(&bookie, 7, 0).await, added());
    assert!(before.elapsed() < Duration::from_secs(1));
    seconds(25).await;
    assert!(bookie.health().ready);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_orderly_stop_is_quick_clean_and_visible() -> Result<(), Error> {
    let mut world = World::new().await;
    world.open_ledger(7).await;
    let bookie = world.start().await?;
    assert_eq!(add(&bookie, 7, 0).await, added());
    seconds(2).await;
    assert_eq!(standing(&world).await, Some(Standing::Writable));
    let before = Instant::now();
    bookie.stop().await;
    assert!(before.elapsed() < Duration::from_secs(2));
    assert!(matches!(bookie.stopped().await, Reason::Stopped));
    assert_eq!(standing(&world).await, Some(Standing::Absent));
    drop(bookie);
    world.drives[0].lose_power();
    let bookie = world.start().await?;
    assert_eq!(read(&bookie, 7, 0).await, the_entry(7, 0));
    Ok(())
}

/// Adds until the disk takes no more; how many it took.
async fn fill(bookie: &Bookie, ledger: i64, first: i64) -> i64 {
    for n in 0..10_000 {
        let request = add_request(ledger, first + n, &[7; 20_000], AddOptions::default());
        match ask(bookie, request).await {
            Ok(Answer::Added) => {}
            other => {
                assert_eq!(other, refused(Refusal::ReadOnly));
                return n;
            }
        }
    }
    panic!("the disk never fills");
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_makes_it_read_only_and_space_makes_it_writable_again() -> Result<(), Error> {
    let mut world = World::new().await;
    world.open_ledger(7).await;
    world.open_ledger(8).await;
    world.drives[0].device.set_capacity(2 << 20);
    let bookie = world.start().await?;
    let entries = fill(&bookie, 7, 0).await;
    assert!(entries > 20, "{entries}");
    seconds(3).await;
    assert_eq!(standing(&world).await, Some(Standing::Readonly));
    assert!(is_short(&world).await);
    assert!(matches!(read(&bookie, 7, 0).await, Ok(Answer::Entry { .. })));
    assert!(matches!(fence(&bookie, 7).await, Ok(Answer::Entry { .. })), "fences are taken while read-only");
    assert_eq!(recovery_add(&bookie, 8, 0).await, added(), "so is what repair brings");
    assert_eq!(ask(&bookie, Request::Info).await, Ok(Answer::Info { free: 0, total: 2 << 20 }));
    world.drives[0].device.set_capacity(8 << 20);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((standing(&world).await, is_short(&world).await), (Some(Standing::Writable), false));
    world.open_ledger(9).await;
    assert_eq!(add(&bookie, 9, 0).await, added());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_bookie_on_a_full_disk_starts_and_is_read_only() -> Result<(), Error> {
    let mut world = World::new().await;
    world.open_ledger(7).await;
    world.drives[0].device.set_capacity(2 << 20);
    let bookie = world.start().await?;
    fill(&bookie, 7, 0).await;
    drop(bookie);
    world.drives[0].lose_power();
    let bookie = world.start().await?;
    assert!(fill(&bookie, 7, 5000).await <= 1, "at most what fits where the last start had begun");
    seconds(3).await;
    assert!(!bookie.health().writable);
    assert!(matches!(read(&bookie, 7, 0).await, Ok(Answer::Entry { .. })));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_metadata_outage_does_not_stop_what_is_under_way() -> Result<(), Error> {
    let faulty = Faulty::new().await;
    let mut world = World::over(faulty.clone(), 1).await;
    world.open_ledger(7).await;
    let bookie = world.start().await?;
    assert_eq!(add(&bookie, 7, 0).await, added());
    seconds(2).await;
    faulty.down(true);
    for entry in 1..100 {
        assert_eq!(add(&bookie, 7, entry).await, added());
        seconds(5).await;
    }
    assert!(bookie.health().alive && !bookie.health().ready);
    faulty.down(false);
    seconds(30).await;
    assert!(bookie.health().ready);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_bookie_that_is_drained_takes_no_new_ledgers_and_finishes_old_ones() -> Result<(), Error> {
    let mut world = World::new().await;
    world.open_ledger(7).await;
    let bookie = world.start().await?;
    assert_eq!(add(&bookie, 7, 0).await, added());
    seconds(2).await;
    let key = world.ledgers.scope().drain(bookie.id());
    world.store.txn(metadata::Txn::default().put(key.clone(), "")).await?;
    seconds(12).await;
    assert_eq!(standing(&world).await, Some(Standing::Readonly));
    assert_eq!(add(&bookie, 7, 1).await, added());
    world.store.txn(metadata::Txn::default().delete(key)).await?;
    seconds(12).await;
    assert_eq!(standing(&world).await, Some(Standing::Writable));
    Ok(())
}
