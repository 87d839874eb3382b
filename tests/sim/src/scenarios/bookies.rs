//! Scenarios about disks: S5, S10, S11, S14, S15.

use std::time::Duration;

use crate::node::Ending;
use crate::plan::Storage;
use crate::stage::{Stage, play, play_in};
use crate::world::{Setting, World};
use disk::simulated::{Call, Fault};
use tokio::time::sleep;

fn text(error: impl ToString) -> String {
    error.to_string()
}

/// H2, H3.
pub fn s05_a_flush_that_failed_once_loses_nothing() -> Result<(), String> {
    play(3, async |stage| {
        let writer = stage.actor("writer");
        let mut open = writer.create((3, 3, 2)).await?;
        for _ in 0..4 {
            writer.write(&mut open, 10).await?;
            for node in stage.world.nodes.iter() {
                node.platters().iter().for_each(|platter| platter.index.fail_flushes(1));
            }
            sleep(Duration::from_secs(3)).await;
            revive(&stage).await?;
        }
        for node in stage.world.nodes.iter() {
            stage.restart(&node.id, Ending::PowerLoss).await?;
        }
        stage.scrub().await
    })
}

/// A sync fails, the process restarts, the machine does not: what is in the page cache is not on the disk. So it is
/// with an entry that is sent again, and with a fence.
pub fn s05_what_is_replayed_after_a_failed_sync_is_written_again() -> Result<(), String> {
    play(3, async |stage| {
        let (writer, recoverer) = (stage.actor("writer"), stage.actor("recoverer"));
        let mut open = writer.create((3, 3, 2)).await?;
        let ensemble = stage.ensemble(open.ledger)?;
        let failing = ensemble.first().ok_or("a bookie")?;
        let platters = stage.node(failing)?.platters();
        let fail_a_sync =
            || platters.iter().for_each(|platter| platter.device.fail(Call::Sync, 0, Fault::Io));
        writer.write(&mut open, 5).await?;
        writer.listen(&mut open, 100).await;
        fail_a_sync();
        writer.insist(&open).await?;
        stage.restart(failing, Ending::Kill).await?;
        writer.insist(&open).await?;
        stage.restart(failing, Ending::PowerLoss).await?;
        recoverer.ask_for_all(&open, false).await?;
        fail_a_sync();
        recoverer.ask_for_all(&open, true).await?;
        stage.restart(failing, Ending::Kill).await?;
        recoverer.ask_for_all(&open, true).await?;
        stage.restart(failing, Ending::PowerLoss).await?;
        writer.dies();
        stage.actor("another").insist(&open).await?;
        stage.scrub().await
    })
}

/// Damage in the middle of what was acknowledged is no torn tail.
pub fn s10_damage_below_what_was_acknowledged_is_not_cut_off() -> Result<(), String> {
    let seldom =
        Setting { storage: Storage { flush_ms: 60_000, ..Setting::calm(3).storage }, ..Setting::calm(3) };
    play_in(&seldom, async |stage| {
        let writer = stage.actor("writer");
        let mut open = writer.create((3, 3, 2)).await?;
        let ensemble = stage.ensemble(open.ledger)?;
        let mark: Vec<u8> = (0..200).map(|i| (i * 37 % 251) as u8).collect();
        writer.write(&mut open, 3).await?;
        open.add(mark.clone().into());
        writer.listen(&mut open, 200).await;
        for _ in 0..5 {
            writer.write(&mut open, 1).await?;
        }
        writer.listen(&mut open, 200).await;
        let node = stage.node(ensemble.first().ok_or("a bookie")?)?;
        node.stop(&stage.world, Ending::Kill);
        stage.damage(&node.id);
        let mut flipped = 0;
        for platter in node.platters() {
            for place in platter.device.find(&mark) {
                platter.device.flip_bit_at(&place.file, place.position + 50);
                flipped += 1;
            }
        }
        stage.expect(flipped == 1, "the entry is found")?;
        stage.start(&node.id).await?;
        stage.actor("reader").ask_for_all(&open, false).await?;
        stage.scrub().await
    })
}

