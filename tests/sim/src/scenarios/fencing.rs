//! Scenarios about fencing: S1, S3, S4, S7, S8.

use std::time::Duration;

use crate::node::Ending;
use crate::plan::Storage;
use crate::replacement::replace;
use crate::stage::{Actor, Stage, play, play_in};
use crate::world::Setting;
use ledger::Error;
use metadata::State;
use metadata::Stored;
use protocol::{BookieId, EntryId, LedgerId};
use tokio::task::JoinHandle;
use tokio::time::sleep;

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Begins a recovery whose LAC read does not reach `lost`; the others' answers wait until they are mended.
async fn lose_the_lac_read_of(
    stage: &Stage,
    recoverer: &Actor,
    ledger: LedgerId,
    lost: &BookieId,
    others: [&BookieId; 2],
) -> JoinHandle<Result<Stored, Error>> {
    recoverer.cut_off(lost);
    others.iter().for_each(|bookie| recoverer.deafen(bookie));
    let recovery = recoverer.recover_meanwhile(ledger);
    sleep(Duration::from_millis(50)).await;
    recoverer.lose(lost);
    sleep(Duration::from_millis(5)).await;
    recoverer.mend(lost);
    stage.world.trace.note("the LAC read of one bookie is lost");
    recovery
}

/// TLA Defect 1 (BK#2614).
pub fn s01_a_bookie_that_only_a_recovery_read_reached_takes_no_more_adds() -> Result<(), String> {
    play(3, async |stage| {
        let (writer, recoverer) = (stage.actor("writer"), stage.actor("recoverer"));
        let mut open = writer.create((3, 3, 2)).await?;
        let ensemble = stage.ensemble(open.ledger)?;
        let [a, b, c] = ensemble.as_slice() else { return Err("three bookies".into()) };
        writer.write(&mut open, 1).await?;
        writer.cut_off(b);
        writer.cut_off(c);
        writer.add(&mut open, 1);
        writer.listen(&mut open, 50).await;
        let recovery = lose_the_lac_read_of(&stage, &recoverer, open.ledger, c, [a, b]).await;
        recoverer.mend(b);
        // A has answered the LAC read; from now on it is slow.
        recoverer.mend(a);
        recoverer.deafen(a);
        sleep(Duration::from_millis(200)).await;
        writer.mend(c);
        writer.listen(&mut open, 1000).await;
        recoverer.mend(a);
        let _ = recovery.await;
        writer.listen(&mut open, 3000).await;
        stage.scrub().await
    })
}

/// H1: a fence that a recoverer counted must not be lost with the power.
pub fn s03_no_answer_is_given_before_its_fence_is_durable() -> Result<(), String> {
    let slow =
        Setting { storage: Storage { sync_ms: (3, 8), ..Setting::calm(3).storage }, ..Setting::calm(3) };
    play_in(&slow, async |stage| {
        let (writer, recoverer) = (stage.actor("writer"), stage.actor("recoverer"));
        let mut open = writer.create((3, 3, 2)).await?;
        let ensemble = stage.ensemble(open.ledger)?;
        // Known to all: an unknown ledger would be looked up in metadata.
        writer.write(&mut open, 1).await?;
        writer.listen(&mut open, 200).await;
        // Whatever answers a fencing read loses its power at once.
        for bookie in &ensemble {
            let (world, node) = (stage.world.clone(), stage.node(bookie)?);
            stage.world.network.after_answer(bookie, true, move || {
                let agenda = world.agenda.clone();
                agenda.after(Duration::ZERO, move || node.stop(&world, Ending::PowerLoss));
            });
        }
        let recovery = recoverer.recover_meanwhile(open.ledger);
        sleep(Duration::from_millis(500)).await;
        recovery.abort();
        recoverer.dies();
        for bookie in &ensemble {
            stage.start(bookie).await?;
        }
        writer.insist(&open).await?;
        stage.scrub().await
    })
}

