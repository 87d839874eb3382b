//! A run that spins without simulated time going on would never end: it is named and the process ends.

use std::collections::BTreeMap;
use std::sync::{Once, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Real time that one seed may take; most take a fraction of a second.
const LONGEST: Duration = Duration::from_secs(120);

type Runs = Mutex<BTreeMap<u64, Instant>>;

fn runs() -> &'static Runs {
    static RUNS: OnceLock<Runs> = OnceLock::new();
    RUNS.get_or_init(Runs::default)
}

pub struct Watched(u64);

pub fn watch(seed: u64) -> Watched {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| drop(std::thread::spawn(look)));
    runs().lock().insert(seed, Instant::now());
    Watched(seed)
}

impl Drop for Watched {
    fn drop(&mut self) {
        runs().lock().remove(&self.0);
    }
}

fn look() {
    loop {
        std::thread::sleep(Duration::from_secs(1));
        let stuck = runs().lock().iter().find(|(_, began)| began.elapsed() > LONGEST).map(|(seed, _)| *seed);
        if let Some(seed) = stuck {
            println!("seed {seed}: it has been running for {} s: something spins", LONGEST.as_secs());
            println!("0 passed, 1 failed");
            std::process::exit(1);
        }
    }
}
