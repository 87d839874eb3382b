//! What every [`Disk`] must do while nothing fails. Run on an empty one.

use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;

use crate::{Disk, File};

pub fn run(disk: &dyn Disk) -> io::Result<()> {
    a_new_file_is_zeroes(disk)?;
    what_was_written_is_read(disk)?;
    a_write_past_the_end_is_refused(disk)?;
    names_are_unique_and_flat(disk)?;
    a_rename_replaces(disk)?;
    a_removed_file_is_gone_but_open_handles_go_on(disk)?;
    space_is_told(disk)
}

fn read(file: &Arc<dyn File>, position: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0xee; len];
    let filled = file.read_at(position, &mut buffer)?;
    buffer.truncate(filled);
    assert_eq!(file.read(position, len)?, buffer);
    Ok(buffer)
}

fn write(file: &Arc<dyn File>, position: u64, bytes: &[u8]) -> io::Result<()> {
    file.write_at(position, &[IoSlice::new(bytes)])
}

fn kind<T>(result: io::Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

fn a_new_file_is_zeroes(disk: &dyn Disk) -> io::Result<()> {
    let file = disk.create("zeroes", 10_000)?;
    assert_eq!(file.size()?, 10_000);
    assert_eq!(read(&file, 0, 20_000)?, vec![0; 10_000]);
    assert_eq!(read(&file, 9_990, 100)?, vec![0; 10]);
    assert_eq!(read(&file, 10_000, 100)?, []);
    assert_eq!(read(&file, u64::from(u32::MAX), 1)?, []);
    assert_eq!(disk.create("empty", 0)?.size()?, 0);
    assert_eq!(disk.list()?, [("empty".into(), 0), ("zeroes".into(), 10_000)]);
    disk.remove("empty")?;
    disk.remove("zeroes")
}

fn what_was_written_is_read(disk: &dyn Disk) -> io::Result<()> {
    let file = disk.create("data", 100_000)?;
    let mut expected = vec![0; 100_000];
    for (round, position) in [0usize, 1, 511, 512, 4095, 4096, 5000, 99_000, 300].into_iter().enumerate() {
        let bytes: Vec<u8> = (0..1000).map(|i| (i * 7 + round * 13) as u8).collect();
        let (head, tail) = bytes.split_at(round * 100);
        file.write_at(position as u64, &[IoSlice::new(head), IoSlice::new(&[]), IoSlice::new(tail)])?;
        expected[position..position + 1000].copy_from_slice(&bytes);
    }
    file.write_at(7, &[])?;
    assert_eq!(read(&file, 0, 100_000)?, expected);
    let mut some = [0xee; 600];
    if let Some(filled) = file.try_read_at(99_700, &mut some)? {
        assert_eq!(some[..filled], expected[99_700..]);
    }
    file.sync()?;
    disk.sync_folder()?;
    let again = disk.open("data")?;
    assert_eq!(read(&again, 250, 70_000)?, &expected[250..70_250]);
    assert_eq!(again.size()?, 100_000);
    disk.remove("data")
}

fn a_write_past_the_end_is_refused(disk: &dyn Disk) -> io::Result<()> {
    let file = disk.create("fixed", 1000)?;
    write(&file, 990, &[1; 10])?;
    assert_eq!(kind(write(&file, 991, &[1; 10])), Some(ErrorKind::InvalidInput));
    assert_eq!(kind(write(&file, u64::MAX, &[1; 10])), Some(ErrorKind::InvalidInput));
    assert_eq!(file.size()?, 1000);
    disk.remove("fixed")
}

fn names_are_unique_and_flat(disk: &dyn Disk) -> io::Result<()> {
    disk.create("one", 10)?;
    assert_eq!(kind(disk.create("one", 10)), Some(ErrorKind::AlreadyExists));
    assert_eq!(kind(disk.open("two")), Some(ErrorKind::NotFound));
    assert_eq!(kind(disk.remove("two")), Some(ErrorKind::NotFound));
    assert_eq!(kind(disk.rename("two", "one")), Some(ErrorKind::NotFound));
    for name in ["", ".", "..", "a/b", "../one", "a\0b"] {
        assert_eq!(kind(disk.create(name, 1)), Some(ErrorKind::InvalidInput), "{name}");
        assert_eq!(kind(disk.open(name)), Some(ErrorKind::InvalidInput), "{name}");
    }
    disk.remove("one")
}

fn a_rename_replaces(disk: &dyn Disk) -> io::Result<()> {
    let old = disk.create("old", 4)?;
    write(&old, 0, b"old!")?;
    let new = disk.create("new", 4)?;
    write(&new, 0, b"new!")?;
    disk.rename("new", "old")?;
    disk.sync_folder()?;
    assert_eq!(disk.list()?, [("old".into(), 4)]);
    assert_eq!(read(&disk.open("old")?, 0, 4)?, b"new!");
    assert_eq!(read(&old, 0, 4)?, b"old!");
    disk.rename("old", "old")?;
    assert_eq!(read(&disk.open("old")?, 0, 4)?, b"new!");
    disk.remove("old")
}

fn a_removed_file_is_gone_but_open_handles_go_on(disk: &dyn Disk) -> io::Result<()> {
    let file = disk.create("gone", 100)?;
    disk.remove("gone")?;
    assert_eq!(disk.list()?, []);
    write(&file, 50, &[7; 50])?;
    file.sync()?;
    assert_eq!(read(&file, 50, 100)?, vec![7; 50]);
    assert_eq!(read(&disk.create("gone", 100)?, 50, 50)?, vec![0; 50]);
    disk.remove("gone")
}

fn space_is_told(disk: &dyn Disk) -> io::Result<()> {
    let space = disk.space()?;
    assert!(space.free > 0 && space.free <= space.total, "{space:?}");
    let too_much = space.total.saturating_mul(2).min(1 << 60);
    assert!(disk.create("huge", too_much).is_err());
    assert_eq!(disk.list()?, [], "what could not be allocated is not left behind");
    Ok(())
}
