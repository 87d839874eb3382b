//! Each planted bug, and after how many seeds it is caught.

use std::process::ExitCode;

#[cfg(feature = "planted")]
pub fn go(seeds: u64, only: Option<&str>) -> ExitCode {
    use planted::Bug;
    use sim::run::run;

    let (mut caught, mut missed) = (0, 0);
    for bug in Bug::ALL.iter().filter(|bug| only.is_none_or(|name| name == bug.name())) {
        planted::choose(Some(*bug));
        let found = (1..=seeds).find_map(|seed| {
            let watched = crate::watchdog::watch(seed);
            let outcome = run(seed, false);
            drop(watched);
            outcome.violations.first().map(|violation| (seed, violation.clone()))
        });
        planted::choose(None);
        match found {
            Some((seed, violation)) if run(seed, false).is_good() => {
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

#[cfg(not(feature = "planted"))]
pub fn go(_: u64, _: Option<&str>) -> ExitCode {
    println!("planted bugs are not compiled in: cargo run --release -p sim --features planted -- planted");
    ExitCode::FAILURE
}
