//! Seeds that show a fault which is understood or being looked for, and is not mended: printed, and not counted as
//! passed. A seed that fails in another way than the list says fails.

use sim::run::{Layer, Outcome};

const LIST: &str = include_str!("../open-cases.txt");

pub fn knows(layer: Layer, outcome: &Outcome) -> bool {
    let wanted = match layer {
        Layer::Ledgers => "ledgers",
        Layer::Brokers => "brokers",
    };
    let rules: Vec<&str> =
        cases().filter(|case| case.0 == wanted && case.1 == outcome.seed).map(|case| case.2).collect();
    outcome.violations.iter().all(|violation| rules.contains(&violation.rule))
}

/// Layer, seed, rule.
fn cases() -> impl Iterator<Item = (&'static str, u64, &'static str)> {
    LIST.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?, words.next()?.parse().ok()?, words.next()?))
    })
}
