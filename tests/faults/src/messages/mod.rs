//! RocketMQ's clients while processes die, pause and leave: eight producers, eight consumers, and a judge that knows
//! everything that they were told. Victims are picked by their role. Each case fails if there was no load before or
//! after its fault, if nothing changed hands where it must, if anything acknowledged is lost or moved, or if a queue is
//! out of order. What is stored or handed out twice is counted, and the longest gap is printed.

mod bad_input;
mod bookies;
mod brokers;
mod etcd;
mod full;
mod journal;
mod namesrvs;
mod servers;
mod traffic;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use self::traffic::Traffic;
use crate::suite::Case;

/// Load goes on again within this time after any fault.
const SOON: Duration = Duration::from_secs(30);

pub fn all() -> Vec<Case> {
    vec![
        Case::alone("messages: kill -9 of the owner", || Box::pin(brokers::killed())),
        Case::alone("messages: SIGSTOP of the owner", || Box::pin(brokers::paused())),
        Case::alone("messages: graceful stop of the owner", || Box::pin(brokers::stopped())),
        Case::alone("messages: kill -9 of a bookie", || Box::pin(bookies::killed())),
        Case::alone("messages: SIGSTOP of a bookie", || Box::pin(bookies::paused())),
        Case::alone("messages: graceful stop of a bookie", || Box::pin(bookies::stopped())),
        Case::alone("messages: kill -9 of a name server", || Box::pin(namesrvs::killed())),
        Case::alone("messages: graceful stop of a name server", || Box::pin(namesrvs::stopped())),
        Case::alone("messages: SIGSTOP of a name server", || Box::pin(namesrvs::paused())),
        Case::alone("messages: etcd paused", || Box::pin(etcd::paused())),
        Case::alone("messages: etcd killed and restarted", || Box::pin(etcd::killed())),
        Case::alone("messages: etcd stopped and restarted", || Box::pin(etcd::stopped())),
        Case::alone("messages: full disks", || Box::pin(full::disks())),
        Case::new("messages: bad requests", || Box::pin(bad_input::requests())),
        Case::new("messages: garbage and half frames", || Box::pin(bad_input::bytes())),
        Case::alone("messages: a flood while nothing is acknowledged", || Box::pin(bad_input::flood())),
        Case::alone("messages: idle connections and slow readers", || Box::pin(bad_input::connections())),
    ]
}

/// The same load and judge on servers that run already. Each command is run under load, which must go on afterwards.
pub async fn beside(namesrvs: &str, commands: &[String]) -> Result<()> {
    let mut traffic = Traffic::start(namesrvs).await?;
    for command in commands {
        traffic.fault();
        let status = Command::new("sh").args(["-c", command]).status().await;
        let status = status.with_context(|| format!("run {command}"))?;
        ensure!(status.success(), "'{command}' ended with {status}");
        traffic.must_flow(&format!("after '{command}'"), SOON * 2).await?;
        println!("      longest gap {:.2} s: {command}", traffic.gap().as_secs_f64());
    }
    traffic.finish().await
}
