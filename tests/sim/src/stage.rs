//! What a scenario needs: a calm world, clients with names, and ways to hold up exactly the right message.

use std::sync::Arc;
use std::time::Duration;

use ledger::layout::Layout;
use ledger::log::LogName;
use ledger::recovery::recover;
use ledger::{Cluster, Error};
use metadata::{State, Stored};
use net::ask;
use protocol::bookie::{ReadOptions, Request};
use protocol::{BookieId, EntryId, LedgerId};
use tokio::time::sleep;

use crate::brokers::{BrokerLoad, Plan};
use crate::load::ledgers::{LedgerLoad, OpenLedger, cluster};
use crate::load::logs::LogLoad;
use crate::load::{Clients, payload, zombie};
use crate::node::{Ending, Node};
use crate::plan::Load;
use crate::process::Process;
use crate::run::simulate;
use crate::world::{Peer, Setting, World};

#[derive(Clone)]
pub struct Stage {
    pub world: World,
    pub clients: Clients,
}

/// A client process with its library.
#[derive(Clone)]
pub struct Actor {
    pub peer: Peer,
    pub cluster: Cluster,
    stage: Stage,
}

/// How many seeds a scenario is played with: latencies and what power loss keeps differ.
const TAKES: u64 = 5;

/// Plays a scenario on `nodes` bookies; an error says what was violated.
pub fn play<F: Future<Output = Result<(), String>>>(
    nodes: usize,
    story: impl Fn(Stage) -> F,
) -> Result<(), String> {
    play_in(&Setting::calm(nodes), story)
}

pub fn play_in<F: Future<Output = Result<(), String>>>(
    setting: &Setting,
    story: impl Fn(Stage) -> F,
) -> Result<(), String> {
    crate::run::watch_panics();
    let printed = std::env::var_os("SIM_VERBOSE").is_some();
    for seed in 1..=TAKES {
        let outcome = simulate(seed, setting, printed, |world| async {
            let stage = Stage { world, clients: Clients::default() };
            stage.ready().await?;
            story(stage).await
        });
        let told: Vec<String> = outcome.violations.iter().map(ToString::to_string).collect();
        if !told.is_empty() {
            return Err(format!("take {seed} (SIM_VERBOSE=1 prints every event): {}", told.join("; ")));
        }
    }
    Ok(())
}

impl Stage {
    async fn ready(&self) -> Result<(), String> {
        let nodes = self.world.nodes.clone();
        let all = move || nodes.iter().all(|node| node.serves());
        self.expect(self.world.until(Duration::from_secs(60), all).await, "the bookies start")?;
        // Registrations follow.
        sleep(Duration::from_secs(1)).await;
        Ok(())
    }

    /// Fails the scenario unless something is so.
    pub fn expect(&self, holds: bool, what: &str) -> Result<(), String> {
        self.world.trace.note(&format!("expected: {what}: {holds}"));
        if holds { Ok(()) } else { Err(format!("this did not happen: {what}")) }
    }

    pub fn actor(&self, name: &str) -> Actor {
        let peer = self.clients.join(&self.world, name);
        let cluster = cluster(&self.world, &peer, &self.world.chance);
        Actor { peer, cluster, stage: self.clone() }
    }

    pub fn node(&self, bookie: &BookieId) -> Result<Arc<Node>, String> {
        let node = self.world.nodes.iter().find(|node| node.id == *bookie);
        node.cloned().ok_or_else(|| format!("there is no node {bookie}"))
    }

    /// Stops the bookie; it will start with empty disks.
    pub fn wipe(&self, bookie: &BookieId) -> Result<(), String> {
        let node = self.node(bookie)?;
        node.stop(&self.world, Ending::Kill);
        node.renew_disks(&self.world);
        Ok(())
    }

    /// What the bookie's disks hold is not what they were given.
    pub fn damage(&self, bookie: &BookieId) {
        self.world.judge.hear(|model| model.wire.forgets_deletions(bookie));
    }

    pub async fn restart(&self, bookie: &BookieId, how: Ending) -> Result<(), String> {
        let node = self.node(bookie)?;
        node.stop(&self.world, how);
        self.start(bookie).await
    }

    pub async fn start(&self, bookie: &BookieId) -> Result<(), String> {
        let node = self.node(bookie)?;
        for _ in 0..100 {
            node.start(&self.world);
            if self.world.until(Duration::from_secs(2), || node.serves()).await {
                return Ok(());
            }
        }
        Err(format!("{bookie} does not start"))
    }

    /// The bookies of a ledger's only segment.
    pub fn ensemble(&self, ledger: LedgerId) -> Result<Vec<BookieId>, String> {
        let model = self.world.judge.model();
        let segment =
            model.metadata.ledgers.get(&ledger).and_then(|metadata| metadata.last_segment().cloned());
        segment.map(|segment| segment.ensemble).ok_or_else(|| format!("there is no ledger {ledger}"))
    }

    pub fn state(&self, ledger: LedgerId) -> Option<State> {
        self.world.judge.model().metadata.state(ledger)
    }

    /// Everything heals; every ledger is closed, and all that was acknowledged is read back.
    pub async fn scrub(&self) -> Result<(), String> {
        self.world.network.mend();
        self.clients.resume_all();
        for node in self.world.nodes.iter() {
            node.platters().iter().for_each(|platter| platter.device.heal());
            if !node.serves() {
                self.start(&node.id).await?;
            }
        }
        crate::load::ledgers::scrub(&self.ledger_load()).await
    }

