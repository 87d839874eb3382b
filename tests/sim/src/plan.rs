//! What one seed does: every run draws its own cluster, load and set of faults (swarm testing: a run without a
//! certain fault reaches states that the fault would prevent).

use std::time::Duration;

use crate::chance::Chance;
use crate::metastore::Moods;
use crate::network::Weather;

#[derive(Clone, Debug)]
pub struct Plan {
    pub nodes: usize,
    pub disks_per_node: usize,
    /// E, Qw, Qa.
    pub quorums: (u32, u32, u32),
    pub load: Load,
    pub weather: Weather,
    pub moods: Moods,
    pub faults: Vec<Fault>,
    /// Milliseconds between two faults.
    pub gap_ms: (u64, u64),
    /// How long faults and load go on.
    pub length: Duration,
    /// Nodes whose disks may lose or garble what they hold: fewer than Qa, so that nothing acknowledged is lost.
    pub victims: Vec<usize>,
    pub storage: Storage,
    /// Auditor and workers run on the bookies' machines.
    pub repair: bool,
}

#[derive(Clone, Debug)]
pub struct Load {
    /// Writers of single ledgers, one after another.
    pub writers: usize,
    pub logs: usize,
    /// Payload bytes.
    pub sizes: (u64, u64),
    /// Milliseconds between two bursts, and entries in a burst.
    pub pause_ms: (u64, u64),
    pub burst: u64,
    /// How likely a ledger's writer is followed by a racing recovery while it still writes.
    pub steals: f64,
    /// How likely a finished ledger is deleted.
    pub deletions: f64,
    /// How likely a ledger's dead writer goes on sending.
    pub zombies: f64,
    /// Bursts that a ledger gets at most.
    pub longest: u64,
    /// Bytes of a log's ledger before the next one begins.
    pub roll_bytes: u64,
    /// Ids of entries begin just below 2^32.
    pub high_ids: bool,
}

/// Sizes of a bookie's files and how often it does its chores.
#[derive(Clone, Debug)]
pub struct Storage {
    pub segment_bytes: u32,
    pub reserve_bytes: u32,
    pub capacity: u64,
    pub flush_ms: u64,
    pub gc_ms: u64,
    pub scrub_ms: u64,
    /// Milliseconds that a group's sync takes.
    pub sync_ms: (u64, u64),
}

/// Everything that can go wrong, by the codes of the fault matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// N1: messages of one client to one bookie, or back, wait.
    Cut,
    /// N2: connections break.
    Break,
    /// N2: everything becomes slow for a while.
    SlowNetwork,
    /// P1
    KillBookie,
    KillClient,
    /// P2
    PauseBookie,
    PauseClient,
    /// P3
    PowerLoss,
    PowerLossInACall,
    PowerLossOfAll,
    /// The power goes right after a bookie has answered.
    PowerLossAfterAnswer,
    /// D1
    FailedWrite,
    FailedSync,
    FailedRead,
    FailedFlush,
    FullDisk,
    SlowDisk,
    /// The folder of the index is gone: it is made again from the segments.
    IndexLost,
    /// D2, victims only
    BitFlip,
    StaleSector,
    CutFile,
    LostWrite,
    /// A bit of what was acknowledged a moment ago, while the process is down.
    DamagedTail,
    /// D3, victims only
    Wipe,
    Swap,
    Restore,
    /// M1
    StoreDown,
    StorePowerLoss,
    StoreUnreachable,
    /// M2
    LeaseExpires,
    /// O1
    GracefulRestart,
    /// A bookie is decommissioned, and another one comes at its address; victims only.
    Replace,
}

impl Fault {
    pub const ALL: [Fault; 32] = [
        Fault::Cut,
        Fault::Break,
        Fault::SlowNetwork,
        Fault::KillBookie,
        Fault::KillClient,
        Fault::PauseBookie,
        Fault::PauseClient,
        Fault::PowerLoss,
        Fault::PowerLossInACall,
        Fault::PowerLossOfAll,
        Fault::PowerLossAfterAnswer,
        Fault::FailedWrite,
        Fault::FailedSync,
        Fault::FailedRead,
        Fault::FailedFlush,
        Fault::FullDisk,
        Fault::SlowDisk,
        Fault::IndexLost,
        Fault::BitFlip,
        Fault::StaleSector,
        Fault::CutFile,
        Fault::LostWrite,
        Fault::DamagedTail,
        Fault::Wipe,
        Fault::Swap,
        Fault::Restore,
        Fault::StoreDown,
        Fault::StorePowerLoss,
        Fault::StoreUnreachable,
        Fault::LeaseExpires,
        Fault::GracefulRestart,
        Fault::Replace,
    ];

