//! Blocks of a run: rows of queues, hashes of keys, and pointers to blocks. All are sorted by [`Key`], and numbers are
//! kept as differences from the row before, in as few bytes as they need.

use super::run::Cursor;
use super::store::Address;
use crate::entry::Corrupt;
use crate::entry::varint;
use crate::error::Error;
use crate::index::keys::KeyRow;
use crate::index::queue::{HotRow, Row};
use crate::state::TopicId;

/// What a run is sorted by: queue and offset, or hash and position.
pub type Key = (u64, u64);

/// A queue as the first half of a key.
pub fn queue_key(topic: TopicId, queue: u16) -> u64 {
    u64::from(topic.0) << 16 | u64::from(queue)
}

/// Set in the first number of a group whose rows have checksums.
const CHECKED: u64 = 1 << 48;

/// The queue of a key.
pub fn queue_of(key: u64) -> (TopicId, u16) {
    (TopicId((key >> 16) as u32), key as u16)
}

/// One row of a run.
pub trait Item: Copy + Send + Sync + 'static {
    fn key(&self) -> Key;
    fn store_time(&self) -> i64;
    /// `items` are in order.
    fn encode(items: &[Self]) -> Vec<u8>;
    /// The rows of the leaf at which a cursor stands.
    fn leaf(cursor: &Cursor<'_>) -> impl Future<Output = Result<Vec<Self>, Error>> + Send;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowItem {
    pub queue: u64,
    pub offset: u64,
    pub row: HotRow,
}

/// Consecutive rows of one queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub queue: u64,
    pub first: u64,
    pub rows: Vec<HotRow>,
}

impl Group {
    pub fn end(&self) -> u64 {
        self.first + self.rows.len() as u64
    }

    /// The rows from an offset on.
    pub fn rows_from(&self, from: u64) -> impl Iterator<Item = Row> + '_ {
        let skipped = from.saturating_sub(self.first).min(self.rows.len() as u64);
        let rows = self.rows.iter().skip(skipped as usize);
        (self.first + skipped..).zip(rows).map(|(offset, row)| row.at(offset))
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowBlock {
    pub groups: Vec<Group>,
}

impl Item for RowItem {
    fn key(&self) -> Key {
        (self.queue, self.offset)
    }

    fn store_time(&self) -> i64 {
        self.row.store_time
    }

    /// Groups: `queue | first offset | rows`, then of each row differences of position and time, length and tag, and its
    /// checksum if the group has them.
    fn encode(items: &[RowItem]) -> Vec<u8> {
        let mut out = Vec::with_capacity(items.len() * 16);
        let checked = |item: &RowItem| item.row.crc != 0;
        let follows = |a: &RowItem, b: &RowItem| {
            a.queue == b.queue && a.offset + 1 == b.offset && checked(a) == checked(b)
        };
        for group in items.chunk_by(follows) {
            let Some(first) = group.first() else { continue };
            varint::put(&mut out, first.queue | if checked(first) { CHECKED } else { 0 });
            varint::put(&mut out, first.offset);
            varint::put(&mut out, group.len() as u64);
            let (mut position, mut time) = (0, 0);
            for RowItem { row, .. } in group {
                varint::put_signed(&mut out, row.position.wrapping_sub(position) as i64);
                varint::put_signed(&mut out, row.store_time.wrapping_sub(time));
                varint::put(&mut out, u64::from(row.len));
                varint::put_signed(&mut out, row.tag);
                if row.crc != 0 {
                    out.extend_from_slice(&row.crc.to_be_bytes());
                }
                (position, time) = (row.position, row.store_time);
            }
        }
        out
    }

    async fn leaf(cursor: &Cursor<'_>) -> Result<Vec<RowItem>, Error> {
        Ok(cursor.rows().await?.items().collect())
    }
}

impl RowBlock {
    pub fn decode(mut from: &[u8]) -> Result<RowBlock, Corrupt> {
        let mut groups = Vec::new();
        while !from.is_empty() {
            groups.push(take_group(&mut from).ok_or_else(cut_short)?);
        }
        Ok(RowBlock { groups })
    }

