//! Each planted bug, and after how many seeds it is caught.

use std::process::ExitCode;

#[cfg(feature = "planted")]
pub fn go(seeds: u64, only: Option<&str>, threads: usize) -> ExitCode {
    use planted::Bug;
    use sim::run::{Layer, run};

    let (mut caught, mut missed) = (0, 0);
    for bug in Bug::ALL.iter().filter(|bug| only.is_none_or(|name| name == bug.name())) {
        planted::choose(Some(*bug));
        let layer = if bug.is_of_brokers() { Layer::Brokers } else { Layer::Ledgers };
        let found = hunt(layer, seeds.min(MOST), threads);
        planted::choose(None);
        match found {
            Some(Found::In(scenario, told)) => {
                caught += 1;
                println!("{:<28} caught by scenario {scenario}: {told}", bug.name());
            }
            Some(Found::After(seed, violation)) if run(layer, seed, false).is_good() => {
                caught += 1;
                println!("{:<28} caught after {seed:>4} seeds: {violation}", bug.name());
            }
            Some(Found::After(seed, _)) => {
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

/// Most bugs are caught within so many seeds. The rest wait until the scenarios have been played, which takes less time
/// than so many seeds do.
#[cfg(feature = "planted")]
const FEW: u64 = 150;

/// One that this many do not catch needs its scenario.
#[cfg(feature = "planted")]
const MOST: u64 = 600;

#[cfg(feature = "planted")]
enum Found {
    After(u64, sim::judge::Violation),
    In(&'static str, String),
}

#[cfg(feature = "planted")]
fn hunt(layer: sim::run::Layer, seeds: u64, threads: usize) -> Option<Found> {
    let storm = |seed| {
        let watched = crate::watchdog::watch(seed);
        let outcome = sim::run::run(layer, seed, false);
        drop(watched);
        outcome.violations.into_iter().next().map(|violation| Found::After(seed, violation))
    };
    // All of them pass without a bug: that is what the test `scenarios` shows.
    let play = |n| {
        let (name, play) = sim::scenarios::ALL.get(n as usize)?;
        play().err().map(|told| Found::In(name, told))
    };
    let few = seeds.min(FEW);
    first(1..few + 1, threads, storm)
        .or_else(|| first(0..sim::scenarios::ALL.len() as u64, threads, play))
        .or_else(|| first(few + 1..seeds + 1, threads, storm))
}

/// What the lowest number finds that finds anything.
#[cfg(feature = "planted")]
fn first<T: Send>(
    numbers: std::ops::Range<u64>,
    threads: usize,
    find: impl Fn(u64) -> Option<T> + Sync,
) -> Option<T> {
    use std::sync::atomic::{AtomicU64, Ordering};

    let next = AtomicU64::new(numbers.start);
    let lowest = parking_lot::Mutex::new(None::<(u64, T)>);
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let too_high = |(lowest, _): &(u64, T)| *lowest < number;
                    if number >= numbers.end || lowest.lock().as_ref().is_some_and(too_high) {
                        return;
                    }
                    if let Some(found) = find(number) {
                        let mut lowest = lowest.lock();
                        if lowest.as_ref().is_none_or(|(lowest, _)| number < *lowest) {
                            *lowest = Some((number, found));
                        }
                    }
                }
            });
        }
    });
    lowest.into_inner().map(|(_, found)| found)
}

#[cfg(not(feature = "planted"))]
pub fn go(_: u64, _: Option<&str>, _: usize) -> ExitCode {
    println!("planted bugs are not compiled in: ./test planted");
    ExitCode::FAILURE
}