    /// Faults that may destroy what a disk had synced.
    pub fn destroys(self) -> bool {
        use Fault::*;
        matches!(
            self,
            FailedRead
                | BitFlip
                | StaleSector
                | CutFile
                | LostWrite
                | DamagedTail
                | Wipe
                | Swap
                | Restore
                | Replace
        )
    }
}

impl Plan {
    pub fn draw(chance: &Chance) -> Plan {
        let quorums = chance.one_of([
            (3, 3, 2),
            (3, 3, 2),
            (3, 2, 2),
            (4, 3, 2),
            (5, 3, 2),
            (3, 3, 3),
            (2, 2, 2),
            (2, 2, 1),
            (1, 1, 1),
            (5, 5, 3),
            (3, 3, 1),
            (4, 4, 2),
        ]);
        let nodes = quorums.0 as usize + chance.index(3);
        let faults = draw_faults(chance);
        let most = (quorums.2 as usize).saturating_sub(1);
        let mut victims: Vec<usize> = (0..nodes).collect();
        chance.shuffle(&mut victims);
        let load = draw_load(chance);
        victims.truncate(if chance.hits(0.6) { most } else { 0 });
        let moods = draw_moods(chance);
        let gap = chance.one_of([50, 200, 1000, 3000]);
        Plan {
            nodes,
            disks_per_node: 1 + chance.index(2),
            quorums,
            load,
            weather: draw_weather(chance),
            moods,
            faults,
            gap_ms: (gap / 4, gap * 2),
            length: Duration::from_millis(chance.within(3_000..20_000)),
            victims,
            storage: draw_storage(chance),
            repair: chance.hits(0.3),
        }
    }
}

fn draw_faults(chance: &Chance) -> Vec<Fault> {
    let density = chance.one_of([0.0, 0.1, 0.2, 0.4]);
    Fault::ALL.into_iter().filter(|_| chance.hits(density)).collect()
}

fn draw_load(chance: &Chance) -> Load {
    let logs = chance.one_of([0, 1, 1, 2]);
    let pause = chance.one_of([1, 5, 20, 100]);
    Load {
        writers: if logs == 0 { 1 + chance.index(3) } else { chance.index(2) },
        logs,
        sizes: chance.one_of([(0, 20), (1, 200), (500, 1500), (0, 6000)]),
        pause_ms: (pause / 2, pause * 2),
        burst: chance.one_of([1, 2, 8]),
        steals: chance.one_of([0.0, 0.3, 0.8]),
        deletions: chance.one_of([0.0, 0.0, 0.3]),
        zombies: chance.one_of([0.0, 0.3]),
        longest: chance.one_of([5, 50, 200]),
        roll_bytes: chance.one_of([500, 5_000, 50_000]),
        high_ids: chance.hits(0.05),
    }
}

fn draw_weather(chance: &Chance) -> Weather {
    let latency = chance.one_of([200, 1000, 5000]);
    Weather {
        latency_us: (latency / 4, latency),
        spikes: chance.one_of([0.0, 0.0, 0.01, 0.1]),
        spike_ms: chance.one_of([20, 200, 2000]),
        resets: chance.one_of([0.0, 0.0, 0.001, 0.01]),
        duplicates: chance.one_of([0.0, 0.0, 0.01, 0.1]),
        deadline: Duration::from_millis(chance.one_of([1000, 3000, 5000])),
    }
}

fn draw_moods(chance: &Chance) -> Moods {
    let latency = chance.one_of([500, 2000, 10_000]);
    Moods {
        latency_us: (latency / 4, latency),
        ambiguous: chance.one_of([0.0, 0.0, 0.05, 0.2]),
        unavailable: chance.one_of([0.0, 0.0, 0.02, 0.1]),
        slow: chance.one_of([0.0, 0.0, 0.01, 0.05]),
        slow_ms: chance.one_of([500, 3000, 30_000]),
        lost_watches: chance.one_of([0.0, 0.05]),
        short_pages: chance.one_of([0.0, 0.3]),
        incomplete_listings: chance.one_of([0.0, 0.3]),
    }
}

fn draw_storage(chance: &Chance) -> Storage {
    let segment = chance.one_of([64 << 10, 128 << 10, 512 << 10]);
    Storage {
        segment_bytes: segment,
        reserve_bytes: segment / 8,
        capacity: 64 << 20,
        flush_ms: chance.one_of([200, 1000, 10_000]),
        gc_ms: chance.one_of([500, 2000, 20_000]),
        scrub_ms: chance.one_of([1000, 10_000]),
        sync_ms: chance.one_of([(0, 1), (0, 3), (1, 20)]),
    }
}
