//! What every index store does; run on all of them.

use std::io;

use super::store::{Change, IndexStore};

fn put(key: &[u8], value: &[u8]) -> Change {
    Change::Put(key.to_vec(), value.to_vec())
}

fn add(key: &[u8], value: &[u8]) -> Change {
    Change::Append(key.to_vec(), value.to_vec())
}

/// On an empty store.
pub fn run(store: &dyn IndexStore) -> io::Result<()> {
    reads_see_earlier_writes(store)?;
    ranges_are_ordered_and_half_open(store)?;
    changes_of_a_batch_apply_in_order(store)?;
    values_grow_over_flushes(store)
}

fn reads_see_earlier_writes(store: &dyn IndexStore) -> io::Result<()> {
    assert_eq!(store.get(b"a")?, None);
    store.write(vec![put(b"a", b"1"), put(b"b", b"2")])?;
    assert_eq!(store.get(b"a")?, Some(b"1".to_vec()));
    store.flush()?;
    store.write(vec![put(b"a", b"3")])?;
    assert_eq!(store.get(b"a")?, Some(b"3".to_vec()));
    store.write(vec![Change::Remove(b"a".to_vec()), Change::Remove(b"b".to_vec())])?;
    assert_eq!(store.get(b"a")?, None);
    Ok(())
}

fn ranges_are_ordered_and_half_open(store: &dyn IndexStore) -> io::Result<()> {
    store.write(vec![put(b"m2", b"y"), put(b"m1", b"x"), put(b"m3", b"z"), put(b"n", b"w")])?;
    let pair = |key: &[u8], value: &[u8]| (key.to_vec(), value.to_vec());
    assert_eq!(store.scan(b"m1", b"m3", 10)?, [pair(b"m1", b"x"), pair(b"m2", b"y")]);
    assert_eq!(store.scan(b"m", b"n", 2)?, [pair(b"m1", b"x"), pair(b"m2", b"y")]);
    assert_eq!(store.scan(b"m3", b"m1", 10)?, []);
    assert_eq!(store.last(b"m", b"m3")?, Some(pair(b"m2", b"y")));
    assert_eq!(store.last(b"p", b"q")?, None);
    store.write(vec![Change::RemoveRange(b"m1".to_vec(), b"m3".to_vec())])?;
    assert_eq!(store.scan(b"m", b"z", 10)?, [pair(b"m3", b"z"), pair(b"n", b"w")]);
    Ok(())
}

fn changes_of_a_batch_apply_in_order(store: &dyn IndexStore) -> io::Result<()> {
    store.write(vec![
        add(b"o", b"old"),
        Change::RemoveRange(b"o".to_vec(), b"p".to_vec()),
        add(b"o", b"new"),
    ])?;
    assert_eq!(store.get(b"o")?, Some(b"new".to_vec()));
    store.write(vec![put(b"o", b"1"), add(b"o", b"2"), put(b"o", b"3")])?;
    assert_eq!(store.get(b"o")?, Some(b"3".to_vec()));
    Ok(())
}

fn values_grow_over_flushes(store: &dyn IndexStore) -> io::Result<()> {
    for part in [b"a", b"b", b"c"] {
        store.write(vec![add(b"grow", part)])?;
        store.flush()?;
    }
    assert_eq!(store.get(b"grow")?, Some(b"abc".to_vec()));
    assert_eq!(store.scan(b"grow", b"grox", 9)?, [(b"grow".to_vec(), b"abc".to_vec())]);
    Ok(())
}

/// A process dies after a flush, and with unflushed writes: batches stay whole, and in order.
pub fn survives_a_process<S: IndexStore>(open: impl Fn() -> io::Result<S>) -> io::Result<()> {
    let store = open()?;
    store.write(vec![put(b"x", b"1"), put(b"y", b"1")])?;
    store.flush()?;
    store.write(vec![put(b"x", b"2"), put(b"y", b"2")])?;
    store.write(vec![put(b"x", b"3"), put(b"y", b"3")])?;
    drop(store);
    let store = open()?;
    let (x, y) = (store.get(b"x")?, store.get(b"y")?);
    assert!(x.is_some());
    assert_eq!(x, y);
    Ok(())
}
