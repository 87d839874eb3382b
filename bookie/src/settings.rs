//! What an operator, or a test, decides about a bookie.

use std::time::Duration;

use protocol::BookieId;

/// What a bookie does when data that it had is gone (an empty, replaced or restored disk).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLostData {
    /// It serves, says "I cannot tell" instead of "no", and is repaired.
    #[default]
    Limbo,
    /// It does not start.
    Refuse,
}

/// One bookie. All memory budgets derive from `memory` ([`Budgets`]); sizes are bytes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name at the first start; afterwards the one on disk holds.
    pub id: BookieId,
    /// Where clients reach this bookie now: `host:port`.
    pub address: String,
    /// Rack or zone; empty for none.
    pub zone: String,
    /// Where HTTP is served.
    pub http: Option<String>,
    /// Budget for everything that grows with load. Default 64 MiB.
    pub memory: u64,
    /// Size of a segment file. Default 256 MiB.
    pub segment_bytes: u32,
    /// Part of the last segment that is kept for fences and recovery adds. Default 32 MiB.
    pub reserve_bytes: u32,
    /// Kept free on each disk for the index. Default 256 MiB.
    pub index_reserve: u64,
    /// Default: limbo.
    pub on_lost_data: OnLostData,
    /// Threads per disk that read what is not in memory. Default 2.
    pub cold_readers: usize,
    /// How long a metadata request may take. Default 5 s.
    pub metadata_timeout: Duration,
    /// The bookie is registered on a lease of this length. Default 10 s.
    pub lease: Duration,
    /// Space, registration and limbo are looked at this often. Default 1 s.
    pub tick: Duration,
    /// How old a restored snapshot may be and pass unnoticed: a busy bookie writes its epoch this often. Default 60 s.
    pub epoch_every: Duration,
    /// The index is flushed after this long at the latest, if anything was written. Default 60 s.
    pub flush_every: Duration,
    /// Ledgers that were deleted are looked for this often. Default 5 min.
    pub gc_every: Duration,
    /// Closed ledgers that do not name this bookie any more are looked for this often. Default 1 h.
    pub over_replicated_every: Duration,
    /// A sealed segment with a smaller live part than this, in percent, is compacted. Default 50.
    pub compact_below: u8,
    /// Segments are looked through for dead and sparse ones this often. Default 10 s.
    pub compact_every: Duration,
    /// Bytes per second that compaction copies. Default 16 MiB.
    pub compact_rate: u64,
    /// Bytes per second that the scrub reads. Default 8 MiB.
    pub scrub_rate: u64,
    /// Pause between two passes of the scrub. Default 1 day.
    pub scrub_every: Duration,
    /// Ledgers in limbo are compared with metadata this often. Default 30 s.
    pub limbo_every: Duration,
}

impl Settings {
    pub fn new(id: BookieId) -> Settings {
        Settings {
            address: id.to_string(),
            id,
            zone: String::new(),
            http: None,
            memory: 64 << 20,
            segment_bytes: 256 << 20,
            reserve_bytes: 32 << 20,
            index_reserve: 256 << 20,
            on_lost_data: OnLostData::default(),
            cold_readers: 2,
            metadata_timeout: Duration::from_secs(5),
            lease: Duration::from_secs(10),
            tick: Duration::from_secs(1),
            epoch_every: Duration::from_secs(60),
            flush_every: Duration::from_secs(60),
            gc_every: Duration::from_secs(300),
            over_replicated_every: Duration::from_secs(3600),
            compact_below: 50,
            compact_every: Duration::from_secs(10),
            compact_rate: 16 << 20,
            scrub_rate: 8 << 20,
            scrub_every: Duration::from_secs(86_400),
            limbo_every: Duration::from_secs(30),
        }
    }

    /// What cannot work, by the setting's name and with a hint.
    pub fn check(&self) -> Result<(), String> {
        let at_least = |name: &str, value: u64, least: u64| match value < least {
            true => Err(format!("{name} = {value} is too small: give it at least {least}")),
            false => Ok(()),
        };
        at_least("memory", self.memory, 8 << 20)?;
        at_least("cold_readers", self.cold_readers as u64, 1)?;
        at_least("compact_rate", self.compact_rate, 1)?;
        at_least("scrub_rate", self.scrub_rate, 1)?;
        if self.compact_below > 95 {
            let given = self.compact_below;
            return Err(format!(
                "compact_below = {given} would copy nearly full segments for ever: at most 95"
            ));
        }
        if self.reserve_bytes >= self.segment_bytes {
            return Err("reserve_bytes must be smaller than segment_bytes: it is a part of a segment".into());
        }
        for (name, period) in [("tick", self.tick), ("lease", self.lease), ("flush_every", self.flush_every)]
        {
            at_least(&format!("{name} in ms"), period.as_millis() as u64, 10)?;
        }
        Ok(())
    }
}

/// How `memory` is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budgets {
    /// Requests between their arrival and their answer. At half of it connections stop reading.
    pub in_flight: u64,
    /// Reads that wait for a disk.
    pub cold_reads: usize,
    /// What RocksDB keeps: blocks and write buffers.
    pub index: u64,
    /// What read-ahead keeps, over all disks.
    pub readahead: u64,
    /// Index entries that are not in RocksDB yet, over all disks.
    pub recent_entries: usize,
    /// Ledgers whose state is kept in memory, over all disks.
    pub ledgers: usize,
    /// Long polls that wait.
    pub long_polls: usize,
}

impl Budgets {
    pub fn of(memory: u64) -> Budgets {
        Budgets {
            in_flight: memory / 2,
            cold_reads: (memory / 8 / 4096) as usize,
            index: memory / 8,
            readahead: memory / 8,
            recent_entries: (memory / 16 / 32) as usize,
            ledgers: (memory / 32 / 200) as usize,
            long_polls: (memory / 64 / 256) as usize,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        match "b:1".parse() {
            Ok(id) => Settings::new(id),
            Err(error) => unreachable!("{error}"),
        }
    }

    #[test]
    fn defaults_are_possible() {
        assert_eq!(settings().check(), Ok(()));
    }

    #[test]
    fn impossible_values_are_refused_by_name() {
        type Change = fn(&mut Settings);
        let wrong: [(&str, Change); 4] = [
            ("memory", |s| s.memory = 1),
            ("reserve_bytes", |s| s.reserve_bytes = s.segment_bytes),
            ("compact_below", |s| s.compact_below = 100),
            ("lease", |s| s.lease = Duration::ZERO),
        ];
        for (name, change) in wrong {
            let mut settings = settings();
            change(&mut settings);
            assert!(settings.check().is_err_and(|text| text.contains(name)), "{name}");
        }
    }

    #[test]
    fn budgets_together_stay_within_memory() {
        let memory = 64 << 20;
        let b = Budgets::of(memory);
        let counted = [b.cold_reads * 4096, b.recent_entries * 32, b.ledgers * 200, b.long_polls * 256];
        let all = b.in_flight + b.index + b.readahead + counted.iter().sum::<usize>() as u64;
        assert!(all <= memory, "{all}");
    }
}