/// PR4843: fence state is part of every checkpoint.
pub fn s04_a_fence_outlives_checkpoint_trim_and_crash() -> Result<(), String> {
    play(3, async |stage| {
        let (writer, recoverer) = (stage.actor("writer"), stage.actor("recoverer"));
        let mut open = writer.create((3, 3, 2)).await?;
        let ensemble = stage.ensemble(open.ledger)?;
        writer.write(&mut open, 3).await?;
        // The recoverer fences all, and dies before it closes the ledger.
        ensemble.iter().for_each(|bookie| recoverer.deafen(bookie));
        let recovery = recoverer.recover_meanwhile(open.ledger);
        sleep(Duration::from_millis(300)).await;
        recoverer.dies();
        recovery.abort();
        // Other ledgers fill segments, are deleted, and their segments go.
        let other = stage.actor("another writer");
        for _ in 0..6 {
            let mut filler = other.create((3, 3, 3)).await?;
            for _ in 0..10 {
                for _ in 0..30 {
                    filler.add(vec![7; 1000].into());
                }
                other.listen(&mut filler, 50).await;
            }
            let ledger = filler.ledger;
            filler.close(&stage.world).await.map_err(|error| error.to_string())?;
            other.cluster.ledgers.delete(ledger, None).await.map_err(|error| error.to_string())?;
            sleep(seconds(3)).await;
        }
        sleep(seconds(20)).await;
        for bookie in &ensemble {
            stage.restart(bookie, Ending::PowerLoss).await?;
        }
        writer.insist(&open).await?;
        // What the index knew must be in the segments that are left.
        for bookie in &ensemble {
            let node = stage.node(bookie)?;
            node.stop(&stage.world, Ending::Kill);
            node.platters().iter().for_each(|platter| platter.index.wipe());
            stage.start(bookie).await?;
        }
        writer.insist(&open).await?;
        stage.scrub().await
    })
}

/// R10, I14: racing recoverers, each killed at some point, and a writer that goes on.
pub fn s07_two_recoverers_and_a_live_writer_agree_on_one_end() -> Result<(), String> {
    for pause in [1, 3, 6, 9, 12, 16, 25, 40] {
        play(4, async |stage| {
            let (writer, first, second) =
                (stage.actor("writer"), stage.actor("first"), stage.actor("second"));
            let mut open = writer.create((3, 3, 2)).await?;
            let ensemble = stage.ensemble(open.ledger)?;
            writer.write(&mut open, 5).await?;
            // The next entries reach one bookie only.
            ensemble.iter().skip(1).for_each(|bookie| writer.cut_off(bookie));
            writer.add(&mut open, 2);
            writer.listen(&mut open, 20).await;
            let one = first.recover_meanwhile(open.ledger);
            sleep(Duration::from_millis(pause)).await;
            let other = second.recover_meanwhile(open.ledger);
            sleep(Duration::from_millis(pause)).await;
            first.dies();
            one.abort();
            ensemble.iter().for_each(|bookie| writer.mend(bookie));
            writer.add(&mut open, 2);
            writer.listen(&mut open, 2000).await;
            let ended = tokio::time::timeout(seconds(60), other).await;
            stage.expect(matches!(ended, Ok(Ok(Ok(_)))), "the second recoverer finishes")?;
            stage.scrub().await
        })?;
    }
    Ok(())
}

/// BK#4812: other bookies at the old addresses know nothing of the fences.
pub fn s08_bookies_recreated_at_the_same_addresses_take_no_adds_for_a_closed_ledger() -> Result<(), String> {
    play(3, async |stage| {
        let (writer, recoverer) = (stage.actor("writer"), stage.actor("recoverer"));
        let mut open = writer.create((3, 3, 2)).await?;
        let ensemble = stage.ensemble(open.ledger)?;
        writer.write(&mut open, 3).await?;
        recoverer.recover(open.ledger).await.map_err(|error| error.to_string())?;
        for bookie in &ensemble {
            stage.wipe(bookie)?;
            stage.start(bookie).await?;
        }
        writer.add(&mut open, 2);
        let acknowledged = writer.listen(&mut open, 5000).await;
        stage.expect(acknowledged == EntryId(2), "nothing more is acknowledged")?;
        let closed = State::Closed { last: EntryId(2), length: 0 };
        let state = stage.state(open.ledger);
        let same = |state| matches!((state, closed), (State::Closed { last, .. }, State::Closed { last: l, .. }) if last == l);
        stage.expect(state.is_some_and(same), "the ledger ends where it ended")
    })
}

/// The same after an operator has moved all that they had, and forgot them.
pub fn s08_bookies_that_took_the_place_of_decommissioned_ones_take_no_adds_for_a_closed_ledger()
-> Result<(), String> {
    let with_repair = Setting { repair: true, ..Setting::calm(6) };
    play_in(&with_repair, async |stage| {
        let (writer, recoverer) = (stage.actor("writer"), stage.actor("recoverer"));
        let mut open = writer.create((3, 3, 2)).await?;
        let ensemble = stage.ensemble(open.ledger)?;
        writer.write(&mut open, 3).await?;
        recoverer.recover(open.ledger).await.map_err(|error| error.to_string())?;
        for bookie in &ensemble {
            let replaced = replace(&stage.world, &stage.node(bookie)?, 7).await;
            stage.expect(replaced, "the bookie is decommissioned and replaced")?;
            stage.start(bookie).await?;
        }
        writer.insist(&open).await?;
        stage.scrub().await
    })
}
