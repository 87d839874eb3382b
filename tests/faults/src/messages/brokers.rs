//! The broker that owns the virtual brokers goes; the standby takes them over.

use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::process::Signal;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::SOON;
use super::servers::Servers;
use super::traffic::Traffic;

pub async fn killed() -> Result<()> {
    let mut servers = Servers::start().await?;
    let mut traffic = Traffic::start(&servers.addresses()).await?;
    let (before, victim) = (servers.owners().await?, servers.owner().await?);
    traffic.fault();
    servers.kill(&victim)?;
    let moved = servers.must_have_moved(&before, &victim, SOON).await?;
    println!("      the standby owns everything after {:.2} s", moved.as_secs_f64());
    traffic.must_flow("after the owner was killed", SOON).await?;
    servers.start_one(&victim).await?;
    traffic.must_flow("after its return", SOON).await?;
    traffic.finish().await
}

/// It wakes up with requests in its sockets and a lease that has ended: it answers nobody as an owner, and stands by.
pub async fn paused() -> Result<()> {
    let mut servers = Servers::start().await?;
    let mut traffic = Traffic::start(&servers.addresses()).await?;
    let (before, victim) = (servers.owners().await?, servers.owner().await?);
    traffic.fault();
    servers.process(&victim)?.signal(Signal::STOP)?;
    let moved = servers.must_have_moved(&before, &victim, SOON).await?;
    println!("      the standby owns everything after {:.2} s", moved.as_secs_f64());
    traffic.must_flow("while the owner is paused", SOON).await?;
    servers.process(&victim)?.signal(Signal::CONT)?;
    let woken = Instant::now();
    while TcpStream::connect(&victim).await.is_ok() {
        ensure!(woken.elapsed() < Duration::from_secs(10), "a broker that lost everything still listens");
        sleep(Duration::from_millis(20)).await;
    }
    println!("      it stepped down {:.2} s after it woke up", woken.elapsed().as_secs_f64());
    traffic.must_flow("after it has stepped down", SOON).await?;
    let now = servers.owners().await?;
    ensure!(now.values().all(|owner| owner.broker != victim), "it took something back: {now:?}");
    traffic.finish().await
}

/// Everything is sealed and given up in order: the standby has nothing to recover, and owns it within a second. The two
/// brokers stop in turns, and the best of a few take-overs counts: the machine has others to serve, too.
pub async fn stopped() -> Result<()> {
    const GOAL: Duration = Duration::from_secs(1);
    const TIMES: usize = 3;
    let mut servers = Servers::start().await?;
    let mut traffic = Traffic::start(&servers.addresses()).await?;
    let mut best = Duration::MAX;
    for _ in 0..TIMES {
        best = best.min(leave(&mut servers, &mut traffic).await?);
        if best <= GOAL {
            break;
        }
    }
    ensure!(best <= GOAL, "the best of {TIMES} graceful take-overs took {best:?}, not {GOAL:?}");
    traffic.finish().await
}

/// The owner stops and comes back; how long it took until the other one owned everything.
async fn leave(servers: &mut Servers, traffic: &mut Traffic) -> Result<Duration> {
    let (before, victim) = (servers.owners().await?, servers.owner().await?);
    traffic.fault();
    servers.process(&victim)?.signal(Signal::TERM)?;
    let moved = servers.must_have_moved(&before, &victim, SOON).await?;
    println!("      the standby owns everything after {:.2} s", moved.as_secs_f64());
    servers.stop(&victim).await?;
    traffic.must_flow("after the owner has left", SOON).await?;
    servers.start_one(&victim).await?;
    traffic.must_flow("after its return", SOON).await?;
    Ok(moved)
}
