//! Data that is gone: noticed, and answered with "I cannot tell".

use disk::Disk;
use protocol::bookie::{AddOptions, Refusal};
use tokio::time::{Duration, Instant};

use super::world::*;
use crate::Error;
use crate::identity::Refused;
use crate::service::Reason;
use crate::settings::OnLostData;

/// A bookie with a closed ledger 7 of three entries, and an open ledger 8; then stopped.
async fn served(world: &mut World) -> Result<(), Error> {
    world.open_ledger(7).await;
    world.open_ledger(8).await;
    let bookie = world.start().await?;
    for entry in 0..3 {
        assert_eq!(add(&bookie, 7, entry).await, added());
    }
    assert_eq!(add(&bookie, 8, 0).await, added());
    bookie.stop().await;
    world.closed_ledger(7, 2).await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_wiped_bookie_denies_nothing_and_takes_no_adds_to_what_it_had() -> Result<(), Error> {
    let mut world = World::new().await;
    served(&mut world).await?;
    world.drives[0].wipe();
    let bookie = world.start().await?;
    for second in [0, 5] {
        seconds(second).await;
        assert_eq!(read(&bookie, 7, 0).await, refused(Refusal::Unknown));
        assert_eq!(read(&bookie, 8, 0).await, refused(Refusal::Unknown));
        assert_eq!(fence(&bookie, 8).await, refused(Refusal::Unknown));
        assert_eq!(add(&bookie, 8, 1).await, refused(Refusal::Fenced));
    }
    // A ledger that came later has lost nothing here.
    world.open_ledger(9).await;
    assert_eq!(add(&bookie, 9, 0).await, added());
    assert_eq!(read(&bookie, 9, 1).await, refused(Refusal::NoEntry));
    assert_eq!(read(&bookie, 10, 0).await, refused(Refusal::NoLedger));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn limbo_survives_power_loss_before_it_was_narrowed_down() -> Result<(), Error> {
    let mut world = World::new().await;
    served(&mut world).await?;
    world.drives[0].wipe();
    for _ in 0..4 {
        let bookie = world.start().await?;
        assert_eq!(read(&bookie, 7, 0).await, refused(Refusal::Unknown));
        drop(bookie);
        world.drives[0].lose_power();
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_repair_has_brought_back_leaves_limbo() -> Result<(), Error> {
    let mut world = World::new().await;
    served(&mut world).await?;
    world.drives[0].wipe();
    let bookie = world.start().await?;
    seconds(40).await;
    let task = world.ledgers.scope().replication_task(protocol::LedgerId(7));
    assert!(world.store.get(&task).await?.is_some(), "repair is told what is missing");
    for entry in 0..3 {
        assert_eq!(recovery_add(&bookie, 7, entry).await, added());
        assert_eq!(read(&bookie, 7, entry).await, the_entry(7, entry));
    }
    assert_eq!(read(&bookie, 7, 3).await, refused(Refusal::Unknown));
    seconds(40).await;
    assert_eq!(read(&bookie, 7, 3).await, refused(Refusal::NoEntry));
    assert_eq!(read(&bookie, 8, 0).await, refused(Refusal::Unknown));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_restored_snapshot_is_noticed_and_its_ledgers_are_in_limbo() -> Result<(), Error> {
    let mut world = World::new().await;
    world.open_ledger(7).await;
    let bookie = world.start().await?;
    assert_eq!(add(&bookie, 7, 0).await, added());
    let restore = world.drives[0].snapshot();
    assert_eq!(add(&bookie, 7, 1).await, added());
    // The running bookie takes a new epoch, so that even a snapshot of the same start is told apart.
    seconds(200).await;
    drop(bookie);
    restore();
    let bookie = world.start().await?;
    for second in [0, 5] {
        seconds(second).await;
        assert_eq!(read(&bookie, 7, 0).await, the_entry(7, 0));
        assert_eq!(read(&bookie, 7, 1).await, refused(Refusal::Unknown));
        assert_eq!(add(&bookie, 7, 2).await, refused(Refusal::Fenced));
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_kill_is_no_reason_for_doubt() -> Result<(), Error> {
    let mut world = World::new().await;
    world.open_ledger(7).await;
    for entry in 0..4 {
        let bookie = world.start().await?;
        assert_eq!(add(&bookie, 7, entry).await, added());
        assert_eq!(read(&bookie, 7, entry + 1).await, refused(Refusal::NoEntry));
        assert_eq!(bookie.incarnation(), entry as u64 + 1);
        seconds(100).await;
        drop(bookie);
        world.drives[0].device.kill();
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn one_lost_disk_of_two_puts_its_ledgers_in_limbo_and_leaves_the_others() -> Result<(), Error> {
    let mut world = World::with_drives(2).await;
    for ledger in 0..10 {
        world.open_ledger(ledger).await;
    }
    let bookie = world.start().await?;
    for ledger in 0..10 {
        assert_eq!(add(&bookie, ledger, 0).await, added());
    }
    let first = bookie.core.placement.readers().next().cloned();
    let stayed: Vec<i64> =
        first.map(|reader| reader.ledgers()).transpose()?.unwrap_or_default().iter().map(|l| l.0).collect();
    assert!(!stayed.is_empty() && stayed.len() < 10);
    bookie.stop().await;
    world.drives[1].wipe();
    let bookie = world.start().await?;
    seconds(5).await;
    for ledger in 0..10 {
        let stays = stayed.contains(&ledger);
        let first = if stays { the_entry(ledger, 0) } else { refused(Refusal::Unknown) };
        let second = if stays { Refusal::NoEntry } else { Refusal::Unknown };
        assert_eq!(read(&bookie, ledger, 0).await, first);
        assert_eq!(read(&bookie, ledger, 1).await, refused(second));
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_is_taken_away_is_noticed() -> Result<(), Error> {
    let mut world = World::with_drives(2).await;
    for ledger in 0..4 {
        world.open_ledger(ledger).await;
    }
    let bookie = world.start().await?;
    for ledger in 0..4 {
        assert_eq!(add(&bookie, ledger, 0).await, added());
    }
    bookie.stop().await;
    world.drives.pop();
    let bookie = world.start().await?;
    for second in [0, 5] {
        seconds(second).await;
        for ledger in 0..4 {
            let told = read(&bookie, ledger, 1).await;
            assert_eq!(told, refused(Refusal::Unknown), "ledger {ledger}");
        }
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn swapped_foreign_and_reused_disks_are_refused() -> Result<(), Error> {
    let mut world = World::new().await;
    served(&mut world).await?;
    let mut other = World::over(world.store.clone(), 1).await;
    other.settings.id = id("b2:3181");
    other.start().await?.stop().await;
    world.drives.push(other.drives[0].clone());
    let told = world.start().await.map(|_| ());
    assert!(matches!(told, Err(Error::Identity(Refused::OtherBookie { folder: 1, .. }))), "{told:?}");
    let mut swapped = World::over(world.store.clone(), 0).await;
    swapped.drives = other.drives.clone();
    let told = swapped.start().await.map(|_| ());
    assert!(matches!(told, Err(Error::Identity(Refused::Swapped { .. }))), "{told:?}");
    let mut elsewhere = World::new().await;
    elsewhere
        .ledgers
        .store()
        .txn(metadata::Txn::default().put(elsewhere.ledgers.scope().instance_id(), "x"))
        .await?;
    world.drives.pop();
    elsewhere.drives = world.drives.clone();
    let told = elsewhere.start().await.map(|_| ());
    assert!(matches!(told, Err(Error::Identity(Refused::OtherCluster { .. }))), "{told:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_operator_can_have_it_refuse() -> Result<(), Error> {
    let mut world = World::new().await;
    served(&mut world).await?;
    world.drives[0].wipe();
    world.settings.on_lost_data = OnLostData::Refuse;
    let told = world.start().await.map(|_| ());
    assert!(matches!(told, Err(Error::Identity(Refused::LostData(_)))), "{told:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn of_two_processes_with_copies_of_one_disk_the_older_stops() -> Result<(), Error> {
    let mut world = World::new().await;
    world.open_ledger(7).await;
    let first = world.start().await?;
    assert_eq!(add(&first, 7, 0).await, added());
    let copy = Drive::new(1);
    copy.device.restore(&world.drives[0].device.snapshot());
    copy.index.restore(world.drives[0].index.snapshot());
    world.drives = vec![copy];
    let _second = world.start().await?;
    assert_eq!(add(&first, 7, 1).await, added());
    seconds(100).await;
    assert!(matches!(first.stopped().await, Reason::Failed(why) if why.contains("another process")));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_unformatted_cluster_is_named_as_such() {
    let mut world = World::new().await;
    let scope = metadata::Scope::new("/elsewhere").unwrap_or_else(|error| unreachable!("{error}"));
    world.ledgers = metadata::Ledgers::new(world.store.clone(), scope, 1);
    let told = world.start().await.map(|_| ()).map_err(|error| error.to_string());
    assert!(told.as_ref().is_err_and(|text| text.contains("cluster init")), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_the_listing_left_out_is_not_denied() -> Result<(), Error> {
    let faulty = Faulty::new().await;
    let mut world = World::over(faulty.clone(), 1).await;
    served(&mut world).await?;
    world.drives[0].wipe();
    faulty.omit_from_listings(true);
    let bookie = world.start().await?;
    seconds(5).await;
    assert!(!bookie.core.limbo_all.load(std::sync::atomic::Ordering::Relaxed));
    assert_eq!(read(&bookie, 7, 0).await, refused(Refusal::Unknown));
    assert_eq!(fence(&bookie, 8).await, refused(Refusal::Unknown));
    assert_eq!(add(&bookie, 8, 1).await, refused(Refusal::Fenced));
    drop(bookie);
    world.drives[0].lose_power();
    // What came afterwards is known to be whole; so after another start.
    let bookie = world.start().await?;
    world.open_ledger(9).await;
    assert_eq!(add(&bookie, 9, 0).await, added());
    assert_eq!(read(&bookie, 9, 1).await, refused(Refusal::NoEntry));
    assert_eq!(read(&bookie, 10, 0).await, refused(Refusal::NoLedger));
    Ok(())
}

/// A bookie that was wiped and has told metadata so; nobody has asked it for anything.
async fn after_a_loss(faulty: &std::sync::Arc<Faulty>) -> Result<(World, crate::Bookie), Error> {
    let mut world = World::over(faulty.clone(), 1).await;
    served(&mut world).await?;
    world.drives[0].wipe();
    let bookie = world.start().await?;
    seconds(5).await;
    Ok((world, bookie))
}

#[tokio::test(start_paused = true)]
async fn after_a_loss_metadata_is_asked_once_for_a_ledger_however_much_waits() -> Result<(), Error> {
    let faulty = Faulty::new().await;
    let (world, bookie) = after_a_loss(&faulty).await?;
    world.open_ledger(9).await;
    faulty.delay(Duration::from_millis(100));
    faulty.ledgers_read();
    let reads = ask_all(&bookie, vec![read_request(9, 0); 50]).await;
    assert_eq!((reads, faulty.ledgers_read()), (vec![refused(Refusal::NoLedger); 50], 1));
    let adds = (0..50).map(|entry| add_request(9, entry, b"payload", AddOptions::default())).collect();
    assert_eq!((ask_all(&bookie, adds).await, faulty.ledgers_read()), (vec![added(); 50], 1));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn after_a_loss_no_ledger_waits_for_what_metadata_says_of_others() -> Result<(), Error> {
    let faulty = Faulty::new().await;
    let (_world, bookie) = after_a_loss(&faulty).await?;
    faulty.delay(Duration::from_millis(100));
    let since = Instant::now();
    let reads = (100..140).map(|ledger| read_request(ledger, 0)).collect();
    assert_eq!(ask_all(&bookie, reads).await, vec![refused(Refusal::NoLedger); 40]);
    assert!(since.elapsed() < Duration::from_millis(200), "{:?}", since.elapsed());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_disk_of_which_only_the_identity_is_left_denies_nothing() -> Result<(), Error> {
    let mut world = World::new().await;
    served(&mut world).await?;
    let disk = world.drives[0].device.mount();
    for (name, _) in world.drives[0].device.files().into_iter().filter(|(name, _)| name != "identity") {
        disk.remove(&name).map_err(Error::disk("removing a file"))?;
    }
    world.drives[0].index.wipe();
    let bookie = world.start().await?;
    assert_eq!(read(&bookie, 7, 0).await, refused(Refusal::Unknown));
    assert_eq!(add(&bookie, 8, 1).await, refused(Refusal::Fenced));
    Ok(())
}
