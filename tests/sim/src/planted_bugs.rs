//! Each planted bug, and after how many seeds it is caught.

use std::process::ExitCode;

#[cfg(feature = "planted")]
pub fn go(seeds: u64, only: Option<&str>, threads: usize) -> ExitCode {
    use planted::Bug;
    use sim::run::Layer;

    let (mut caught, mut missed) = (0, 0);
    for bug in Bug::ALL.iter().filter(|bug| only.is_none_or(|name| name == bug.name())) {
        planted::choose(Some(*bug));
        let layer = if bug.is_of_brokers() { Layer::Brokers } else { Layer::Ledgers };
        let found = first_violation(layer, seeds.min(MOST), threads);
        let played = if found.is_none() { first_scenario() } else { None };
        planted::choose(None);
        if let Some((name, told)) = played {
            caught += 1;
            println!("{:<28} caught by scenario {name}: {told}", bug.name());
            continue;
        }
        match found {
            Some((seed, violation)) if sim::run::run(layer, seed, false).is_good() => {
                caught += 1;
                println!("{:<28} caught after {seed:>4} seeds: {violation}", bug.name());
            }
            Some((seed, _)) => {
                missed += 1;
                println!("{:<28} seed {seed} fails without it too", bug.name());
            }
            None => {
                missed += 1;
                println!("{:<28} NOT caught within {seeds} seeds: {}", bug.name(), bug.about());
            }
        }
    }
    println!("{caught} passed, {missed} failed");
    ExitCode::from(u8::from(missed > 0 || caught == 0))
}

/// Most bugs are caught within a hundred seeds; one that this many do not catch needs its scenario.
#[cfg(feature = "planted")]
const MOST: u64 = 600;

/// The first scenario that goes wrong. All of them pass without a bug: that is what the test `scenarios` shows.
#[cfg(feature = "planted")]
fn first_scenario() -> Option<(&'static str, String)> {
    sim::scenarios::ALL.iter().find_map(|(name, play)| play().err().map(|told| (*name, told)))
}

/// The lowest seed that violates something.
#[cfg(feature = "planted")]
fn first_violation(
    layer: sim::run::Layer,
    seeds: u64,
    threads: usize,
) -> Option<(u64, sim::judge::Violation)> {
    use std::sync::atomic::{AtomicU64, Ordering};

    let next = AtomicU64::new(1);
    let found = parking_lot::Mutex::new(None::<(u64, sim::judge::Violation)>);
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > seeds || found.lock().as_ref().is_some_and(|(lowest, _)| *lowest < seed) {
                        return;
                    }
                    let watched = crate::watchdog::watch(seed);
                    let outcome = sim::run::run(layer, seed, false);
                    drop(watched);
                    if let Some(violation) = outcome.violations.first() {
                        let mut found = found.lock();
                        if found.as_ref().is_none_or(|(lowest, _)| seed < *lowest) {
                            *found = Some((seed, violation.clone()));
                        }
                    }
                }
            });
        }
    });
    found.into_inner()
}

#[cfg(not(feature = "planted"))]
pub fn go(_: u64, _: Option<&str>, _: usize) -> ExitCode {
    println!("planted bugs are not compiled in: ./test planted");
    ExitCode::FAILURE
}
