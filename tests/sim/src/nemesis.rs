//! What goes wrong, and when: one task that draws faults from the plan until it is told to stop.

use std::sync::Arc;
use std::time::Duration;

use disk::simulated::{Call, Fault as DiskFault};
use tokio::time::sleep;

use crate::chance::Chance;
use crate::network::End;
use crate::node::{Ending, Node};
use crate::plan::{Fault, Plan};
use crate::process::Process;
use crate::world::World;

pub struct Nemesis {
    pub world: World,
    pub plan: Plan,
    pub chance: Chance,
    /// Processes of clients, for killing and pausing.
    pub clients: Arc<dyn Fn() -> Vec<Arc<Process>> + Send + Sync>,
}

impl Nemesis {
    /// Goes on until it is dropped.
    pub async fn rage(self) {
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
            Fault::ClockStep => node.step_clock(self.chance.within(0..7_200_000) as i64 - 3_600_000),
            Fault::PauseBookie => self.pause(node.process()),
            Fault::KillBookie => self.stop(&node, Ending::Kill),
            Fault::PowerLoss => self.stop(&node, Ending::PowerLoss),
            Fault::PowerLossOfAll => self.world.nodes.iter().for_each(|node| self.stop(node, Ending::PowerLoss)),
            Fault::GracefulRestart => {
                node.stop_gracefully(&self.world).await;
                self.start_again(node);
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
                self.later(100..3000, move || world.network.set_weather(|weather| *weather = calm));
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

    fn stop(&self, node: &Arc<Node>, how: Ending) {
        node.stop(&self.world, how);
        self.start_again(node.clone());
    }

    fn start_again(&self, node: Arc<Node>) {
        let world = self.world.clone();
        self.later(10..4000, move || node.start(&world));
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
            Fault::FailedRead => platter.device.fail(Call::Read, after, DiskFault::Io),
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
        match fault {
            Fault::BitFlip => drop(platter.device.flip_bit(|_| true)),
            Fault::StaleSector => drop(platter.device.make_stale(|_| true)),
            Fault::LostWrite => platter.device.fail(Call::Write, self.chance.within(0..20), DiskFault::Misdirected),
            Fault::CutFile => {
                self.stop(node, Ending::Kill);
                if let Some((name, size)) = self.chance.pick(&platter.device.files()) {
                    platter.device.truncate(name, self.chance.within(0..size + 1));
                }
            }
            Fault::Wipe => {
                self.stop(node, Ending::Kill);
                for platter in if self.chance.hits(0.5) { platters } else { vec![platter] } {
                    platter.device.wipe();
                    platter.index.wipe();
                }
            }
            Fault::Swap => {
                let others: Vec<usize> = self.plan.victims.clone();
                let other = self.chance.pick(&others).and_then(|number| self.world.nodes.get(*number)).cloned();
                let Some(other) = other.filter(|other| !Arc::ptr_eq(other, node)) else { return };
                self.stop(node, Ending::Kill);
                self.stop(&other, Ending::Kill);
                if let Some(theirs) = other.exchange(0, platter) {
                    drop(node.exchange(slot, theirs));
                }
            }
            _ => {
                let old = (platter.device.snapshot(), platter.index.snapshot());
                let (world, node, dice) = (self.world.clone(), node.clone(), self.chance.clone());
                self.later(3000..9000, move || {
                    node.stop(&world, Ending::Kill);
                    platter.device.restore(&old.0);
                    platter.index.restore(old.1);
                    let later = world.clone();
                    world.agenda.after(dice.millis(10..3000), move || node.start(&later));
                });
            }
        }
    }
}
