//! Scenarios about who serves a virtual broker, and what one owner leaves to the next (S19 to S28).

use std::sync::Arc;
use std::time::Duration;

use broker::own::Broker;
use tokio::time::{Instant, sleep, timeout};

use crate::brokers::owner;
use crate::brokers::scrub::scrub;
use crate::brokers::{BrokerLoad, Plan};
use crate::judge::metadata::LINKS_DELETED;
use crate::metastore::Fate;
use crate::stage::{Stage, play};
use crate::world::Peer;

/// After a crash: the lease, and what it takes to notice its end and to recover.
const LONG: Duration = Duration::from_secs(8);
const CLOSING: Duration = Duration::from_secs(2);

struct Scene {
    stage: Stage,
    load: Arc<BrokerLoad>,
    client: Peer,
}

struct Player {
    peer: Peer,
    broker: Broker,
}

impl Scene {
    fn set(stage: &Stage) -> Scene {
        Scene::set_for(stage, Plan::calm())
    }

    fn set_for(stage: &Stage, plan: Plan) -> Scene {
        let client = stage.clients.join(&stage.world, "client");
        Scene { load: stage.broker_load(plan), client, stage: stage.clone() }
    }

    /// With one who serves, alone.
    async fn with_owner(stage: &Stage) -> Result<(Scene, Player), String> {
        let scene = Scene::set(stage);
        let owner = scene.enter("A").await?;
        scene.must_serve(&owner, LONG, "alone").await?;
        Ok((scene, owner))
    }

    /// Another enters, and has taken over from an owner that is paused.
    async fn robbed_while_paused(&self, owner: &Player) -> Result<Player, String> {
        let other = self.enter("B").await?;
        owner.peer.process.pause();
        self.must_serve(&other, LONG, "while the owner is paused").await?;
        Ok(other)
    }

    async fn enter(&self, name: &str) -> Result<Player, String> {
        let peer = self.stage.clients.join(&self.stage.world, name);
        let broker = owner::start(&self.load, &peer, name).await.map_err(|error| error.to_string())?;
        Ok(Player { peer, broker })
    }

    fn epoch_of(&self, player: &Player) -> Option<u64> {
        let owner = self.load.owner_of(&player.peer.process).filter(|owner| !owner.is_over());
        owner.map(|owner| owner.served.vb.epoch())
    }

    /// Waits until this one serves, and a client has had a message acknowledged by it.
    async fn must_serve(&self, player: &Player, within: Duration, when: &str) -> Result<(), String> {
        let began = Instant::now();
        let mut served = false;
        while !served && began.elapsed() <= within {
            sleep(Duration::from_millis(10)).await;
            served = self.epoch_of(player).is_some() && self.load.send_one(&self.client.process).await;
        }
        let took = began.elapsed().as_millis();
        self.stage.expect(served && began.elapsed() <= within, &format!("{when} it serves; {took} ms"))
    }

    /// Waits until this one has opened the log in a later epoch, whether or not anybody asks it for anything.
    async fn must_own_after(&self, player: &Player, epoch: Option<u64>, when: &str) -> Result<(), String> {
        let owns = || self.epoch_of(player) > epoch;
        self.stage
            .expect(self.stage.world.until(LONG, owns).await, &format!("{when} it owns, in a new epoch"))
    }

    async fn must_have_closed(&self, player: &Player, when: &str) -> Result<(), String> {
        let closed = || self.load.owner_of(&player.peer.process).is_none();
        self.stage
            .expect(self.stage.world.until(CLOSING, closed).await, &format!("{when} its doors are closed"))
    }

    /// Nothing of this one reaches any bookie, until mended.
    fn cut_off(&self, peer: &Peer) {
        let world = &self.stage.world;
        world.nodes.iter().for_each(|node| world.network.cut_requests(&peer.process, &node.id));
    }

    /// Sends until the log's old end is deleted, once more.
    async fn fill_until_trimmed(&self) -> Result<(), String> {
        let trims = || self.stage.world.judge.model().counted(LINKS_DELETED);
        let before = trims();
        let trimmed = async {
            while trims() == before {
                sleep(Duration::from_micros(100)).await;
            }
        };
        let filling = async {
            loop {
                self.load.send_one(&self.client.process).await;
            }
        };
        let trimmed = async {
            tokio::select! { biased; () = trimmed => {}, () = filling => {} }
        };
        self.stage.expect(timeout(LONG, trimmed).await.is_ok(), "the log is trimmed")
    }

