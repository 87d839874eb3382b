//! Scenarios about logs: S6, S12, S13, and ambiguous transactions of logs (S18).

use std::sync::Arc;
use std::time::Duration;

use crate::load::logs::{LogLoad, Owned, scrub};
use crate::metastore::Fate;
use crate::node::Ending;
use crate::stage::{Actor, Stage, play, play_in};
use crate::world::Setting;
use ledger::log::Log;
use tokio::time::sleep;

async fn open(load: &LogLoad, actor: &Actor) -> Result<Owned, String> {
    load.open(&actor.peer).await.map_err(|error| error.to_string())
}

fn append(owned: &mut Owned, count: usize, stage: &Stage) {
    for _ in 0..count {
        owned.append(crate::load::payload(&stage.world.chance, (20, 60)));
    }
}

async fn listen(owned: &mut Owned, ms: u64) {
    for _ in 0..ms / 10 {
        sleep(Duration::from_millis(10)).await;
        owned.hear();
    }
}

/// BK#4651: a bookie is lost, and the transaction that records the next ledger is slow.
pub fn s06_what_is_acknowledged_while_the_roll_is_under_way_can_be_read() -> Result<(), String> {
    play(4, async |stage| {
        let load = stage.log_load("slow-roll")?;
        let first = stage.actor("first owner");
        let mut owned = open(&load, &first).await?;
        append(&mut owned, 10, &stage);
        listen(&mut owned, 200).await;
        stage.world.meta.set_moods(|moods| (moods.slow, moods.slow_ms) = (1.0, 4000));
        let links = owned.log.links().await.map_err(|error| error.to_string())?;
        let ledger = links.last().ok_or("a link")?.ledger;
        let lost = stage.ensemble(ledger)?;
        stage.node(lost.first().ok_or("a bookie")?)?.stop(&stage.world, Ending::Kill);
        for _ in 0..30 {
            append(&mut owned, 3, &stage);
            listen(&mut owned, 100).await;
        }
        first.dies();
        stage.world.meta.set_moods(|moods| moods.slow = 0.0);
        scrub(&load).await?;
        stage.scrub().await
    })
}

/// Two owners: the one that was paused must not get anything acknowledged.
pub fn s12_an_owner_that_was_paused_gets_nothing_acknowledged_after_another_opened() -> Result<(), String> {
    play(4, async |stage| {
        let load = stage.log_load("stolen")?;
        let (first, second) = (stage.actor("A"), stage.actor("B"));
        let mut old = open(&load, &first).await?;
        append(&mut old, 10, &stage);
        listen(&mut old, 200).await;
        first.process().pause();
        append(&mut old, 5, &stage);
        let mut new = open(&load, &second).await?;
        append(&mut new, 5, &stage);
        listen(&mut new, 300).await;
        first.process().resume();
        append(&mut old, 5, &stage);
        let rolling: Arc<dyn Log> = old.log.clone();
        let roll = tokio::spawn(async move { rolling.roll().await });
        append(&mut new, 5, &stage);
        for _ in 0..50 {
            listen(&mut old, 50).await;
            listen(&mut new, 50).await;
        }
        let ended = old.log.progress().borrow().ended.is_some();
        stage.expect(ended, "the old owner is over")?;
        stage.expect(new.log.progress().borrow().ended.is_none(), "the new owner is not")?;
        roll.abort();
        scrub(&load).await
    })
}

/// P#26074: an empty head ledger, whose bookie is missing when the auditor looks.
pub fn s13_the_first_append_to_an_idle_head_ledger_is_durable_or_refused() -> Result<(), String> {
    let with_repair = Setting { repair: true, ..Setting::calm(4) };
    play_in(&with_repair, async |stage| {
        let load = stage.log_load("idle")?;
        let owner = stage.actor("owner");
        let mut owned = open(&load, &owner).await?;
        append(&mut owned, 3, &stage);
        listen(&mut owned, 200).await;
        owned.log.roll().await.map_err(|error| error.to_string())?;
        let links = owned.log.links().await.map_err(|error| error.to_string())?;
        let head = stage.ensemble(links.last().ok_or("a link")?.ledger)?;
        stage.node(head.first().ok_or("a bookie")?)?.stop(&stage.world, Ending::Kill);
        sleep(Duration::from_secs(60)).await;
        append(&mut owned, 3, &stage);
        listen(&mut owned, 3000).await;
        stage.start(head.first().ok_or("a bookie")?).await?;
        scrub(&load).await
    })
}

pub fn s18_ambiguous_transactions_of_a_log_are_not_done_twice() -> Result<(), String> {
    for fate in [Fate::Done, Fate::Lost, Fate::DoneLater] {
        for nth in 0..12 {
            play(4, async |stage| {
                let load = stage.log_load("doubtful")?;
                let (first, second) = (stage.actor("first"), stage.actor("second"));
                stage.world.meta.doom(nth, fate);
                let mut owned = open(&load, &first).await?;
                for _ in 0..3 {
                    append(&mut owned, 5, &stage);
                    listen(&mut owned, 300).await;
                    let _ = owned.log.roll().await;
                }
                owned.trim(&stage.world.chance).await;
                let mut next = open(&load, &second).await?;
                append(&mut next, 5, &stage);
                listen(&mut next, 300).await;
                listen(&mut owned, 300).await;
                sleep(Duration::from_secs(10)).await;
                scrub(&load).await
            })?;
        }
    }
    Ok(())
}
