//! How a shelf is set up.

use crate::error::Error;

/// Identity and sizes. Tests and simulations make all sizes small.
#[derive(Clone, Debug)]
pub struct Config {
    /// This bookie's and this disk's; a file of another is refused.
    pub identity: [u8; 16],
    /// Size of a segment file. At least room for the largest entry and the reserve.
    pub segment_bytes: u32,
    /// A group is committed at the latest when it holds this much (one entry may be larger).
    pub group_bytes: u32,
    /// Kept free in the last segment that could be allocated: a quarter of it for fences alone, the rest for recovery
    /// adds too.
    pub reserve_bytes: u32,
    /// Kept free in the file system, for the index.
    pub index_reserve: u64,
    /// The index is flushed when this much was written, or that many entries, whichever comes first.
    pub flush_bytes: u64,
    pub flush_entries: usize,
    /// Dead segments kept for use again instead of being deleted.
    pub recycle: usize,
    /// Segment files held open for reading.
    pub open_files: usize,
    /// Ledgers whose state stays in memory although nothing of them is recent.
    pub ledgers_in_memory: usize,
    /// What read-ahead may hold.
    pub readahead_bytes: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            identity: [0; 16],
            segment_bytes: 256 << 20,
            group_bytes: 2 << 20,
            reserve_bytes: 32 << 20,
            index_reserve: 256 << 20,
            flush_bytes: 64 << 20,
            flush_entries: 1 << 17,
            recycle: 2,
            open_files: 256,
            ledgers_in_memory: 20_000,
            readahead_bytes: 8 << 20,
        }
    }
}

impl Config {
    /// Refuses sizes that cannot work.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let wrong = |text: String| Err(Error::Config(text));
        if !self.segment_bytes.is_multiple_of(512) || self.segment_bytes < 8192 {
            return wrong(format!(
                "segment size {}: a multiple of 512, at least 8192, is needed",
                self.segment_bytes
            ));
        }
        if self.reserve_bytes > self.segment_bytes / 2 {
            return wrong(format!(
                "a reserve of {} bytes is more than half a segment of {}: make segments larger or the reserve smaller",
                self.reserve_bytes, self.segment_bytes
            ));
        }
        Ok(())
    }
}
