//! Cases side by side: most of them wait most of the time. Each is a process of this program, in a lane with ports and
//! networks of its own, and what it prints is shown when it ends.

use std::cell::RefCell;
use std::process::{Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;
use tokio::time::timeout;

use crate::process::command;
use crate::suite::{Case, Company, Count, LIMIT};

pub const LANES: u16 = 3;

static LANE: OnceLock<u16> = OnceLock::new();

/// The lane of this process.
pub fn lane() -> u16 {
    *LANE.get_or_init(|| 0)
}

/// Says which lane this process is in, before anything is made in it.
pub fn enter(lane: u16) -> Result<()> {
    ensure!(lane < LANES && LANE.set(lane).is_ok(), "there is no lane {lane}, or this process is in one");
    Ok(())
}

/// The cases that may have others beside them in all lanes, then the rest one after the other.
pub async fn run(cases: &[Case]) -> Count {
    let count = RefCell::new(Count::default());
    let serve = async |lane: u16, queue: &RefCell<Vec<&Case>>| {
        loop {
            let Some(case) = queue.borrow_mut().pop() else { return };
            let ended = in_lane(case, lane).await;
            count.borrow_mut().tell(case, ended);
        }
    };
    let queue = |company| {
        let those = cases.iter().rev().filter(|case| case.company == company);
        RefCell::new(those.collect())
    };
    let together = queue(Company::Any);
    tokio::join!(serve(0, &together), serve(1, &together), serve(2, &together));
    serve(0, &queue(Company::None)).await;
    count.into_inner()
}

/// Runs a case in a process of its own: what it printed, and how it ended.
pub async fn in_lane(case: &Case, lane: u16) -> Result<Output> {
    let mut command = Command::from(command(std::env::current_exe()?, None));
    command.args(["case", case.name, "--lane", &lane.to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    // It watches its limit itself, unless it is stuck.
    let patience = LIMIT + Duration::from_secs(20);
    let output = timeout(patience, command.output()).await.context("it is stuck, and was killed")?;
    output.context("cannot be started")
}