    fn dies(&self, player: Player) {
        player.peer.process.kill();
        drop(player.broker);
    }

    /// Its claim goes with it, not after the time of its lease.
    async fn is_gone_without_a_trace(&self, player: Player) {
        let process = player.peer.process.id;
        self.dies(player);
        self.stage.world.meta.expire_leases_of(process).await;
    }

    async fn ends(&self) -> Result<(), String> {
        scrub(&self.load).await
    }
}

pub fn s19_what_is_given_up_in_order_is_served_by_another_within_a_second() -> Result<(), String> {
    play(4, async |stage| {
        let (scene, first) = Scene::with_owner(&stage).await?;
        let standby = scene.enter("B").await?;
        sleep(Duration::from_secs(5)).await;
        stage.expect(scene.epoch_of(&standby).is_none(), "a standby stands by")?;
        let (leaving, process) = (first.broker, first.peer.process);
        let left = tokio::spawn(async move { leaving.stop().await });
        scene.must_serve(&standby, Duration::from_secs(1), "after a graceful stop").await?;
        stage.expect(left.await.is_ok() && scene.load.owner_of(&process).is_none(), "the first has gone")?;
        drop(standby);
        scene.ends().await
    })
}

pub fn s20_an_owner_that_was_paused_steps_down_and_takes_nothing_back() -> Result<(), String> {
    play(4, async |stage| {
        let (scene, first) = Scene::with_owner(&stage).await?;
        let standby = scene.robbed_while_paused(&first).await?;
        let epoch = scene.epoch_of(&standby);
        first.peer.process.resume();
        scene.must_have_closed(&first, "when it has woken up").await?;
        sleep(LONG).await;
        stage.expect(scene.epoch_of(&standby) == epoch, "nothing was taken back")?;
        scene.dies(standby);
        scene.must_serve(&first, LONG, "after the other's death").await?;
        drop(first);
        scene.ends().await
    })
}

/// Alone it puts its claim back and serves on; beside a standby one of the two serves, and only one.
pub fn s21_a_lease_that_ends_early_leaves_one_owner() -> Result<(), String> {
    play(4, async |stage| {
        let (scene, first) = Scene::with_owner(&stage).await?;
        let epoch = scene.epoch_of(&first);
        stage.world.meta.expire_leases_of(first.peer.process.id).await;
        sleep(LONG).await;
        stage.expect(scene.epoch_of(&first) == epoch, "an owner alone serves on in its epoch")?;
        let second = scene.enter("B").await?;
        sleep(LONG).await;
        stage.expect(scene.epoch_of(&first) == epoch, "its claim was put back: the other stands by")?;
        for _ in 0..3 {
            stage.world.meta.expire_leases_of(first.peer.process.id).await;
            stage.world.meta.expire_leases_of(second.peer.process.id).await;
            sleep(LONG).await;
            let owners = [&first, &second].into_iter().filter(|player| scene.epoch_of(player).is_some());
            stage.expect(owners.count() == 1, "one of them serves")?;
        }
        drop((first, second));
        scene.ends().await
    })
}

pub fn s22_claims_whose_outcome_is_not_told_are_served_or_left() -> Result<(), String> {
    for fate in [Fate::Done, Fate::Lost, Fate::DoneLater] {
        for nth in 0..8 {
            play(4, async |stage| {
                let scene = Scene::set(&stage);
                stage.world.meta.doom(nth, fate);
                let first = scene.enter("A").await?;
                scene.must_serve(&first, 2 * LONG, "alone").await?;
                let second = scene.enter("B").await?;
                stage.world.meta.doom(nth, fate);
                first.broker.stop().await;
                scene.must_serve(&second, 2 * LONG, "after a graceful stop").await?;
                drop((first, second));
                scene.ends().await
            })?;
        }
    }
    Ok(())
}

/// It does not wait for the lease of the process before it.
pub fn s23_a_broker_that_is_started_again_serves_at_once() -> Result<(), String> {
    play(4, async |stage| {
        let (scene, first) = Scene::with_owner(&stage).await?;
        let standby = scene.enter("B").await?;
        scene.dies(first);
        let again = scene.enter("A").await?;
        scene.must_serve(&again, Duration::from_secs(1), "started again").await?;
        drop((again, standby));
        scene.ends().await
    })
}

