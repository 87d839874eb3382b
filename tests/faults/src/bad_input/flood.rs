//! More than a bookie can take, from clients that never listen: memory stays at its setting and 64 MB.

use std::time::Duration;

use anyhow::{Result, ensure};
use protocol::BookieId;
use tokio::time::{Instant, sleep, timeout_at};

use super::raw::{KEY, Raw, add, must_serve, read};
use crate::cluster::Cluster;

const MEMORY: u64 = 64 << 20;
const SPARE: u64 = 64 << 20;
const WRITERS: i64 = 100;
const READERS: usize = 50;
const TIME: Duration = Duration::from_secs(15);
/// How often another one has to be served meanwhile, on a machine whose processors are all busy with the flood.
const SERVED: u64 = 5;
/// What the sockets hold still has to be taken in or thrown away.
const RELIEF: Duration = Duration::from_secs(60);

pub async fn flood() -> Result<()> {
    let mut cluster = Cluster::start(0).await?;
    let bookie = cluster.new_member(&format!("memory = \"{}MB\"", MEMORY >> 20))?.id;
    cluster.start_bookie(&bookie).await?;
    let mut client = Raw::connect(&bookie).await?;
    for entry in 0..8 {
        client.ask(&add(1, entry, &KEY, &vec![1; 1 << 20])).await?;
    }
    let mut clients = vec![];
    for n in 0..WRITERS {
        clients.push(tokio::spawn(write_for_ever(bookie.clone(), 1000 + n)));
    }
    for _ in 0..READERS {
        clients.push(tokio::spawn(ask_for_ever(bookie.clone())));
    }
    let others = tokio::spawn(count_served(bookie.clone()));
    let watched = watch(&mut cluster, &bookie).await;
    clients.iter().for_each(|client| client.abort());
    watched?;
    let (served, longest) = others.await?;
    println!("      others were served {served} times during it, within {:.1} s", longest.as_secs_f64());
    ensure!(
        served >= SERVED,
        "others were served {served} times in the {TIME:?} of the flood: {SERVED} is the least"
    );
    drop(clients);
    let ended = Instant::now();
    while let Err(error) = must_serve(&bookie, 3).await {
        ensure!(ended.elapsed() < RELIEF, "{RELIEF:?} after the flood: {error:#}");
    }
    println!("      others are served {:.1} s after it", ended.elapsed().as_secs_f64());
    Ok(())
}

/// Fails when the bookie's memory exceeds its limit, or it ends.
async fn watch(cluster: &mut Cluster, bookie: &BookieId) -> Result<()> {
    let end = Instant::now() + TIME;
    let mut peak = 0;
    while Instant::now() < end {
        let process = cluster.bookie(bookie)?;
        ensure!(process.exited()?.is_none(), "the flood ended the bookie:\n{}", process.last_words());
        peak = process.peak_memory()?;
        ensure!(peak <= MEMORY + SPARE, "{} MB resident, with memory = {} MB", peak >> 20, MEMORY >> 20);
        sleep(Duration::from_millis(50)).await;
    }
    println!("      at most {} MB resident, with memory = {} MB", peak >> 20, MEMORY >> 20);
    Ok(())
}

/// How often a modest client is served while the flood lasts, and how long it waited at most.
async fn count_served(bookie: BookieId) -> (u64, Duration) {
    let end = Instant::now() + TIME;
    let (mut served, mut longest) = (0, Duration::ZERO);
    while Instant::now() < end {
        let asked = Instant::now();
        if let Ok(Ok(())) = timeout_at(end, must_serve(&bookie, 5 + served as i64)).await {
            served += 1;
            longest = longest.max(asked.elapsed());
        }
        sleep(Duration::from_millis(20)).await;
    }
    (served, longest)
}

/// Entries of a megabyte, without ever reading an answer.
async fn write_for_ever(bookie: BookieId, ledger: i64) {
    let payload = vec![1; 1 << 20];
    while let Ok(mut client) = Raw::connect(&bookie).await {
        for entry in 0.. {
            if client.send(&add(ledger, entry, &KEY, &payload)).await.is_err() {
                break;
            }
        }
    }
}

/// Requests for entries of a megabyte, without ever reading an answer.
async fn ask_for_ever(bookie: BookieId) {
    while let Ok(mut client) = Raw::connect(&bookie).await {
        for entry in 0.. {
            if client.send(&read(1, entry % 8)).await.is_err() {
                break;
            }
        }
    }
}
