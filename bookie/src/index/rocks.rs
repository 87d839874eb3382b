//! The index store of real bookies: RocksDB, without its log (the segments are the log).

use std::io;
use std::path::Path;

use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, Direction, IteratorMode, LogLevel, MergeOperands,
    Options, ReadOptions, WriteBatch, WriteOptions,
};

use super::store::{Batch, Change, IndexStore};

/// Blocks kept in memory.
const CACHE: usize = 8 << 20;
/// One in use, one being written.
const WRITE_BUFFER: usize = 4 << 20;

pub struct RocksIndex {
    db: DB,
}

fn failed(error: rocksdb::Error) -> io::Error {
    io::Error::other(error.to_string())
}

/// Values grow at their end.
fn append(_: &[u8], before: Option<&[u8]>, more: &MergeOperands) -> Option<Vec<u8>> {
    let mut value = before.map(<[u8]>::to_vec).unwrap_or_default();
    more.iter().for_each(|part| value.extend_from_slice(part));
    Some(value)
}

impl RocksIndex {
    /// Opens the folder, or makes it.
    pub fn open(folder: &Path) -> io::Result<RocksIndex> {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&Cache::new_lru_cache(CACHE));
        table.set_cache_index_and_filter_blocks(true);
        table.set_bloom_filter(10.0, false);
        table.set_format_version(5);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_block_based_table_factory(&table);
        options.set_merge_operator_associative("append", append);
        options.set_write_buffer_size(WRITE_BUFFER);
        options.set_max_write_buffer_number(2);
        options.set_compression_type(DBCompressionType::None);
        options.set_max_background_jobs(2);
        options.set_max_open_files(128);
        options.set_keep_log_file_num(2);
        options.set_log_level(LogLevel::Warn);
        options.set_stats_dump_period_sec(0);
        DB::open(&options, folder)
            .map(|db| RocksIndex { db })
            .map_err(|error| io::Error::other(format!("cannot open the index {}: {error}", folder.display())))
    }

    fn iterate(&self, from: &[u8], to: &[u8]) -> ReadOptions {
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(from);
        options.set_iterate_upper_bound(to);
        options
    }
}

impl IndexStore for RocksIndex {
    fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        self.db.get(key).map_err(failed)
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        if from >= to {
            return Ok(Vec::new());
        }
        let mode = IteratorMode::From(from, Direction::Forward);
        let mut pairs = Vec::new();
        for pair in self.db.iterator_opt(mode, self.iterate(from, to)).take(limit) {
            let (key, value) = pair.map_err(failed)?;
            pairs.push((key.into_vec(), value.into_vec()));
        }
        Ok(pairs)
    }

    fn last(&self, from: &[u8], to: &[u8]) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
        if from >= to {
            return Ok(None);
        }
        let mut pairs = self.db.iterator_opt(IteratorMode::End, self.iterate(from, to));
        let last = pairs.next().transpose().map_err(failed)?;
        Ok(last.map(|(key, value)| (key.into_vec(), value.into_vec())))
    }

    fn write(&self, batch: Batch) -> io::Result<()> {
        let mut changes = WriteBatch::default();
        for change in batch {
            match change {
                Change::Put(key, value) => changes.put(key, value),
                Change::Append(key, value) => changes.merge(key, value),
                Change::Remove(key) => changes.delete(key),
                Change::RemoveRange(from, to) if from < to => changes.delete_range(from, to),
                Change::RemoveRange(..) => {}
            }
        }
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        self.db.write_opt(changes, &options).map_err(failed)
    }

    fn flush(&self) -> io::Result<()> {
        self.db.flush().map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::conformance;

    #[test]
    fn conformance_of_rocksdb() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        conformance::run(&RocksIndex::open(folder.path())?)
    }

    #[test]
    fn conformance_of_what_a_new_process_finds_in_rocksdb() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        conformance::survives_a_process(|| RocksIndex::open(folder.path()))
    }
}
