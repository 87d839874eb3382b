//! A checkpoint's manifest: what of a virtual broker's log is kept in which blocks.
//!
//! Version 1, all numbers as varints: `covered | last store time | begins | slots | state blocks | queue tables | runs
//! of rows | runs of keys`, each list with its length before it.

use std::sync::Arc;

use super::block::{PointerBlock, take_pointer};
use super::run::Run;
use super::store::Address;
use crate::entry::Corrupt;
use crate::entry::varint;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Everything before this position of the vb log is in the blocks.
    pub covered: u64,
    pub last_time: i64,
    /// What lies before this position is given up: no queue begins before it.
    pub begins: u64,
    /// By the key of the state's block, and by the number of the queue table's part.
    pub state: Vec<(u32, Address)>,
    pub queues: Vec<(u32, Address)>,
    /// By position, the oldest first.
    pub rows: Vec<Arc<Run>>,
    pub keys: Vec<Arc<Run>>,
}

impl Manifest {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        varint::put(&mut out, self.covered);
        varint::put_signed(&mut out, self.last_time);
        varint::put(&mut out, self.begins);
        for blocks in [&self.state, &self.queues] {
            varint::put(&mut out, blocks.len() as u64);
            for (key, at) in blocks {
                varint::put(&mut out, u64::from(*key));
                put_address(&mut out, *at);
            }
        }
        for runs in [&self.rows, &self.keys] {
            varint::put(&mut out, runs.len() as u64);
            runs.iter().for_each(|run| put_run(&mut out, run));
        }
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Manifest, Corrupt> {
        let mut from = bytes;
        let manifest = take_manifest(&mut from).filter(|_| from.is_empty());
        manifest.ok_or_else(|| Corrupt("a checkpoint's manifest is damaged".into()))
    }

    /// The first position of the checkpoint log that is still needed.
    pub fn oldest(&self) -> Option<u64> {
        let blocks = self.state.iter().chain(&self.queues).map(|(_, at)| at.position);
        let runs = self.rows.iter().chain(&self.keys).map(|run| run.first_block);
        blocks.chain(runs).min()
    }
}

fn put_address(out: &mut Vec<u8>, at: Address) {
    varint::put(out, at.position);
    varint::put(out, u64::from(at.len));
}

fn put_run(out: &mut Vec<u8>, run: &Run) {
    out.push(run.level);
    varint::put(out, run.from);
    varint::put(out, run.to);
    varint::put(out, run.rows);
    varint::put_signed(out, run.oldest);
    varint::put_signed(out, run.newest);
    varint::put(out, run.bytes);
    varint::put(out, run.first_block);
    varint::put(out, run.top.len() as u64);
    PointerBlock::encode(&run.top, out);
}

fn take_manifest(from: &mut &[u8]) -> Option<Manifest> {
    Some(Manifest {
        covered: varint::take(from)?,
        last_time: varint::take_signed(from)?,
        begins: varint::take(from)?,
        state: take_list(from, take_block)?,
        queues: take_list(from, take_block)?,
        rows: take_list(from, take_run)?,
        keys: take_list(from, take_run)?,
    })
}

fn take_list<T>(from: &mut &[u8], take: impl Fn(&mut &[u8]) -> Option<T>) -> Option<Vec<T>> {
    let count = varint::take(from)?;
    let mut list = Vec::new();
    for _ in 0..count {
        list.push(take(from)?);
    }
    Some(list)
}

fn take_block(from: &mut &[u8]) -> Option<(u32, Address)> {
    let key = u32::try_from(varint::take(from)?).ok()?;
    Some((key, Address { position: varint::take(from)?, len: u32::try_from(varint::take(from)?).ok()? }))
}

fn take_run(from: &mut &[u8]) -> Option<Arc<Run>> {
    let (&level, rest) = from.split_first()?;
    *from = rest;
    let mut run = Run {
        level,
        from: varint::take(from)?,
        to: varint::take(from)?,
        rows: varint::take(from)?,
        oldest: varint::take_signed(from)?,
        newest: varint::take_signed(from)?,
        bytes: varint::take(from)?,
        first_block: varint::take(from)?,
        top: Vec::new(),
    };
    let mut last = 0;
    for _ in 0..varint::take(from)? {
        let pointer = take_pointer(from, last)?;
        last = pointer.key.0;
        run.top.push(pointer);
    }
    Some(Arc::new(run))
}

#[cfg(test)]
mod tests {
    use super::super::block::Pointer;
    use super::*;
    use proptest::prelude::*;

    fn example() -> Manifest {
        let at = |position| Address { position, len: 77 };
        let run = |from, to| {
            Arc::new(Run {
                level: 1,
                from,
                to,
                rows: 12,
                oldest: -1,
                newest: 1_700_000_000_000,
                bytes: 500,
                first_block: 24,
                top: vec![
                    Pointer { key: (5, 6), store_time: 7, at: at(8) },
                    Pointer { key: (9, 1), store_time: 8, at: at(99) },
                ],
            })
        };
        Manifest {
            covered: 1 << 40,
            last_time: 1_700_000_000_001,
            begins: 4711,
            state: vec![(0, at(1)), (1 << 24, at(2))],
            queues: vec![(0, at(3))],
            rows: vec![run(0, 10), run(10, 20)],
            keys: vec![run(0, 20)],
        }
    }

    #[test]
    fn the_golden_manifest_is_read() {
        let golden = include_bytes!("../../../tests/golden/broker/checkpoint_manifest.v1.bin");
        assert_eq!(Manifest::decode(golden), Ok(example()));
        assert_eq!(example().encode(), golden);
    }

    #[test]
    fn every_cut_of_a_manifest_is_refused() {
        let whole = example().encode();
        for end in 0..whole.len() {
            assert!(Manifest::decode(&whole[..end]).is_err(), "{end}");
        }
    }

    proptest! {
        #[test]
        fn fuzz_a_manifest_is_read_or_refused(bytes: Vec<u8>) {
            let _ = Manifest::decode(&bytes);
        }
    }
}
