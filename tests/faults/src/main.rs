//! Faults on real processes. STRATAMQ names the binary under test.
//!
//! `faults run [PART OF A NAME]` runs every case once, side by side where they may be; `faults soak --minutes N` goes on
//! choosing cases at random, one at a time; `faults case` and `faults write` are what both start.

mod access;
mod bad_input;
mod cases;
mod checker;
mod cluster;
mod entry;
mod http;
mod lanes;
mod load;
mod messages;
mod network;
mod ports;
mod process;
mod roles;
mod suite;
mod volume;
mod writer;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use rand::seq::IndexedRandom;
use tokio::time::Instant;

use crate::suite::{Case, Count};

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Every case once, or those whose name contains the text.
    Run { only: Option<String> },
    /// Cases chosen at random for so long; stops at the first that fails.
    Soak {
        #[arg(long, default_value_t = 60)]
        minutes: u64,
        /// Only cases whose name contains this.
        only: Option<String>,
    },
    /// One case, in a process and a lane of its own.
    Case {
        name: String,
        #[arg(long, default_value_t = 0)]
        lane: u16,
    },
    /// The load and the judge of the cases about messages, on servers that run already.
    Beside {
        #[arg(long)]
        namesrv: String,
        /// Run by sh, one after the other, under load that must go on after each.
        commands: Vec<String>,
    },
    /// The writer process of the cases.
    Write(writer::Arguments),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match Cli::parse().what {
        What::Run { only } => finish(lanes::run(&chosen(only)).await),
        What::Soak { minutes, only } => finish(soak(&chosen(only), minutes).await),
        What::Case { name, lane } => case(&name, lane).await,
        What::Beside { namesrv, commands } => {
            let mut count = Count::default();
            count.note("messages beside commands", messages::beside(&namesrv, &commands).await);
            finish(count)
        }
        What::Write(arguments) => match writer::write(arguments).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error:#}");
                ExitCode::FAILURE
            }
        },
    }
}

fn chosen(only: Option<String>) -> Vec<Case> {
    let all = cases::all().into_iter().chain(messages::all()).chain(bad_input::all());
    all.filter(|case| only.as_ref().is_none_or(|part| case.name.contains(part))).collect()
}

async fn case(name: &str, lane: u16) -> ExitCode {
    let all = chosen(None);
    match (lanes::enter(lane), all.iter().find(|case| case.name == name)) {
        (Ok(()), Some(case)) => case.run().await.code(),
        (entered, _) => {
            eprintln!("no case '{name}' in lane {lane}: {entered:?}");
            ExitCode::from(2)
        }
    }
}

async fn soak(cases: &[Case], minutes: u64) -> Count {
    let end = Instant::now() + Duration::from_secs(minutes * 60);
    let mut count = Count::default();
    while Instant::now() < end && count.failed == 0 {
        let Some(case) = cases.choose(&mut rand::rng()) else { break };
        count.tell(case, lanes::in_lane(case, 0).await);
    }
    count
}

fn finish(count: Count) -> ExitCode {
    println!("{} passed, {} failed", count.passed, count.failed);
    count.code()
}