    pub fn items(&self) -> impl Iterator<Item = RowItem> + '_ {
        self.groups.iter().flat_map(|group| {
            (group.first..).zip(&group.rows).map(|(offset, row)| RowItem {
                queue: group.queue,
                offset,
                row: *row,
            })
        })
    }
}

fn take_group(from: &mut &[u8]) -> Option<Group> {
    let queue = varint::take(from)?;
    let (checked, queue) = (queue & CHECKED != 0, queue & !CHECKED);
    let first = varint::take(from)?;
    let count = varint::take(from)?;
    first.checked_add(count)?;
    let mut rows = Vec::with_capacity(usize::try_from(count).ok()?.min(from.len() / 4));
    let (mut position, mut time) = (0u64, 0i64);
    for _ in 0..count {
        position = position.wrapping_add(varint::take_signed(from)? as u64);
        time = time.wrapping_add(varint::take_signed(from)?);
        let len = u32::try_from(varint::take(from)?).ok()?;
        let tag = varint::take_signed(from)?;
        let crc = if checked { take_crc(from)? } else { 0 };
        rows.push(HotRow { position, tag, store_time: time, len, crc });
    }
    Some(Group { queue, first, rows })
}

fn take_crc(from: &mut &[u8]) -> Option<u32> {
    let (crc, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(u32::from_be_bytes(*crc))
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyBlock {
    pub rows: Vec<KeyRow>,
}

impl Item for KeyRow {
    fn key(&self) -> Key {
        (self.hash, self.position)
    }

    fn store_time(&self) -> i64 {
        self.store_time
    }

    fn encode(items: &[KeyRow]) -> Vec<u8> {
        let mut out = Vec::with_capacity(items.len() * 16);
        let (mut hash, mut position, mut time) = (0, 0, 0);
        for row in items {
            varint::put(&mut out, row.hash.wrapping_sub(hash));
            varint::put_signed(&mut out, row.position.wrapping_sub(position) as i64);
            varint::put_signed(&mut out, row.store_time.wrapping_sub(time));
            (hash, position, time) = (row.hash, row.position, row.store_time);
        }
        out
    }

    async fn leaf(cursor: &Cursor<'_>) -> Result<Vec<KeyRow>, Error> {
        Ok(cursor.keys().await?.rows.clone())
    }
}

impl KeyBlock {
    pub fn decode(mut from: &[u8]) -> Result<KeyBlock, Corrupt> {
        let mut rows = Vec::with_capacity(from.len() / 8);
        let mut last = KeyRow { hash: 0, position: 0, store_time: 0 };
        while !from.is_empty() {
            last = take_key(&mut from, last).ok_or_else(cut_short)?;
            rows.push(last);
        }
        Ok(KeyBlock { rows })
    }
}

fn take_key(from: &mut &[u8], last: KeyRow) -> Option<KeyRow> {
    Some(KeyRow {
        hash: last.hash.wrapping_add(varint::take(from)?),
        position: last.position.wrapping_add(varint::take_signed(from)? as u64),
        store_time: last.store_time.wrapping_add(varint::take_signed(from)?),
    })
}

/// A block, the key of its first row, and when that was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pointer {
    pub key: Key,
    pub store_time: i64,
    pub at: Address,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PointerBlock {
    pub pointers: Vec<Pointer>,
}

impl PointerBlock {
    pub fn encode(pointers: &[Pointer], out: &mut Vec<u8>) {
        let mut last = 0;
        for pointer in pointers {
            varint::put(out, pointer.key.0.wrapping_sub(last));
            varint::put(out, pointer.key.1);
            varint::put_signed(out, pointer.store_time);
            varint::put(out, pointer.at.position);
            varint::put(out, u64::from(pointer.at.len));
            last = pointer.key.0;
        }
    }

    pub fn decode(mut from: &[u8]) -> Result<PointerBlock, Corrupt> {
        let mut pointers = Vec::with_capacity(from.len() / 8);
        let mut last = 0;
        while !from.is_empty() {
            let pointer = take_pointer(&mut from, last).ok_or_else(cut_short)?;
            last = pointer.key.0;
            pointers.push(pointer);
        }
        Ok(PointerBlock { pointers })
    }
}

/// Takes one pointer off the front; `last` is the first half of the key before it.
pub fn take_pointer(from: &mut &[u8], last: u64) -> Option<Pointer> {
    let key = (last.wrapping_add(varint::take(from)?), varint::take(from)?);
    let store_time = varint::take_signed(from)?;
    let position = varint::take(from)?;
    let len = u32::try_from(varint::take(from)?).ok()?;
    Some(Pointer { key, store_time, at: Address { position, len } })
}

fn cut_short() -> Corrupt {
    Corrupt("it is cut short".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row() -> impl Strategy<Value = RowItem> {
        (0u64..4, 0u64..50, any::<u64>(), any::<i64>(), any::<i64>(), any::<u32>(), 0u32..3).prop_map(
            |(queue, offset, position, tag, store_time, len, crc)| RowItem {
                queue,
                offset,
                row: HotRow { position, tag, store_time, len, crc },
            },
        )
    }

    #[test]
    fn the_golden_blocks_of_rows_are_read() {
        let item = |queue, offset, crc| RowItem {
            queue: queue_key(TopicId(7), queue),
            offset,
            row: HotRow { position: 1 << 40 | offset, tag: -5, store_time: 1_700_000_000_000, len: 300, crc },
        };
        let first = [item(1, 10, 0), item(1, 11, 0), item(2, 0, 0)];
        let golden: &[u8] = include_bytes!("../../../tests/golden/broker/checkpoint_rows.v1.bin");
        assert_eq!(RowItem::encode(&first), golden);
        assert_eq!(RowBlock::decode(golden).unwrap().items().collect::<Vec<_>>(), first);
        // Since version 2 rows have checksums.
        let second = [item(1, 10, 0), item(1, 11, 0xdead_beef), item(2, 0, 5)];
        let golden: &[u8] = include_bytes!("../../../tests/golden/broker/checkpoint_rows.v2.bin");
        assert_eq!(RowItem::encode(&second), golden);
        assert_eq!(RowBlock::decode(golden).unwrap().items().collect::<Vec<_>>(), second);
    }

    proptest! {
        #[test]
        fn rows_that_are_encoded_are_read(mut rows in prop::collection::vec(row(), 0..100)) {
            rows.sort_by_key(RowItem::key);
            rows.dedup_by_key(|row| row.key());
            let block = RowBlock::decode(&RowItem::encode(&rows)).unwrap();
            prop_assert_eq!(block.items().collect::<Vec<_>>(), rows);
        }

        #[test]
        fn keys_that_are_encoded_are_read(rows: Vec<(u64, u64, i64)>) {
            let mut rows: Vec<KeyRow> = rows
                .into_iter()
                .map(|(hash, position, store_time)| KeyRow { hash, position, store_time })
                .collect();
            rows.sort();
            prop_assert_eq!(KeyBlock::decode(&KeyRow::encode(&rows)).unwrap().rows, rows);
        }

        #[test]
        fn pointers_that_are_encoded_are_read(pointers: Vec<(u64, u64, i64, u64, u32)>) {
            let pointers: Vec<Pointer> = pointers
                .into_iter()
                .map(|(a, b, store_time, position, len)| Pointer {
                    key: (a, b), store_time, at: Address { position, len },
                })
                .collect();
            let mut out = Vec::new();
            PointerBlock::encode(&pointers, &mut out);
            prop_assert_eq!(PointerBlock::decode(&out).unwrap().pointers, pointers);
        }

        #[test]
        fn fuzz_a_block_is_read_or_refused(bytes: Vec<u8>) {
            let _ = RowBlock::decode(&bytes);
            let _ = KeyBlock::decode(&bytes);
            let _ = PointerBlock::decode(&bytes);
        }
    }
}