/// It slept through another's time, and finds nobody's claim: it owns nothing before it has opened the log again.
pub fn s24_an_owner_that_was_robbed_unnoticed_begins_anew() -> Result<(), String> {
    play(4, async |stage| {
        let (scene, first) = Scene::with_owner(&stage).await?;
        let second = scene.robbed_while_paused(&first).await?;
        let epoch = scene.epoch_of(&second);
        scene.is_gone_without_a_trace(second).await;
        first.peer.process.resume();
        scene.must_serve(&first, LONG, "after the other's time").await?;
        stage.expect(scene.epoch_of(&first) > epoch, "in an epoch of its own")?;
        drop(first);
        scene.ends().await
    })
}

/// Time runs out wherever its last checkpoint is. The process goes on for a moment, and what it saves then is whole.
pub fn s25_a_checkpoint_that_a_stop_gives_up_is_made_good_by_the_next() -> Result<(), String> {
    for ms in [1, 2, 3, 4, 6, 8] {
        play(4, async |stage| {
            let (scene, first) = Scene::with_owner(&stage).await?;
            let Player { peer, broker } = first;
            let stopping = tokio::spawn(async move { broker.stop().await });
            sleep(Duration::from_millis(ms)).await;
            scene.cut_off(&peer);
            stage.expect(stopping.await.is_ok(), "it stops")?;
            stage.world.network.mend();
            sleep(LONG).await;
            peer.process.kill();
            let second = scene.enter("B").await?;
            scene.must_serve(&second, LONG, "after the stop").await?;
            drop(second);
            scene.ends().await
        })?;
    }
    Ok(())
}

pub fn s26_an_owner_that_dies_when_its_log_is_trimmed_has_saved_where_queues_begin() -> Result<(), String> {
    let plan = Plan {
        sizes: (300, 500),
        roll_bytes: 2_000,
        retention_bytes: 6_000,
        checkpoint_after: Duration::from_millis(300),
        ..Plan::calm()
    };
    play(4, async |stage| {
        let scene = Scene::set_for(&stage, plan.clone());
        for name in ["A", "B", "C"] {
            let owner = scene.enter(name).await?;
            scene.must_serve(&owner, LONG, "after the death of the one before").await?;
            scene.fill_until_trimmed().await?;
            scene.dies(owner);
        }
        scene.ends().await
    })
}

/// Its log tells it nothing, because there is nothing to store: only the owner's epoch in metadata says that what nobody
/// claims was another's meanwhile.
pub fn s27_an_idle_owner_that_was_robbed_unnoticed_claims_nothing_back() -> Result<(), String> {
    let idle = Plan { checkpoint_after: Duration::from_secs(600), ..Plan::calm() };
    for sleeps in [true, false] {
        play(4, async |stage| {
            let scene = Scene::set_for(&stage, idle.clone());
            let first = scene.enter("A").await?;
            scene.must_serve(&first, LONG, "alone").await?;
            let (second, away) = (scene.enter("B").await?, &first.peer.process);
            match sleeps {
                true => away.pause(),
                false => stage.world.meta.cut(away.id),
            }
            scene.must_own_after(&second, scene.epoch_of(&first), "while the owner is away").await?;
            let epoch = scene.epoch_of(&second);
            scene.is_gone_without_a_trace(second).await;
            away.resume();
            stage.world.meta.mend();
            scene.must_own_after(&first, epoch, "after the other's time").await?;
            drop(first);
            scene.ends().await
        })?;
    }
    Ok(())
}

/// Past all claims: an open log excludes, nothing else does. Its own claim says nothing, so its log must tell it.
pub fn s28_an_owner_whose_log_was_opened_past_its_claim_closes_its_doors() -> Result<(), String> {
    play(4, async |stage| {
        let (scene, first) = Scene::with_owner(&stage).await?;
        let epoch = scene.epoch_of(&first);
        let other = stage.clients.join(&stage.world, "B");
        let opened = owner::open_log(&scene.load, &other).await;
        stage.expect(opened.is_ok(), "another opens the log")?;
        scene.load.send_one(&scene.client.process).await;
        scene.must_own_after(&first, epoch.map(|epoch| epoch + 1), "when its log has told it").await?;
        scene.must_serve(&first, LONG, "again").await?;
        drop((first, opened));
        scene.ends().await
    })
}
