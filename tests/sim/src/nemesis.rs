//! What goes wrong, and when: one task that draws faults from the plan until it is told to stop.

use std::sync::Arc;
use std::time::Duration;

use bookie::identity::Identity;
use bookie::segment::format::SEGMENT_HEADER;
use disk::simulated::{Call, Decay, Device, Fault as DiskFault};
use parking_lot::Mutex;
use tokio::time::sleep;

use crate::chance::Chance;
use crate::metastore::Moods;
use crate::network::End;
use crate::node::{Ending, Node, Platter};
use crate::plan::{Fault, Plan};
use crate::process::Process;
use crate::replacement;
use crate::world::World;

type Alive = Arc<dyn Fn() -> Vec<Arc<Process>> + Send + Sync>;

pub struct Nemesis {
    world: World,
    plan: Plan,
    chance: Chance,
    /// Processes of clients, for killing and pausing.
    clients: Alive,
    /// Disks that are in another machine: they are put back when everything heals.
    swapped: Mutex<Vec<Swap>>,
}

/// Disk `slot` of one node sits in slot 0 of another, and the other way round.
struct Swap {
    node: Arc<Node>,
    slot: usize,
    other: Arc<Node>,
}

impl Nemesis {
    pub fn new(world: &World, plan: &Plan, chance: &Chance, clients: Alive) -> Nemesis {
        Nemesis {
            world: world.clone(),
            plan: plan.clone(),
            chance: chance.fork(),
            clients,
            swapped: Mutex::default(),
        }
    }

    /// What an operator and his process supervisor do, for as long as it is polled.
    pub async fn restart_what_is_down(self: Arc<Nemesis>) {
        loop {
            sleep(Duration::from_millis(100)).await;
            let down = |node: &Node| !node.is_running() && !node.is_out_of_service();
            for (number, node) in self.world.nodes.iter().enumerate().filter(|(_, node)| down(node)) {
                // Only disks that were damaged are replaced: a sound one that is refused is a violation in the end.
                if node.is_given_up() && self.plan.victims.contains(&number) {
                    self.world.trace.note(&format!("{} gets new disks", node.id));
                    node.renew_disks(&self.world);
                }
                if self.chance.hits(0.1) {
                    node.start(&self.world);
                }
            }
        }
    }

    /// Ends all faults; what a fault will not undo by itself is undone.
    pub async fn heal(&self) {
        let world = &self.world;
        world.network.set_weather(|weather| {
            (weather.spikes, weather.resets, weather.duplicates) = (0.0, 0.0, 0.0);
        });
        world.network.remove_traps();
        let latency_us = self.plan.moods.latency_us;
        world.meta.set_moods(|moods| *moods = Moods { latency_us, ..Moods::default() });
        for swap in self.swapped.lock().drain(..).rev() {
            swap.node.stop(world, Ending::Kill);
            swap.other.stop(world, Ending::Kill);
            exchange(&swap);
        }
        for node in world.nodes.iter() {
            for platter in node.platters() {
                platter.device.heal();
                // Disks that the load has filled are as good as broken: the operator makes room.
                platter.device.set_capacity(2 * self.plan.storage.capacity);
            }
            let (from, to) = self.plan.storage.sync_ms;
            node.set_pace(from * 1000, to * 1000);
            if let Some(process) = node.process() {
                process.resume();
            }
        }
        world.meta.mend();
        world.network.mend();
        if world.meta.inner().is_none() {
            world.start_store().await;
        }
    }

    /// Goes on until it is dropped.
    pub async fn rage(self: Arc<Nemesis>) {
        if self.plan.faults.is_empty() {
            return std::future::pending().await;
        }
        loop {
            sleep(self.chance.millis(self.plan.gap_ms.0..self.plan.gap_ms.1)).await;
            let Some(&fault) = self.chance.pick(&self.plan.faults) else { continue };
            self.strike(fault).await;
        }
    }

    async fn strike(&self, fault: Fault) {
        let among: Vec<usize> = match fault.destroys() {
            true => self.plan.victims.clone(),
            false => (0..self.world.nodes.len()).collect(),
        };
        let Some(&number) = self.chance.pick(&among) else { return };
        let Some(node) = self.world.nodes.get(number).cloned() else { return };
        self.world.trace.note(&format!("fault: {fault:?} at {}", node.id));
        self.world.judge.count("faults");
        match fault {
            Fault::Cut | Fault::Break | Fault::SlowNetwork => self.strike_network(fault, &node),
            Fault::KillClient | Fault::PauseClient => self.strike_client(fault),
            Fault::StoreDown | Fault::StorePowerLoss | Fault::StoreUnreachable | Fault::LeaseExpires => {
                self.strike_store(fault, &node).await;
            }
            Fault::PauseBookie => self.pause(node.process()),
            Fault::KillBookie => node.stop(&self.world, Ending::Kill),
            Fault::PowerLoss => node.stop(&self.world, Ending::PowerLoss),
            Fault::PowerLossOfAll => {
                self.world.nodes.iter().for_each(|node| node.stop(&self.world, Ending::PowerLoss))
            }
            Fault::PowerLossAfterAnswer => {
                let (world, down) = (self.world.clone(), node.clone());
                let fencing = self.chance.hits(0.5);
                self.world.network.after_answer(&node.id, fencing, move || {
                    let agenda = world.agenda.clone();
                    agenda.after(Duration::ZERO, move || down.stop(&world, Ending::PowerLoss));
                });
            }
            Fault::IndexLost => {
                node.stop(&self.world, Ending::Kill);
                node.platters().iter().for_each(|platter| platter.index.wipe());
            }
            Fault::Replace => self.replace(&node),
            // Begun, it comes to its end, whether or not the faults end before.
            Fault::GracefulRestart => {
                let world = self.world.clone();
                tokio::spawn(async move { node.stop_gracefully(&world).await });
            }
            _ if fault.destroys() => self.destroy(fault, &node),
            _ => self.strike_disk(fault, &node),
        }
    }

