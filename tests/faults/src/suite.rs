//! Runs a case within a time limit, and counts how cases end.

use std::future::Future;
use std::pin::Pin;
use std::process::{ExitCode, Output};
use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::time::{Instant, timeout};

/// No case takes nearly as long; one that hangs must not hang the suite.
pub const LIMIT: Duration = Duration::from_secs(240);

type Running = Pin<Box<dyn Future<Output = Result<()>>>>;

/// What may run beside a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Company {
    /// Others like it: it waits most of the time, and time is not what it judges.
    Any,
    /// Nothing: it judges short times, or wants both processors for itself.
    None,
}

pub struct Case {
    pub name: &'static str,
    pub company: Company,
    run: fn() -> Running,
}

impl Case {
    pub fn new(name: &'static str, run: fn() -> Running) -> Case {
        Case { name, company: Company::Any, run }
    }

    pub fn alone(name: &'static str, run: fn() -> Running) -> Case {
        Case { name, company: Company::None, run }
    }

    /// Runs it in this process, and prints a line about it.
    pub async fn run(&self) -> Count {
        let start = Instant::now();
        let late = || Err(anyhow!("not done after {LIMIT:?}"));
        let result = timeout(LIMIT, (self.run)()).await.unwrap_or_else(|_| late());
        let mut count = Count::default();
        let seconds = start.elapsed().as_secs_f64();
        count.note(&format!("{} ({seconds:.1} s)", self.name), result);
        count
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    pub passed: usize,
    pub failed: usize,
}

impl Count {
    /// Counts a case that ran in a process of its own, and shows what it printed, in one piece.
    pub fn tell(&mut self, case: &Case, ended: Result<Output>) {
        let output = match ended {
            Ok(output) => output,
            Err(error) => return self.note(case.name, Err(error)),
        };
        print!("{}", String::from_utf8_lossy(&[output.stdout, output.stderr].concat()));
        match output.status.code() {
            Some(0) => self.passed += 1,
            // It has said why.
            Some(1) => self.failed += 1,
            _ => self.note(case.name, Err(anyhow!("its process ended with {}", output.status))),
        }
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

    pub fn code(self) -> ExitCode {
        ExitCode::from(u8::from(self.failed > 0 || self.passed == 0))
    }
}
