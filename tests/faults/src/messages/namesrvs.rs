//! One of two name servers goes: clients that run do not notice, new ones ask the other.

use std::time::Duration;

use anyhow::{Context, Result};
use client::{Client, Message};
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use super::SOON;
use super::servers::Servers;
use super::traffic::{TOPIC, Traffic};

pub async fn killed() -> Result<()> {
    gone(Signal::KILL).await
}

pub async fn stopped() -> Result<()> {
    gone(Signal::TERM).await
}

async fn gone(by: Signal) -> Result<()> {
    let mut servers = Servers::start().await?;
    let mut traffic = Traffic::start(&servers.addresses()).await?;
    let victim = servers.namesrv()?;
    traffic.fault();
    match by {
        Signal::TERM => servers.stop(&victim).await.map(|_| ())?,
        _ => servers.kill(&victim)?,
    }
    traffic.must_flow("without a name server", SOON).await?;
    must_route(&servers.addresses()).await.context("without a name server")?;
    servers.start_one(&victim).await?;
    // It knows nothing: every broker has to tell it again.
    must_route(&victim).await.context("by the name server that came back")?;
    traffic.must_flow("after its return", SOON).await?;
    traffic.finish().await
}

/// It is paused while everything changes hands, and must not lead anybody to the old owner when it wakes up.
pub async fn paused() -> Result<()> {
    let mut servers = Servers::start().await?;
    let mut traffic = Traffic::start(&servers.addresses()).await?;
    let victim = servers.namesrv()?;
    traffic.fault();
    servers.process(&victim)?.signal(Signal::STOP)?;
    traffic.must_flow("while a name server is paused", SOON).await?;
    let (before, owner) = (servers.owners().await?, servers.owner().await?);
    servers.stop(&owner).await?;
    servers.must_have_moved(&before, &owner, SOON).await?;
    must_route(&servers.addresses()).await.context("beside a paused name server")?;
    traffic.must_flow("after a change of owners beside it", SOON).await?;
    servers.process(&victim)?.signal(Signal::CONT)?;
    must_route(&victim).await.context("by the name server that woke up")?;
    traffic.must_flow("after it woke up", SOON).await?;
    traffic.finish().await
}

/// Fails unless a client that knows only `namesrvs` finds a broker that stores a message of it.
async fn must_route(namesrvs: &str) -> Result<()> {
    let client = Client::new(namesrvs)?;
    let deadline = Instant::now() + Duration::from_secs(15);
    let route = loop {
        match client.admin().route(TOPIC).await {
            Ok(route) if !route.queue_datas.is_empty() => break route,
            found if Instant::now() > deadline => anyhow::bail!("no route of {TOPIC}: {found:?}"),
            _ => sleep(Duration::from_millis(50)).await,
        }
    };
    let count = route.broker_datas.len();
    let producer = client.producer("newcomers");
    // Not into the judged topic: a message there would have no producer.
    loop {
        match producer.send(Message::new("newcomers", "hello")).await {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > deadline => {
                return Err(error)
                    .with_context(|| format!("{count} brokers have the topic, and none takes a message"));
            }
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}
