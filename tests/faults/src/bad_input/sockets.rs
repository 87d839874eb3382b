//! Connections that say nothing sensible, or nothing at all.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::RngCore;
use tokio::time::sleep;

use super::one;
use super::raw::{KEY, MAX_FRAME, Raw, add, must_serve};

const LEDGER: i64 = 4712;

pub async fn garbage() -> Result<()> {
    let (mut cluster, bookie) = one().await?;
    for round in 0..200u32 {
        let mut noise = vec![0; 600];
        rand::rng().fill_bytes(&mut noise);
        // Every other time as a whole frame, with the first byte of v2 or of v3.
        if round % 2 == 0 {
            noise.splice(..5, [0, 0, 2, 84, if round % 4 == 0 { 2 } else { 10 }]);
        }
        let mut client = Raw::connect(&bookie).await?;
        // The bookie may have closed already.
        let _ = client.send(&noise).await;
    }
    let mut client = Raw::connect(&bookie).await?;
    client.send(b"GET / HTTP/1.1\r\nHost: bookie\r\n\r\n").await?;
    client.must_refuse().await?;
    must_serve(&bookie, LEDGER).await?;
    ensure!(cluster.bookie(&bookie)?.exited()?.is_none(), "garbage ended the bookie");
    Ok(())
}

/// Many announce the greatest frame and send a little of it: memory grows with what they sent, and others are served.
pub async fn half_frames() -> Result<()> {
    const CLIENTS: usize = 400;
    let (mut cluster, bookie) = one().await?;
    let before = cluster.bookie(&bookie)?.memory()?;
    let mut clients = vec![];
    for _ in 0..CLIENTS {
        let mut client = Raw::connect(&bookie).await?;
        let mut start = add(LEDGER, 0, &KEY, b"only the beginning");
        start.splice(..4, ((MAX_FRAME - 4) as u32).to_be_bytes());
        client.send(&start).await?;
        clients.push(client);
    }
    sleep(Duration::from_secs(2)).await;
    must_serve(&bookie, LEDGER + 1).await?;
    let grown = cluster.bookie(&bookie)?.memory()?.saturating_sub(before);
    ensure!(grown < 64 << 20, "{CLIENTS} half frames of 100 bytes cost {} MB", grown >> 20);
    Ok(())
}

pub async fn idle() -> Result<()> {
    const CLIENTS: usize = 10_000;
    let (mut cluster, bookie) = one().await?;
    let before = cluster.bookie(&bookie)?.memory()?;
    let mut clients = Vec::with_capacity(CLIENTS);
    for n in 0..CLIENTS {
        clients.push(Raw::connect(&bookie).await.with_context(|| format!("idle connection {n}"))?);
    }
    sleep(Duration::from_secs(1)).await;
    must_serve(&bookie, LEDGER).await?;
    let grown = cluster.bookie(&bookie)?.memory()?.saturating_sub(before);
    println!("      {CLIENTS} idle connections cost {} MB", grown >> 20);
    ensure!(grown < 200 << 20, "{CLIENTS} idle connections cost {} MB", grown >> 20);
    drop(clients);
    must_serve(&bookie, LEDGER + 1).await?;
    ensure!(cluster.bookie(&bookie)?.exited()?.is_none(), "the bookie ended");
    Ok(())
}