    fn later(&self, ms: std::ops::Range<u64>, action: impl FnOnce() + Send + 'static) {
        self.world.agenda.after(self.chance.millis(ms), action);
    }

    fn strike_network(&self, fault: Fault, node: &Arc<Node>) {
        let world = self.world.clone();
        match fault {
            Fault::Cut => {
                let clients = (self.clients)();
                let to = End::Bookie(node.id.clone());
                let Some(client) = self.chance.pick(&clients) else { return };
                let from = End::Client(client.id);
                match self.chance.hits(0.5) {
                    true => world.network.cut(from, to),
                    false => world.network.cut(to, from),
                }
                self.later(100..8000, move || world.network.mend());
            }
            Fault::Break => {
                let id = node.id.clone();
                world.network.break_links(|(_, to)| *to == id);
            }
            _ => {
                let calm = self.plan.weather.clone();
                world.network.set_weather(|weather| {
                    weather.latency_us = (weather.latency_us.0, weather.latency_us.1 + 20_000);
                    weather.spikes = 0.2;
                });
                // The storm may be over by then: what it had calmed stays calm.
                self.later(100..3000, move || {
                    world.network.set_weather(|weather| {
                        weather.latency_us = calm.latency_us;
                        weather.spikes = weather.spikes.min(calm.spikes);
                    });
                });
            }
        }
    }

    fn strike_client(&self, fault: Fault) {
        let clients = (self.clients)();
        let Some(client) = self.chance.pick(&clients).cloned() else { return };
        match fault {
            Fault::KillClient => client.kill(),
            _ => self.pause(Some(client)),
        }
    }

    fn pause(&self, process: Option<Arc<Process>>) {
        let Some(process) = process else { return };
        process.pause();
        self.later(100..9000, move || process.resume());
    }

    async fn strike_store(&self, fault: Fault, node: &Arc<Node>) {
        let world = self.world.clone();
        match fault {
            Fault::LeaseExpires => drop(world.meta.expire_a_lease().await),
            Fault::StoreUnreachable => {
                let mut processes = (self.clients)();
                processes.extend(node.process());
                if let Some(process) = self.chance.pick(&processes) {
                    world.meta.cut(process.id);
                    self.later(100..9000, move || world.meta.mend());
                }
            }
            _ => {
                world.stop_store(fault == Fault::StorePowerLoss);
                sleep(self.chance.millis(10..5000)).await;
                world.start_store().await;
            }
        }
    }

    fn strike_disk(&self, fault: Fault, node: &Arc<Node>) {
        let platters = node.platters();
        let Some(platter) = self.chance.pick(&platters).cloned() else { return };
        let after = self.chance.within(0..20);
        let how = self.chance.one_of([DiskFault::Io, DiskFault::Full, DiskFault::Short]);
        match fault {
            Fault::PowerLossInACall => platter.device.fail(Call::Any, after, DiskFault::Power),
            Fault::FailedWrite => platter.device.fail(Call::Write, after, how),
            Fault::FailedSync => platter.device.fail(Call::Sync, after, DiskFault::Io),
            Fault::FailedFlush => platter.index.fail_flushes(1),
            Fault::FullDisk => {
                platter.device.set_capacity(self.chance.within(0..1 << 20));
                let capacity = self.plan.storage.capacity;
                self.later(500..6000, move || platter.device.set_capacity(capacity));
            }
            _ => {
                let (from, to) = self.plan.storage.sync_ms;
                node.set_pace(200_000, 800_000);
                let node = node.clone();
                self.later(500..5000, move || node.set_pace(from * 1000, to * 1000));
            }
        }
    }

