//! The one way to a disk. Whatever must survive a crash is written through [`Disk`], so that the simulation can
//! lose power between any two calls.
//!
//! Implementations: [`real`] (a folder) and [`simulated`] (memory, with power loss, torn writes, bit flips and
//! errors). One suite of tests is run on both.

pub mod real;
pub mod simulated;
#[cfg(test)]
mod suite;

use std::io::{self, IoSlice};
use std::sync::Arc;

/// A folder of files, flat: names have no separators.
pub trait Disk: Send + Sync + 'static {
    /// Makes a file of `size` bytes with all its space allocated; its content reads as zeroes. The file MUST
    /// survive power loss once [`Disk::sync_folder`] has returned. An existing name is an error.
    fn create(&self, name: &str, size: u64) -> io::Result<Arc<dyn File>>;

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Names with sizes, sorted by name.
    fn list(&self) -> io::Result<Vec<(String, u64)>>;

    /// Replaces `to` in one step. Durable after [`Disk::sync_folder`].
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Durable after [`Disk::sync_folder`]; before that, power loss may bring the file back.
    fn remove(&self, name: &str) -> io::Result<()>;

    fn sync_folder(&self) -> io::Result<()>;

    fn space(&self) -> io::Result<Space>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    pub free: u64,
    pub total: u64,
}

/// A file of fixed size. Writes are volatile until [`File::sync`] returns; power loss may keep any part of them, in
/// any order, torn at 512 bytes. After a failed write or sync nothing may be assumed of what it covered: no retry.
pub trait File: Send + Sync {
    fn write_at(&self, position: u64, parts: &[IoSlice<'_>]) -> io::Result<()>;

    /// Makes all completed writes durable (fdatasync).
    fn sync(&self) -> io::Result<()>;

    /// Fills `buffer` from `position`; shorter only at the end of the file.
    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Up to `length` bytes from `position` in memory of their own; fewer only at the end of the file.
    fn read(&self, position: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; length];
        let got = self.read_at(position, &mut buffer)?;
        buffer.truncate(got);
        Ok(buffer)
    }

    /// As [`File::read_at`] without waiting for the disk: `None` if it would have to (then `buffer` holds anything). Where the
    /// file system cannot tell, it waits.
    fn try_read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        self.read_at(position, buffer).map(Some)
    }

    fn size(&self) -> io::Result<u64>;
}

/// A name of a flat folder: no separators, not empty, nothing that names a folder.
fn checked_name(name: &str) -> io::Result<()> {
    match name {
        "" | "." | ".." => Err(invalid(format!("'{name}' is not a file name"))),
        _ if name.contains(['/', '\0']) => {
            Err(invalid(format!("'{name}' is not a file name of a flat folder")))
        }
        _ => Ok(()),
    }
}

/// Files are of fixed size: a write past the end is a bug of the caller.
fn checked_range(position: u64, parts: &[IoSlice<'_>], size: u64) -> io::Result<()> {
    let len: u64 = parts.iter().map(|part| part.len() as u64).sum();
    match position.checked_add(len) {
        Some(end) if end <= size => Ok(()),
        _ => Err(invalid(format!(
            "a write of {len} bytes at {position} passes the end of a file of {size} bytes"
        ))),
    }
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}
