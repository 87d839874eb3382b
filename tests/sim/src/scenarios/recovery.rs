//! Scenarios about recovery: S2, S9, S10, S16, S17, S18.

use std::time::Duration;

use crate::load::ledgers::OpenLedger;
use crate::metastore::Fate;
use crate::node::Ending;
use crate::stage::play;
use disk::simulated::Device;
use ledger::quorum::{Members, Quorums};
use metadata::ledgers::Updated;
use metadata::{LedgerMetadata, Segment, State};
use protocol::EntryId;
use tokio::time::{sleep, timeout};

fn text(error: impl ToString) -> String {
    error.to_string()
}

/// BK#2615, and the zero-length bug class.
pub fn s02_recovery_of_an_empty_last_segment_finds_the_end_and_the_length() -> Result<(), String> {
    play(4, async |stage| {
        let (writer, recoverer) = (stage.actor("writer"), stage.actor("recoverer"));
        let mut open = writer.create((3, 3, 2)).await?;
        writer.write(&mut open, 5).await?;
        let ensemble = stage.ensemble(open.ledger)?;
        let spare = stage.world.nodes.iter().find(|node| !ensemble.contains(&node.id));
        let spare = spare.map(|node| node.id.clone()).ok_or("a fourth bookie")?;
        // As Apache's writer does when it has lost a bookie.
        let change = |metadata: &LedgerMetadata| {
            let mut changed = metadata.clone();
            let mut ensemble = ensemble.clone();
            *ensemble.last_mut()? = spare.clone();
            changed.segments.push(Segment { first: EntryId(5), ensemble });
            Some(changed)
        };
        let changed = writer.cluster.ledgers.update(open.ledger, change).await.map_err(text)?;
        stage.expect(matches!(changed, Updated::Done(_)), "the ensemble changes")?;
        let stored = recoverer.recover(open.ledger).await.map_err(text)?;
        let last = match stored.metadata.state {
            State::Closed { last, .. } => last,
            _ => EntryId::NONE,
        };
        stage.expect(last == EntryId(4), "the ledger ends at its last entry")?;
        stage.scrub().await
    })
}

/// BK#2612: a wiped bookie says that it cannot tell.
pub fn s09_a_wiped_bookie_and_a_lost_one_do_not_truncate() -> Result<(), String> {
    play(3, async |stage| {
        let (writer, recoverer) = (stage.actor("writer"), stage.actor("recoverer"));
        let mut open = writer.create((3, 3, 2)).await?;
        let ensemble = stage.ensemble(open.ledger)?;
        let [a, b, c] = ensemble.as_slice() else { return Err("three bookies".into()) };
        writer.write(&mut open, 5).await?;
        writer.cut_off(c);
        writer.write(&mut open, 5).await?;
        writer.dies();
        stage.wipe(a)?;
        stage.start(a).await?;
        stage.node(b)?.stop(&stage.world, Ending::Kill);
        let hasty = timeout(Duration::from_secs(30), recoverer.recover(open.ledger)).await;
        stage.expect(!matches!(hasty, Ok(Ok(_))), "recovery does not finish without the second bookie")?;
        stage.start(b).await?;
        stage.scrub().await
    })
}

/// BK#2908: what cannot be read is not absent.
pub fn s10_recovery_does_not_end_a_ledger_at_a_damaged_entry() -> Result<(), String> {
    play(3, async |stage| {
        let (writer, recoverer) = (stage.actor("writer"), stage.actor("recoverer"));
        let mut open = writer.create((3, 3, 2)).await?;
        let ensemble = stage.ensemble(open.ledger)?;
        let [a, b, c] = ensemble.as_slice() else { return Err("three bookies".into()) };
        writer.write(&mut open, 5).await?;
        writer.cut_off(c);
        let mark: Vec<u8> = (0..200).map(|i| (i * 37 % 251) as u8).collect();
        open.add(mark.clone().into());
        let acknowledged = writer.listen(&mut open, 500).await;
        stage.expect(acknowledged == EntryId(5), "the entry is acknowledged by two")?;
        writer.dies();
        let mut flipped = Vec::new();
        for bookie in [a, b] {
            let node = stage.node(bookie)?;
            node.stop(&stage.world, Ending::Kill);
            stage.damage(bookie);
            for platter in node.platters() {
                for place in platter.device.find(&mark) {
                    platter.device.flip_bit_at(&place.file, place.position + 50);
                    flipped.push((platter.device.clone(), place));
                }
            }
        }
        stage.expect(flipped.len() == 2, "both copies are found")?;
        for bookie in [a, b] {
            stage.start(bookie).await?;
        }
        let hasty = timeout(Duration::from_secs(30), recoverer.recover(open.ledger)).await;
        stage.expect(!matches!(hasty, Ok(Ok(_))), "recovery does not finish")?;
        let open_still = stage.state(open.ledger) == Some(State::InRecovery);
        stage.expect(open_still, "the ledger stays in recovery")?;
        for (device, place) in &flipped {
            heal(device, &place.file, place.position + 50);
        }
        for bookie in [a, b] {
            stage.restart(bookie, Ending::Kill).await?;
        }
        stage.scrub().await
    })
}

