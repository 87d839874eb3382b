//! One seed, from an empty cluster to the last scrub.
//!
//! * The cluster starts.
//! * The storm: load and faults.
//! * Everything heals, and progress is demanded: every ledger can be closed and every log written.
//! * The scrub: everything that was ever acknowledged is read back.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ledger::log::LogName;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::brokers::{self, BrokerLoad};
use crate::chance::Chance;
use crate::judge::Violation;
use crate::load::ledgers::LedgerLoad;
use crate::load::logs::LogLoad;
use crate::load::{Clients, ledgers, logs};
use crate::nemesis::Nemesis;
use crate::plan::{Load, Plan};
use crate::world::{Setting, World};

/// What became of a seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub seed: u64,
    pub violations: Vec<Violation>,
    /// Everything observable, hashed: the same for the same seed.
    pub digest: u64,
    pub tally: BTreeMap<&'static str, u64>,
    pub simulated: Duration,
}

impl Outcome {
    pub fn is_good(&self) -> bool {
        self.violations.is_empty()
    }
}

/// How long a run may take, in simulated time; whatever exceeds it is stuck.
const BOUND: Duration = Duration::from_secs(1200);

/// What clients use in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// Ledgers and logs.
    Ledgers,
    /// A virtual broker on a log.
    Brokers,
}

pub fn run(layer: Layer, seed: u64, printed: bool) -> Outcome {
    let chance = Chance::new(seed);
    let plan = Plan::draw(&chance);
    let brokers = (layer == Layer::Brokers).then(|| brokers::Plan::draw(&chance));
    if printed {
        println!("{plan:#?}\n{brokers:#?}");
    }
    let setting = Setting {
        nodes: plan.nodes,
        disks_per_node: plan.disks_per_node,
        weather: plan.weather.clone(),
        moods: plan.moods.clone(),
        storage: plan.storage.clone(),
        repair: plan.repair,
    };
    simulate(seed, &setting, printed, move |world| storm(world, plan, brokers, chance))
}

/// Runs `story` in a new world until it ends or something is violated.
pub fn simulate<F: Future<Output = Result<(), String>>>(
    seed: u64,
    setting: &Setting,
    printed: bool,
    story: impl FnOnce(World) -> F,
) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime =
        runtime.unwrap_or_else(|error| unreachable!("a runtime without I/O needs nothing: {error}"));
    PANICS.with_borrow_mut(Vec::clear);
    runtime.block_on(async {
        let began = tokio::time::Instant::now();
        let world = World::start(setting, seed, printed).await;
        let judge = world.judge.clone();
        let told = tokio::select! {
            biased;
            () = judge.violated() => Ok(()),
            told = timeout(BOUND, story(world.clone())) => told.unwrap_or_else(|_| Err("the run does not end".into())),
        };
        if let Err(text) = told {
            judge.hear(|model| model.violation("I18", text));
        }
        for text in PANICS.take() {
            judge.hear(|model| model.violation("panic", text));
        }
        let outcome = Outcome {
            seed,
            violations: judge.violations(),
            digest: world.trace.digest(),
            tally: judge.model().tally.clone(),
            simulated: began.elapsed(),
        };
        world.end();
        outcome
    })
}

thread_local! {
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Lets panics of simulated tasks count as violations: a task that panics is otherwise just gone.
pub fn watch_panics() {
    std::panic::set_hook(Box::new(|info| {
        PANICS.with_borrow_mut(|panics| panics.push(info.to_string()));
    }));
}

async fn storm(
    world: World,
    plan: Plan,
    brokers: Option<brokers::Plan>,
    chance: Chance,
) -> Result<(), String> {
    boot(&world, &plan).await?;
    let clients = Clients::default();
    let loads = match brokers {
        None => Loads::new(&world, &plan, &clients, &chance),
        Some(brokers) => Loads::of_brokers(&world, (&plan, brokers), &clients, &chance),
    };
    let alive = clients.clone();
    let nemesis = Arc::new(Nemesis::new(&world, &plan, &chance, Arc::new(move || alive.alive())));
    {
        let mut tasks = JoinSet::new();
        loads.start(&mut tasks);
        tasks.spawn(nemesis.clone().rage());
        tasks.spawn(nemesis.clone().restart_what_is_down());
        sleep(plan.length).await;
    }
    world.trace.note("the storm is over");
    nemesis.heal().await;
    clients.resume_all();
    let mut tasks = JoinSet::new();
    tasks.spawn(nemesis.restart_what_is_down());
    loads.scrub().await
}

/// Waits until enough bookies serve.
async fn boot(world: &World, plan: &Plan) -> Result<(), String> {
    let serving = || world.nodes.iter().filter(|node| node.serves()).count() >= plan.nodes;
    let mut waiting = 0;
    while !serving() {
        waiting += 1;
        if waiting > 600 {
            return Err("the bookies do not start".into());
        }
        world.nodes.iter().for_each(|node| node.start(world));
        sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}

struct Loads {
    logs: Vec<Arc<LogLoad>>,
    ledgers: Vec<Arc<LedgerLoad>>,
    brokers: Option<Arc<BrokerLoad>>,
    /// Nobody writes by it; it looks after what all have written.
    last: Arc<LedgerLoad>,
}

impl Loads {
    fn new(world: &World, plan: &Plan, clients: &Clients, chance: &Chance) -> Loads {
        let log = |n: usize| {
            Arc::new(LogLoad {
                world: world.clone(),
                clients: clients.clone(),
                load: plan.load.clone(),
                quorums: plan.quorums,
                name: LogName::new(&format!("log-{n}")).unwrap_or_else(|_| unreachable!("it is a name")),
                chance: chance.fork(),
            })
        };
        let ledgers = |_| {
            Arc::new(LedgerLoad {
                world: world.clone(),
                clients: clients.clone(),
                load: plan.load.clone(),
                quorums: plan.quorums,
                chance: chance.fork(),
            })
        };
        Loads {
            logs: (0..plan.load.logs).map(log).collect(),
            ledgers: (0..plan.load.writers).map(ledgers).collect(),
            brokers: None,
            last: ledgers(0),
        }
    }

    fn of_brokers(
        world: &World,
        (plan, brokers): (&Plan, brokers::Plan),
        clients: &Clients,
        chance: &Chance,
    ) -> Loads {
        let idle = Plan { load: Load { logs: 0, writers: 0, ..plan.load.clone() }, ..plan.clone() };
        let load = BrokerLoad {
            world: world.clone(),
            clients: clients.clone(),
            plan: brokers,
            quorums: plan.quorums,
            chance: chance.fork(),
            owners: Default::default(),
        };
        Loads { brokers: Some(Arc::new(load)), ..Loads::new(world, &idle, clients, chance) }
    }

    fn start(&self, tasks: &mut JoinSet<()>) {
        for load in &self.logs {
            tasks.spawn(load.clone().run());
        }
        for load in &self.ledgers {
            tasks.spawn(load.clone().run());
        }
        if let Some(load) = &self.brokers {
            for number in 0..load.plan.brokers {
                tasks.spawn(load.clone().run_broker(number));
            }
            tasks.spawn(load.clone().run_leases());
            for _ in 0..load.plan.producers {
                tasks.spawn(load.clone().run_producers());
            }
            for number in 0..load.plan.consumers {
                tasks.spawn(load.clone().run_consumers(number));
            }
        }
    }

    async fn scrub(&self) -> Result<(), String> {
        for load in &self.logs {
            logs::scrub(load).await?;
        }
        if let Some(load) = &self.brokers {
            brokers::scrub::scrub(load).await?;
        }
        ledgers::scrub(&self.last).await
    }
}
