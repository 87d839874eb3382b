//! The index store of simulations: a map, and a "disk" that survives the process.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::Mutex;

use super::store::{Batch, Change, IndexStore};

type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

/// What survives a process: flushed pairs, and batches that a crash may keep or lose.
#[derive(Clone, Default)]
pub struct MemoryIndexDisk(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    durable: Pairs,
    /// Written, not flushed; a prefix of these may survive.
    volatile: VecDeque<Batch>,
    /// Calls of processes before this number fail: they are dead.
    life: u64,
    fail_flushes: u32,
    fail_reads: u32,
}

impl MemoryIndexDisk {
    pub fn new() -> MemoryIndexDisk {
        MemoryIndexDisk::default()
    }

    /// The process dies, or power is lost: of the unflushed batches some prefix stays, as `dice` chooses.
    pub fn lose_power(&self, dice: u64) {
        let mut kept = self.0.lock();
        let stay = (dice % (kept.volatile.len() as u64 + 1)) as usize;
        let volatile = std::mem::take(&mut kept.volatile);
        for batch in volatile.into_iter().take(stay) {
            batch.into_iter().for_each(|change| apply(&mut kept.durable, change));
        }
        kept.life += 1;
        (kept.fail_flushes, kept.fail_reads) = (0, 0);
    }

    /// The folder is lost.
    pub fn wipe(&self) {
        let mut kept = self.0.lock();
        kept.durable.clear();
        kept.volatile.clear();
        kept.life += 1;
    }

    pub fn snapshot(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        self.0.lock().durable.clone()
    }

    /// The folder is put back as it was once.
    pub fn restore(&self, snapshot: BTreeMap<Vec<u8>, Vec<u8>>) {
        self.wipe();
        self.0.lock().durable = snapshot;
    }

    /// The next `n` flushes fail, and leave what they covered in doubt.
    pub fn fail_flushes(&self, n: u32) {
        self.0.lock().fail_flushes = n;
    }

    pub fn fail_reads(&self, n: u32) {
        self.0.lock().fail_reads = n;
    }
}

/// One process's view of a [`MemoryIndexDisk`].
pub struct MemoryIndex {
    disk: MemoryIndexDisk,
    life: u64,
    pairs: Mutex<Pairs>,
}

impl MemoryIndex {
    pub fn open(disk: &MemoryIndexDisk) -> MemoryIndex {
        let mut kept = disk.0.lock();
        kept.life += 1;
        let volatile = std::mem::take(&mut kept.volatile);
        for batch in volatile {
            batch.into_iter().for_each(|change| apply(&mut kept.durable, change));
        }
        let (life, pairs) = (kept.life, kept.durable.clone());
        drop(kept);
        MemoryIndex { disk: disk.clone(), life, pairs: Mutex::new(pairs) }
    }

    fn readable(&self) -> io::Result<()> {
        let mut kept = self.disk.0.lock();
        if kept.life != self.life {
            return Err(dead());
        }
        if kept.fail_reads > 0 {
            kept.fail_reads -= 1;
            return Err(io::Error::other("a read that was told to fail"));
        }
        Ok(())
    }
}

fn dead() -> io::Error {
    io::Error::other("the process of this index is dead")
}

fn apply(pairs: &mut Pairs, change: Change) {
    match change {
        Change::Put(key, value) => {
            pairs.insert(key, value);
        }
        Change::Append(key, value) => pairs.entry(key).or_default().extend(value),
        Change::Remove(key) => {
            pairs.remove(&key);
        }
        Change::RemoveRange(from, to) => {
            let doomed: Vec<_> = range(&from, &to)
                .map(|r| pairs.range::<[u8], _>(r).map(|(k, _)| k.clone()).collect())
                .unwrap_or_default();
            doomed.iter().for_each(|key| drop(pairs.remove(key)));
        }
    }
}

type Bounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// `None` where the range is empty, for which a map's `range` panics.
fn range<'a>(from: &'a [u8], to: &'a [u8]) -> Option<Bounds<'a>> {
    (from < to).then_some((Bound::Included(from), Bound::Excluded(to)))
}

impl IndexStore for MemoryIndex {
    fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        self.readable()?;
        Ok(self.pairs.lock().get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.readable()?;
        let Some(range) = range(from, to) else { return Ok(Vec::new()) };
        let pairs = self.pairs.lock();
        Ok(pairs.range::<[u8], _>(range).take(limit).map(|(k, v)| (k.clone(), v.clone())).collect())
    }

    fn last(&self, from: &[u8], to: &[u8]) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
        self.readable()?;
        let Some(range) = range(from, to) else { return Ok(None) };
        Ok(self.pairs.lock().range::<[u8], _>(range).next_back().map(|(k, v)| (k.clone(), v.clone())))
    }

    fn write(&self, batch: Batch) -> io::Result<()> {
        let mut kept = self.disk.0.lock();
        if kept.life != self.life {
            return Err(dead());
        }
        let mut pairs = self.pairs.lock();
        batch.iter().cloned().for_each(|change| apply(&mut pairs, change));
        kept.volatile.push_back(batch);
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let mut kept = self.disk.0.lock();
        if kept.life != self.life {
            return Err(dead());
        }
        if kept.fail_flushes > 0 {
            kept.fail_flushes -= 1;
            return Err(io::Error::other("a flush that was told to fail"));
        }
        let volatile = std::mem::take(&mut kept.volatile);
        for batch in volatile {
            batch.into_iter().for_each(|change| apply(&mut kept.durable, change));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::conformance;

    #[test]
    fn conformance_of_memory() -> io::Result<()> {
        conformance::run(&MemoryIndex::open(&MemoryIndexDisk::new()))
    }

    #[test]
    fn conformance_of_what_a_new_process_finds_in_memory() -> io::Result<()> {
        for dice in 0..3 {
            let disk = MemoryIndexDisk::new();
            conformance::survives_a_process(|| {
                disk.lose_power(dice);
                Ok(MemoryIndex::open(&disk))
            })?;
        }
        Ok(())
    }

    #[test]
    fn a_dead_process_changes_nothing() {
        let disk = MemoryIndexDisk::new();
        let old = MemoryIndex::open(&disk);
        disk.lose_power(0);
        assert!(
            old.write(vec![Change::Put(vec![1], vec![1])]).is_err()
                && old.flush().is_err()
                && old.get(&[1]).is_err()
        );
    }
}