    /// Damages what a disk holds, in most cases while its process is down.
    fn destroy(&self, fault: Fault, node: &Arc<Node>) {
        let platters = node.platters();
        let slot = self.chance.index(platters.len());
        let Some(platter) = platters.get(slot).cloned() else { return };
        self.world.damaged(&platter);
        match fault {
            Fault::FailedRead => platter.device.fail(Call::Read, self.chance.within(0..20), DiskFault::Io),
            Fault::BitFlip | Fault::StaleSector => self.decay(fault, platter),
            Fault::DamagedTail | Fault::LostWrite => self.damage_tail(fault, node, platter),
            Fault::CutFile => {
                node.stop(&self.world, Ending::Kill);
                if let Some((name, size)) = self.chance.pick(&platter.device.files()) {
                    platter.device.truncate(name, self.chance.within(0..size + 1));
                }
            }
            Fault::Wipe => {
                node.stop(&self.world, Ending::Kill);
                for platter in if self.chance.hits(0.5) { platters } else { vec![platter] } {
                    self.world.damaged(&platter);
                    platter.device.wipe();
                    platter.index.wipe();
                }
            }
            Fault::Swap => {
                let others: Vec<usize> = self.plan.victims.clone();
                let other =
                    self.chance.pick(&others).and_then(|number| self.world.nodes.get(*number)).cloned();
                let Some(other) = other.filter(|other| !Arc::ptr_eq(other, node)) else { return };
                node.stop(&self.world, Ending::Kill);
                other.stop(&self.world, Ending::Kill);
                let swap = Swap { node: node.clone(), slot, other };
                exchange(&swap);
                self.swapped.lock().push(swap);
            }
            _ => self.restore_later(platter),
        }
    }

    /// A snapshot is told from what the disk should be by the bookie's epoch in metadata, and one that is younger than
    /// that cannot be: what was acknowledged since would be gone unnoticed (docs/architecture.md, known gaps).
    fn restore_later(&self, platter: Platter) {
        let old = (platter.device.snapshot(), platter.index.snapshot());
        let copy = Device::new(0, 0);
        copy.restore(&old.0);
        let Ok(Some(Ok(then))) = Identity::load(&*copy.mount()) else { return };
        let world = self.world.clone();
        self.later(3000..9000, move || {
            if world.meta.epoch(&then.bookie) <= then.epoch {
                return;
            }
            // It may sit in another machine meanwhile.
            for holder in world.nodes.iter().filter(|other| other.has(&platter)) {
                holder.stop(&world, Ending::Kill);
            }
            world.trace.note(&format!("a disk of {} is as it was at epoch {}", then.bookie, then.epoch));
            world.damaged(&platter);
            platter.device.restore(&old.0);
            platter.index.restore(old.1);
        });
    }

    /// The disk changes something by itself, but not in the log's end: see [`Nemesis::damage_tail`].
    fn decay(&self, fault: Fault, platter: Platter) {
        let (before, world) = (newest_segment(&platter), self.world.clone());
        self.later(100..1500, move || {
            let behind = before
                .as_ref()
                .map(|(written, name)| (platter.device.written(name) > written + 4096, written, name));
            let noticed = |name: &str, position: u64| match behind {
                Some((more, written, newest)) if name == newest => more && position < *written,
                Some((_, _, newest)) => name < newest.as_str() || !name.starts_with("segment-"),
                None => !name.starts_with("segment-"),
            };
            let decayed = match fault {
                Fault::BitFlip => platter.device.flip_bit(noticed),
                _ => platter.device.make_stale(noticed),
            };
            if let Some(Decay { file, position }) = decayed {
                world.damaged(&platter);
                world.trace.note(&format!("{file} at {position} is not what it was"));
            }
        });
    }

    /// Waits until more was written behind what is there now: then its acknowledgement is on the disk too, and losing
    /// it can be noticed.
    fn damage_tail(&self, fault: Fault, node: &Arc<Node>, platter: Platter) {
        let Some((before, name)) = newest_segment(&platter) else { return };
        let (world, node, place) = (self.world.clone(), node.clone(), self.chance.within(0..before));
        self.later(100..1500, move || {
            if platter.device.written(&name) > before + 4096 && node.has(&platter) {
                node.stop(&world, Ending::Kill);
                match fault {
                    Fault::LostWrite => {
                        platter.device.lose_writes(&name, place, (before - place).min(512) as usize);
                    }
                    _ => platter.device.flip_bit_at(&name, place),
                }
                world.damaged(&platter);
                world.trace.note(&format!("{name} at {place} is not what it was"));
            }
        });
    }

    /// What an operator does to put another machine at an old address: down, decommissioned, repaired, forgotten. What
    /// takes too long is given up: the old bookie comes back.
    fn replace(&self, node: &Arc<Node>) {
        if !self.plan.repair || node.is_out_of_service() {
            return;
        }
        let (world, node, seed) = (self.world.clone(), node.clone(), self.chance.number());
        tokio::spawn(async move { replacement::replace(&world, &node, seed).await });
    }
}

/// How far the newest segment with anything behind its header is written, and its name.
fn newest_segment(platter: &Platter) -> Option<(u64, String)> {
    let segments = platter.device.files().into_iter().filter(|(name, _)| name.starts_with("segment-"));
    let written = segments.map(|(name, _)| (platter.device.written(&name), name));
    written.filter(|(written, _)| *written > SEGMENT_HEADER as u64).max_by(|a, b| a.1.cmp(&b.1))
}

fn exchange(swap: &Swap) {
    let (ours, theirs) = (swap.node.platters(), swap.other.platters());
    if let (Some(ours), Some(theirs)) = (ours.get(swap.slot), theirs.first()) {
        swap.node.exchange(swap.slot, theirs.clone());
        swap.other.exchange(0, ours.clone());
    }
}