    pub fn ledger_load(&self) -> LedgerLoad {
        LedgerLoad {
            world: self.world.clone(),
            clients: self.clients.clone(),
            load: light(),
            quorums: (3, 3, 2),
            chance: self.world.chance.fork(),
        }
    }

    /// One virtual broker, and nobody who serves it.
    pub fn broker_load(&self, plan: Plan) -> Arc<BrokerLoad> {
        Arc::new(BrokerLoad {
            world: self.world.clone(),
            clients: self.clients.clone(),
            plan,
            quorums: (3, 3, 2),
            chance: self.world.chance.fork(),
            owners: Default::default(),
        })
    }

    pub fn log_load(&self, name: &str) -> Result<LogLoad, String> {
        Ok(LogLoad {
            world: self.world.clone(),
            clients: self.clients.clone(),
            load: light(),
            quorums: (3, 3, 2),
            name: LogName::new(name).map_err(|error| error.to_string())?,
            chance: self.world.chance.fork(),
        })
    }
}

fn light() -> Load {
    Load {
        writers: 1,
        logs: 1,
        sizes: (10, 100),
        pause_ms: (1, 10),
        burst: 2,
        steals: 0.0,
        deletions: 0.0,
        zombies: 0.0,
        longest: 50,
        roll_bytes: 5_000,
        high_ids: false,
    }
}

impl Actor {
    pub fn process(&self) -> &Arc<Process> {
        &self.peer.process
    }

    pub async fn create(&self, quorums: (u32, u32, u32)) -> Result<OpenLedger, String> {
        OpenLedger::create(&self.cluster, quorums).await.map_err(|error| error.to_string())
    }

    /// Adds `count` entries without waiting.
    pub fn add(&self, ledger: &mut OpenLedger, count: usize) {
        for _ in 0..count {
            ledger.add(payload(&self.stage.world.chance, (20, 60)));
        }
    }

    /// Listens to replies for a while; how far the ledger is acknowledged then.
    pub async fn listen(&self, ledger: &mut OpenLedger, ms: u64) -> EntryId {
        ledger.listen(Duration::from_millis(ms), &self.stage.world).await;
        ledger.acknowledged()
    }

    /// Adds entries and waits until they are acknowledged.
    pub async fn write(&self, ledger: &mut OpenLedger, count: usize) -> Result<(), String> {
        let wanted = EntryId(ledger.acknowledged().0 + count as i64);
        self.add(ledger, count);
        for _ in 0..100 {
            if self.listen(ledger, 20).await >= wanted {
                return Ok(());
            }
        }
        Err(format!("ledger {}: {wanted} is not acknowledged: {:?}", ledger.ledger, ledger.trouble()))
    }

    pub async fn recover(&self, ledger: LedgerId) -> Result<Stored, Error> {
        let stored = recover(&self.cluster, ledger).await?;
        if let State::Closed { last, length } = stored.metadata.state {
            self.stage.world.judge.hear(|model| model.recovered(ledger, last, length));
        }
        Ok(stored)
    }

    /// Goes on writing to a ledger, by connections of its own, as if nothing had happened: to each bookie the next
    /// entry, once.
    pub async fn insist(&self, ledger: &OpenLedger) -> Result<usize, String> {
        let remains = ledger.remains().ok_or("the ledger has entries")?;
        Ok(zombie::insist(&self.stage.world, &self.peer, &remains).await)
    }

    /// Asks every bookie for every entry that was sent, once; the judge hears what they say.
    pub async fn ask_for_all(&self, ledger: &OpenLedger, fencing: bool) -> Result<(), String> {
        let remains = ledger.remains().ok_or("the ledger has entries")?;
        let layout = Layout::of(&remains.stored).map_err(|error| error.to_string())?;
        let options = ReadOptions { fence: fencing.then_some(layout.key), ..ReadOptions::default() };
        for entry in (0..=remains.next.0).map(EntryId) {
            for bookie in layout.replicas(entry) {
                let read = Request::Read { ledger: layout.ledger, entry, options };
                let _ = ask(&*self.peer.bookies, bookie, read).await;
            }
        }
        Ok(())
    }

    /// Recovers in the background.
    pub fn recover_meanwhile(&self, ledger: LedgerId) -> tokio::task::JoinHandle<Result<Stored, Error>> {
        let actor = self.clone();
        tokio::spawn(async move { actor.recover(ledger).await })
    }

    /// Nothing of this actor reaches the bookie until mended.
    pub fn cut_off(&self, bookie: &BookieId) {
        self.stage.world.network.cut_requests(&self.peer.process, bookie);
    }

    /// The bookie's answers do not reach this actor until mended.
    pub fn deafen(&self, bookie: &BookieId) {
        self.stage.world.network.cut_answers(&self.peer.process, bookie);
    }

    pub fn mend(&self, bookie: &BookieId) {
        self.stage.world.network.mend_between(&self.peer.process, bookie);
    }

    /// What this actor sent to a bookie behind a cut is lost.
    pub fn lose(&self, bookie: &BookieId) {
        self.stage.world.network.lose_held(&self.peer.process, bookie);
    }

    pub fn dies(&self) {
        self.peer.process.kill();
    }
}
