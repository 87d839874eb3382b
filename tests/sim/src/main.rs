//! `sim simulate`: many seeds. `sim planted`: shows that the simulation is able to fail.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use parking_lot::Mutex;
use sim::run::{Layer, Outcome, run, watch_panics};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

mod planted_bugs;
mod watchdog;

#[derive(Parser)]
#[command(about = "Runs the real cores over a simulated network, disk, clock and metadata store")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs seeds; prints the first that violates an invariant and ends with 1.
    Simulate {
        /// How many seeds. Default: 2000, or 1 if --seed is given.
        #[arg(long)]
        seeds: Option<u64>,
        /// The first seed. Alone it replays that seed.
        #[arg(long)]
        seed: Option<u64>,
        /// Threads, each with runs of its own. Default: one per core.
        #[arg(long)]
        threads: Option<usize>,
        /// Prints every event of each run.
        #[arg(long)]
        verbose: bool,
        /// Virtual brokers and their clients, instead of clients of ledgers and logs.
        #[arg(long)]
        brokers: bool,
        /// Goes on after a violation.
        #[arg(long)]
        all: bool,
        /// Every n-th seed is run twice and must do the same.
        #[arg(long, default_value_t = 50)]
        twice: u64,
    },
    /// Switches on each planted bug and counts the seeds until it is caught (needs the feature `planted`).
    Planted {
        /// Seeds to try per bug.
        #[arg(long, default_value_t = 2000)]
        seeds: u64,
        /// Only this bug.
        #[arg(long)]
        bug: Option<String>,
    },
}

fn main() -> ExitCode {
    watch_panics();
    if let Ok(levels) = std::env::var("RUST_LOG") {
        let Ok(levels) = levels.parse::<Targets>() else {
            eprintln!("RUST_LOG must be a level, or target=level,…");
            return ExitCode::from(2);
        };
        tracing_subscriber::registry().with(levels).with(layer().without_time()).init();
    }
    match Arguments::parse().command {
        Command::Simulate { seeds, seed, threads, verbose, brokers, all, twice } => {
            let seeds = seeds.unwrap_or(if seed.is_some() { 1 } else { 2000 });
            let threads = threads.unwrap_or_else(cores);
            let layer = if brokers { Layer::Brokers } else { Layer::Ledgers };
            Campaign { layer, first: seed.unwrap_or(1), seeds, threads, verbose, all, twice }.go()
        }
        Command::Planted { seeds, bug } => planted_bugs::go(seeds, bug.as_deref(), cores()),
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

struct Campaign {
    layer: Layer,
    first: u64,
    seeds: u64,
    threads: usize,
    verbose: bool,
    all: bool,
    twice: u64,
}

#[derive(Default)]
struct Results {
    passed: u64,
    failed: Vec<Outcome>,
    tally: std::collections::BTreeMap<&'static str, u64>,
    simulated: Duration,
}

impl Campaign {
    fn go(&self) -> ExitCode {
        let began = Instant::now();
        let (next, stop) = (AtomicU64::new(self.first), AtomicBool::new(false));
        let results = Mutex::new(Results::default());
        std::thread::scope(|scope| {
            for _ in 0..self.threads.max(1) {
                scope.spawn(|| self.work(&next, &stop, &results));
            }
        });
        self.report(&results.into_inner(), began.elapsed())
    }

    fn work(&self, next: &AtomicU64, stop: &AtomicBool, results: &Mutex<Results>) {
        while !stop.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= self.first + self.seeds {
                return;
            }
            let outcome = self.run(seed);
            let mut results = results.lock();
            results.simulated += outcome.simulated;
            for (what, count) in &outcome.tally {
                *results.tally.entry(what).or_default() += count;
            }
            if outcome.is_good() {
                results.passed += 1;
            } else {
                tell(&outcome);
                results.failed.push(outcome);
                stop.store(!self.all, Ordering::Relaxed);
            }
        }
    }

    fn run(&self, seed: u64) -> Outcome {
        let watched = watchdog::watch(seed);
        let mut outcome = run(self.layer, seed, self.verbose);
        if self.twice > 0 && seed.is_multiple_of(self.twice) {
            let again = run(self.layer, seed, false);
            if again.digest != outcome.digest {
                let text =
                    "two runs of this seed differ: something depends on more than the seed".to_string();
                let at_ms = outcome.simulated.as_millis();
                outcome.violations.push(sim::judge::Violation { rule: "determinism", text, at_ms });
            }
        }
        drop(watched);
        outcome
    }

    fn report(&self, results: &Results, took: Duration) -> ExitCode {
        for (what, count) in &results.tally {
            println!("{count:>12} {what}");
        }
        println!("{:.0} s of simulated time in {:.1} s", results.simulated.as_secs_f64(), took.as_secs_f64());
        for outcome in &results.failed {
            let brokers = if self.layer == Layer::Brokers { " --brokers" } else { "" };
            let seed = outcome.seed;
            println!("seed {seed} failed; replay it: ./test simulate{brokers} --seed {seed} (add --verbose)");
        }
        println!("{} passed, {} failed", results.passed, results.failed.len());
        ExitCode::from(u8::from(!results.failed.is_empty() || results.passed == 0))
    }
}

fn tell(outcome: &Outcome) {
    println!("seed {}:", outcome.seed);
    for violation in &outcome.violations {
        println!("  {violation}");
    }
}
