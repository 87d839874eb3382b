//! Runs cases one after the other, each within a time limit, and counts.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, timeout};

/// No case takes nearly as long; one that hangs must not hang the suite.
const LIMIT: Duration = Duration::from_secs(240);

type Running = Pin<Box<dyn Future<Output = Result<()>>>>;

pub struct Case {
    pub name: &'static str,
    run: fn() -> Running,
}

impl Case {
    pub fn new(name: &'static str, run: fn() -> Running) -> Case {
        Case { name, run }
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    pub passed: usize,
    pub failed: usize,
}

impl Count {
    /// Runs one case, and prints a line about it.
    pub async fn run(&mut self, case: &Case) {
        let start = Instant::now();
        let result = match timeout(LIMIT, (case.run)()).await {
            Ok(result) => result,
            Err(_) => Err(anyhow::anyhow!("not done after {LIMIT:?}")),
        };
        let seconds = start.elapsed().as_secs_f64();
        self.note(&format!("{} ({seconds:.1} s)", case.name), result);
    }

    /// Counts and prints what became of something.
    pub fn note(&mut self, what: &str, result: Result<()>) {
        match result {
            Ok(()) => {
                self.passed += 1;
                println!("ok    {what}");
            }
            Err(error) => {
                self.failed += 1;
                println!("FAIL  {what}: {error:#}");
            }
        }
    }
}