async fn revive(stage: &Stage) -> Result<(), String> {
    for node in stage.world.nodes.iter().filter(|node| !node.serves()) {
        stage.start(&node.id).await?;
    }
    Ok(())
}

/// BK#870, #4668.
pub fn s11_garbage_collection_survives_listings_that_leave_ledgers_out() -> Result<(), String> {
    play(4, async |stage| {
        let writer = stage.actor("writer");
        stage.world.meta.set_moods(|moods| {
            moods.incomplete_listings = 0.9;
            moods.short_pages = 0.5;
        });
        for round in 0..6 {
            let mut open = writer.create((3, 3, 2)).await?;
            for _ in 0..5 {
                for _ in 0..20 {
                    open.add(vec![round; 1000].into());
                }
                writer.listen(&mut open, 100).await;
            }
            let ledger = open.ledger;
            open.close(&stage.world).await.map_err(text)?;
            if round % 3 == 0 {
                writer.cluster.ledgers.delete(ledger, None).await.map_err(text)?;
            }
            sleep(Duration::from_secs(5)).await;
        }
        sleep(Duration::from_secs(30)).await;
        stage.scrub().await
    })
}

/// B3.
pub fn s14_a_bookie_whose_sync_failed_acknowledges_nothing_more() -> Result<(), String> {
    play(3, async |stage| {
        let writer = stage.actor("writer");
        let mut open = writer.create((3, 3, 2)).await?;
        let ensemble = stage.ensemble(open.ledger)?;
        let failing = stage.node(ensemble.first().ok_or("a bookie")?)?;
        writer.write(&mut open, 5).await?;
        failing.platters().iter().for_each(|platter| platter.device.fail(Call::Sync, 0, Fault::Io));
        writer.write(&mut open, 5).await?;
        let stopped = stage.world.until(Duration::from_secs(5), || !failing.is_running()).await;
        stage.expect(stopped, "the bookie stops")?;
        writer.write(&mut open, 5).await?;
        stage.restart(&failing.id, Ending::PowerLoss).await?;
        stage.scrub().await
    })
}

/// BK#4855.
pub fn s15_a_write_that_was_cut_short_poisons_nothing_that_comes_later() -> Result<(), String> {
    play(3, async |stage| {
        let writer = stage.actor("writer");
        let mut open = writer.create((3, 3, 2)).await?;
        for round in 0..4 {
            writer.write(&mut open, 5).await?;
            for node in stage.world.nodes.iter().skip(round % 2).take(1) {
                node.platters().iter().for_each(|platter| platter.device.fail(Call::Write, 0, Fault::Short));
            }
            writer.add(&mut open, 5);
            writer.listen(&mut open, 500).await;
            if open.is_over() {
                let _ = open.close(&stage.world).await;
                open = writer.create((3, 3, 2)).await?;
            }
            supervise(&stage.world).await;
        }
        stage.scrub().await
    })
}

async fn supervise(world: &World) {
    for _ in 0..10 {
        world.nodes.iter().for_each(|node| node.start(world));
        sleep(Duration::from_millis(300)).await;
    }
}

/// B10: one slow disk, and a writer that does not wait.
pub fn b10_a_bookie_with_a_slow_disk_holds_no_more_than_it_may() -> Result<(), String> {
    play(3, async |stage| {
        let writer = stage.actor("writer");
        let mut open = writer.create((3, 3, 2)).await?;
        let ensemble = stage.ensemble(open.ledger)?;
        writer.write(&mut open, 1).await?;
        let slow = stage.node(ensemble.first().ok_or("a bookie")?)?;
        slow.set_pace(2_000_000, 2_500_000);
        for _ in 0..30 {
            for _ in 0..10 {
                open.add(vec![1; 40_000].into());
            }
            writer.listen(&mut open, 10).await;
        }
        writer.listen(&mut open, 500).await;
        slow.set_pace(0, 1000);
        writer.listen(&mut open, 10_000).await;
        stage.scrub().await
    })
}
