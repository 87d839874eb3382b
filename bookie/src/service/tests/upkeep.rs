use metadata::State;
use metadata::Txn;
use protocol::bookie::{AddOptions, Answer, Refusal};
use protocol::{EntryId, LedgerId};

use super::world::*;
use crate::Error;
use crate::service::Bookie;
use crate::upkeep::{compaction, gc, over_replicated, scrub};

async fn started(world: &mut World, ledgers: std::ops::Range<i64>) -> Result<Bookie, Error> {
    for ledger in ledgers.clone() {
        world.open_ledger(ledger).await;
    }
    let bookie = world.start().await?;
    for ledger in ledgers {
        for entry in 0..5 {
            assert_eq!(add(&bookie, ledger, entry).await, added());
        }
    }
    Ok(bookie)
}

#[tokio::test(start_paused = true)]
async fn ledgers_that_are_gone_from_metadata_go_here_and_no_others() -> Result<(), Error> {
    let mut world = World::new().await;
    let bookie = started(&mut world, 1..9).await?;
    for ledger in [3, 8] {
        world.ledgers.delete(LedgerId(ledger), None).await?;
    }
    assert_eq!(gc::collect(&bookie.core).await?, 2);
    for ledger in 1..9 {
        let gone = [3, 8].contains(&ledger);
        let expected = if gone { refused(Refusal::NoLedger) } else { the_entry(ledger, 4) };
        assert_eq!(read(&bookie, ledger, 4).await, expected);
    }
    assert_eq!(add(&bookie, 3, 5).await, refused(Refusal::Fenced), "a tombstone refuses the old writer");
    assert_eq!(gc::collect(&bookie.core).await?, 0);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_incomplete_listing_deletes_nothing() -> Result<(), Error> {
    let faulty = Faulty::new().await;
    let mut world = World::over(faulty.clone(), 1).await;
    let bookie = started(&mut world, 1..9).await?;
    faulty.omit_from_listings(true);
    assert_eq!(gc::collect(&bookie.core).await?, 0);
    for ledger in 1..9 {
        assert_eq!(read(&bookie, ledger, 0).await, the_entry(ledger, 0));
    }
    faulty.down(true);
    assert!(gc::collect(&bookie.core).await.is_err());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_was_moved_goes_unless_repair_is_at_it() -> Result<(), Error> {
    let mut world = World::new().await;
    let bookie = started(&mut world, 1..4).await?;
    let closed = State::Closed { last: EntryId(4), length: 35 };
    world.ledger(1, closed, &["b2:3181"]).await;
    world.ledger(2, closed, &["b2:3181"]).await;
    world.ledger(3, State::Open, &["b2:3181"]).await;
    let lock = world.ledgers.scope().replication_lock(LedgerId(2));
    world.store.txn(Txn::default().put(lock.clone(), "repair")).await?;
    assert_eq!(over_replicated::collect(&bookie.core).await?, 1);
    assert_eq!(read(&bookie, 1, 0).await, refused(Refusal::NoLedger));
    assert_eq!(read(&bookie, 2, 0).await, the_entry(2, 0), "locked");
    assert_eq!(read(&bookie, 3, 0).await, the_entry(3, 0), "still open");
    world.store.txn(Txn::default().delete(lock)).await?;
    assert_eq!(over_replicated::collect(&bookie.core).await?, 1);
    assert_eq!(read(&bookie, 2, 0).await, refused(Refusal::NoLedger));
    seconds(1).await;
    assert_eq!(recovery_add(&bookie, 2, 0).await, added(), "repair may bring it back");
    Ok(())
}

/// Fills several segments with entries of two ledgers in turn.
async fn mixed(bookie: &Bookie) {
    for entry in 0..100 {
        for ledger in [1, 2] {
            let add = add_request(ledger, entry, &[entry as u8; 10_000], AddOptions::default());
            assert_eq!(ask(bookie, add).await, added());
        }
    }
}

fn payload(reply: &net::Reply) -> Option<&[u8]> {
    match reply {
        Ok(Answer::Entry { body, .. }) => body.get(36..),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn sparse_segments_are_compacted_and_nothing_live_is_lost() -> Result<(), Error> {
    let mut world = World::new().await;
    world.settings.compact_below = 60;
    let bookie = started(&mut world, 1..3).await?;
    mixed(&bookie).await;
    let before = bookie.core.segments(0).await.len();
    assert!(before > 6, "{before}");
    world.ledgers.delete(LedgerId(1), None).await?;
    assert_eq!(gc::collect(&bookie.core).await?, 1);
    seconds(600).await;
    let after = bookie.core.segments(0).await;
    assert!(after.len() < before * 3 / 4, "{before} segments became {after:?}");
    for round in 0..2 {
        let bookie = if round == 0 { None } else { Some(world.start().await?) };
        let Some(bookie) = bookie else { continue };
        for entry in 5..100 {
            let reply = read(&bookie, 2, entry).await;
            assert_eq!(payload(&reply), Some(&[entry as u8; 10_000][..]), "entry {entry}: {reply:?}");
        }
        assert_eq!(read(&bookie, 1, 50).await, refused(Refusal::NoLedger));
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn dead_segments_are_dropped_without_copying() -> Result<(), Error> {
    let mut world = World::new().await;
    let bookie = started(&mut world, 1..3).await?;
    mixed(&bookie).await;
    let before = bookie.core.segments(0).await.len();
    for ledger in [1, 2] {
        world.ledgers.delete(LedgerId(ledger), None).await?;
    }
    assert_eq!(gc::collect(&bookie.core).await?, 2);
    seconds(300).await;
    compaction::round(&bookie.core).await;
    let after = bookie.core.segments(0).await.len();
    assert!(after <= 2, "{before} segments became {after}");
    assert_eq!(bookie.core.metrics.compacted_bytes.get(), 0);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_scrub_finds_a_flipped_bit_and_tells_repair() -> Result<(), Error> {
    let mut world = World::new().await;
    let bookie = started(&mut world, 1..2).await?;
    mixed_one(&bookie).await;
    scrub::pass(&bookie.core).await;
    assert_eq!(bookie.core.metrics.damaged.get(), 0);
    let files = world.drives[0].device.files();
    let (file, size) = files.iter().find(|(_, size)| *size > 100_000).cloned().unwrap_or_default();
    assert!(size > 0);
    for position in (20_000..60_000).step_by(20_000) {
        world.drives[0].device.flip_bit_at(&file, position);
    }
    scrub::pass(&bookie.core).await;
    assert!(bookie.core.metrics.damaged.get() > 0);
    let task = world.ledgers.scope().replication_task(LedgerId(1));
    assert!(world.store.get(&task).await?.is_some());
    assert_eq!(read(&bookie, 1, 1000).await, refused(Refusal::Unknown));
    Ok(())
}

async fn mixed_one(bookie: &Bookie) {
    for entry in 5..40 {
        let add = add_request(1, entry, &[entry as u8; 10_000], AddOptions::default());
        assert_eq!(ask(bookie, add).await, added());
    }
}

#[tokio::test(start_paused = true)]
async fn why_segments_are_retained_names_ledgers_and_orphans() -> Result<(), Error> {
    use crate::upkeep::retained::Standing;
    let mut world = World::new().await;
    let bookie = started(&mut world, 1..3).await?;
    mixed(&bookie).await;
    world.ledgers.delete(LedgerId(2), None).await?;
    let report = bookie.why_retained().await?;
    let all: Vec<_> = report.iter().flat_map(|segment| &segment.holders).collect();
    assert!(all.iter().all(|holder| holder.ledger != 1 || holder.standing == Standing::Named));
    assert!(all.iter().any(|holder| holder.ledger == 2 && holder.standing == Standing::Orphan));
    let held: u64 = all.iter().map(|holder| holder.bytes).sum();
    assert!(held > 1_900_000, "{held}");
    Ok(())
}
