//! The writer process: owns a log, appends at a steady rate, and says on standard output what was acknowledged.
//!
//! Lines: `open EPOCH`, `ack NUMBER POSITION` in order, `end WHY`.

use std::collections::VecDeque;
use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result};
use ledger::log::{Log, Position, Progress, Refused};
use tokio::time::{MissedTickBehavior, interval};

use crate::access;
use crate::entry::Name;

#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    #[arg(long)]
    metadata: String,
    #[arg(long)]
    log: String,
    #[arg(long)]
    writer: u32,
    /// Appends per second.
    #[arg(long, default_value_t = 300)]
    rate: u32,
}

/// An append that is not acknowledged yet.
struct Pending {
    number: u64,
    at: Position,
    end: Position,
}

pub async fn write(arguments: Arguments) -> Result<()> {
    let log = access::open(&arguments.metadata, &arguments.log).await?;
    say(&format!("open {}\n", log.epoch().0))?;
    let mut progress = log.progress();
    let mut ticks = interval(Duration::from_secs(1) / arguments.rate.max(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pending = VecDeque::new();
    let mut next = 0;
    loop {
        tokio::select! { biased;
            changed = progress.changed() => {
                changed.context("the log's owner task is gone")?;
                let now = progress.borrow_and_update().clone();
                acknowledge(&mut pending, &now)?;
                if let Some(ended) = now.ended {
                    return say(&format!("end {ended}\n"));
                }
            }
            _ = ticks.tick() => append(&*log, arguments.writer, &mut next, &mut pending)?,
        }
    }
}

fn append(log: &dyn Log, writer: u32, next: &mut u64, pending: &mut VecDeque<Pending>) -> Result<()> {
    let body = Name { writer, number: *next }.body();
    let len = body.len();
    match log.append(&[body]) {
        Ok(at) => {
            pending.push_back(Pending { number: *next, at, end: at.after(len) });
            *next += 1;
            Ok(())
        }
        // The window is full, or the end is about to be told: the next tick sees.
        Err(Refused::Full | Refused::Ended(_)) => Ok(()),
        Err(other) => Err(other.into()),
    }
}

fn acknowledge(pending: &mut VecDeque<Pending>, progress: &Progress) -> Result<()> {
    let mut lines = String::new();
    while let Some(first) = pending.front().filter(|p| p.end <= progress.acknowledged) {
        lines.push_str(&format!("ack {} {}\n", first.number, first.at));
        pending.pop_front();
    }
    say(&lines)
}

fn say(lines: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(lines.as_bytes())?;
    Ok(out.flush()?)
}