/// The same bit again.
fn heal(device: &Device, file: &str, position: u64) {
    device.flip_bit_at(file, position);
}

/// BOOKKEEPER-799, by quantifying over all ack quorums.
pub fn s16_coverage_is_what_every_ack_quorum_needs() -> Result<(), String> {
    for e in 1..=7u32 {
        for w in 1..=e {
            for a in 1..=w {
                let quorums = Quorums::new(e, w, a).map_err(text)?;
                for answered in 0..1u64 << e {
                    let direct = (0..e).all(|first| every_ack_quorum_meets(answered, e, w, a, first));
                    if quorums.covered_by(Members(answered)) != direct {
                        return Err(format!("({e},{w},{a}) answered {answered:b}: {direct} by definition"));
                    }
                }
            }
        }
    }
    Ok(())
}

/// H5: arithmetic in 32 bits.
pub fn s16_entries_beyond_32_bits_are_where_readers_look() -> Result<(), String> {
    play(3, async |stage| {
        let writer = stage.actor("writer");
        let first = EntryId((1 << 32) - 3);
        let open = OpenLedger::create_at(&writer.cluster, (3, 2, 2), first).await;
        let mut open = open.map_err(text)?;
        writer.write(&mut open, 1).await?;
        writer.write(&mut open, 12).await?;
        stage.scrub().await
    })
}

/// Whether each set of `a` members of the write set that begins at `first` has a member that answered.
fn every_ack_quorum_meets(answered: u64, e: u32, w: u32, a: u32, first: u32) -> bool {
    let window: Vec<u32> = (0..w).map(|i| (first + i) % e).collect();
    (0..1u64 << w).filter(|set| set.count_ones() == a).all(|set| {
        window.iter().enumerate().any(|(i, member)| set >> i & 1 == 1 && answered >> member & 1 == 1)
    })
}

pub fn s17_all_lose_power_at_once_and_one_its_disk() -> Result<(), String> {
    play(4, async |stage| {
        let writer = stage.actor("writer");
        let mut ledgers = Vec::new();
        for _ in 0..3 {
            let mut open = writer.create((3, 3, 2)).await?;
            writer.write(&mut open, 20).await?;
            writer.add(&mut open, 5);
            ledgers.push(open);
        }
        writer.listen(&mut ledgers[0], 1).await;
        for node in stage.world.nodes.iter() {
            node.stop(&stage.world, Ending::PowerLoss);
        }
        let lost = stage.world.nodes.first().ok_or("a node")?;
        stage.wipe(&lost.id)?;
        for node in stage.world.nodes.iter() {
            stage.start(&node.id).await?;
        }
        stage.scrub().await
    })
}

pub fn s18_a_transaction_whose_outcome_is_not_told_is_not_done_twice() -> Result<(), String> {
    for fate in [Fate::Done, Fate::Lost, Fate::DoneLater] {
        for nth in 0..10 {
            play(4, async |stage| {
                let (writer, recoverer) = (stage.actor("writer"), stage.actor("recoverer"));
                stage.world.meta.doom(nth, fate);
                let mut open = writer.create((3, 3, 2)).await?;
                writer.write(&mut open, 3).await?;
                let recovered = recoverer.recover(open.ledger).await;
                stage.expect(recovered.is_ok(), "recovery finishes")?;
                let mut second = writer.create((3, 3, 2)).await?;
                writer.write(&mut second, 3).await?;
                second.close(&stage.world).await.map_err(text)?;
                sleep(Duration::from_secs(10)).await;
                stage.scrub().await
            })?;
        }
    }
    Ok(())
}
