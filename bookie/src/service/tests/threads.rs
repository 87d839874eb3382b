//! The product's form: threads, a real folder, RocksDB.

use std::path::Path;
use std::sync::Arc;

use super::world::*;
use crate::index::RocksIndex;
use crate::service::{Bookie, Reason, Run, Surroundings, Volume};

type Failed = Box<dyn std::error::Error>;

async fn start(world: &World, folder: &Path, seed: u64) -> Result<Bookie, Failed> {
    let volume = Volume {
        name: folder.display().to_string(),
        disk: Arc::new(disk::real::Folder::open(folder)?),
        index: Arc::new(RocksIndex::open(&folder.join("index"))?),
    };
    let surroundings = Surroundings { seed, run: Run::Threads };
    Ok(Bookie::start(world.settings.clone(), vec![volume], world.ledgers.clone(), surroundings).await?)
}

/// The threads of a bookie that was dropped let go of the folder when they have ended.
async fn start_when_free(world: &World, folder: &Path, seed: u64) -> Result<Bookie, Failed> {
    for _ in 0..300 {
        if let Ok(bookie) = start(world, folder, seed).await {
            return Ok(bookie);
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    start(world, folder, seed).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_threads_and_real_files_it_serves_stops_and_serves_again() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let mut world = World::new().await;
    world.settings.segment_bytes = 8 << 20;
    world.settings.reserve_bytes = 1 << 20;
    world.open_ledger(7).await;
    let mut entries = 0;
    for round in 0..3 {
        let bookie = start_when_free(&world, folder.path(), round + 1).await?;
        for entry in 0..entries {
            assert_eq!(read(&bookie, 7, entry).await, the_entry(7, entry));
        }
        for _ in 0..50 {
            assert_eq!(add(&bookie, 7, entries).await, added());
            entries += 1;
        }
        assert!(bookie.health().alive);
        bookie.stop().await;
        assert!(matches!(bookie.stopped().await, Reason::Stopped));
        drop(bookie);
    }
    Ok(())
}
