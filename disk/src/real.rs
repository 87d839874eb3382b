//! A folder of the machine.

use std::fs::{self, File as OsFile, OpenOptions, TryLockError};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::buffer::spare_capacity;
use rustix::fs::{FallocateFlags, fallocate, fdatasync, statvfs};
use rustix::io::{Errno, ReadWriteFlags, pread, preadv2, pwritev};

use crate::{Disk, File, Space};

/// Held while a process uses the folder; its content names the process, for people.
const LOCK: &str = "lock";
/// Linux takes no more parts in one call (IOV_MAX).
const MAX_PARTS: usize = 1024;

/// A folder that this process alone uses.
pub struct Folder {
    path: PathBuf,
    /// For syncing names.
    handle: OsFile,
    /// The lock ends when this closes.
    _lock: OsFile,
}

impl Folder {
    /// Opens `path`, makes it if it is not there, and locks it against other processes.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Folder> {
        let path = path.into();
        fs::create_dir_all(&path).map_err(|e| named(e, "cannot make the folder", &path))?;
        let handle = OsFile::open(&path).map_err(|e| named(e, "cannot open the folder", &path))?;
        let lock = lock(&path)?;
        if let Some(parent) = path.canonicalize()?.parent() {
            OsFile::open(parent)?.sync_all()?;
        }
        Ok(Folder { path, handle, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn at(&self, name: &str) -> io::Result<PathBuf> {
        crate::checked_name(name)?;
        if name == LOCK {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the name 'lock' is taken by the folder's lock",
            ));
        }
        Ok(self.path.join(name))
    }
}

fn named(error: io::Error, what: &str, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("{what} {}: {error}", path.display()))
}

fn lock(folder: &Path) -> io::Result<OsFile> {
    let path = folder.join(LOCK);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|e| named(e, "cannot open the lock", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // The holder may be writing its number just now; the number only helps the reader of the message.
            let _ = (&mut file).take(20).read_to_string(&mut holder);
            let holder = match holder.trim().parse::<u32>() {
                Ok(pid) => format!("process {pid}"),
                Err(_) => "another process".into(),
            };
            return Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                format!(
                    "the folder {} is in use by {holder}: stop it, or choose another folder",
                    folder.display()
                ),
            ));
        }
        Err(TryLockError::Error(error)) => return Err(named(error, "cannot lock", &path)),
    }
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())?;
    Ok(file)
}

impl Disk for Folder {
    fn create(&self, name: &str, size: u64) -> io::Result<Arc<dyn File>> {
        let path = self.at(name)?;
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        let allocated = match size {
            0 => Ok(()),
            _ => allocate(&file, size),
        };
        // The size is no part of the name: a synced folder alone would not keep it.
        if let Err(error) = allocated.and_then(|()| file.sync_all()) {
            fs::remove_file(&path)?;
            return Err(named(error, "cannot allocate", &path));
        }
        Ok(Arc::new(RealFile { file, size }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let path = self.at(name)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|e| named(e, "cannot open", &path))?;
        let size = file.metadata()?.len();
        Ok(Arc::new(RealFile { file, size }))
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let about = entry.metadata()?;
            // Folders (an index's) and names that are not text are not ours.
            if let (true, Ok(name)) = (about.is_file(), entry.file_name().into_string()) {
                names.push((name, about.len()));
            }
        }
        names.retain(|(name, _)| name != LOCK);
        names.sort();
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.at(from)?, self.at(to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.at(name)?)
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    fn space(&self) -> io::Result<Space> {
        let about = statvfs(&self.path)?;
        let unit = if about.f_frsize == 0 { about.f_bsize } else { about.f_frsize };
        Ok(Space { free: about.f_bavail.saturating_mul(unit), total: about.f_blocks.saturating_mul(unit) })
    }
}

fn allocate(file: &OsFile, size: u64) -> io::Result<()> {
    loop {
        match fallocate(file, FallocateFlags::empty(), 0, size) {
            Err(Errno::INTR) => {}
            done => return Ok(done?),
        }
    }
}

struct RealFile {
    file: OsFile,
    size: u64,
}

impl File for RealFile {
    fn write_at(&self, position: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        crate::checked_range(position, parts, self.size)?;
        write_all(parts, |done, parts| match pwritev(&self.file, parts, position + done) {
            Err(Errno::INTR) => Ok(None),
            written => Ok(Some(written? as u64)),
        })
    }

    fn sync(&self) -> io::Result<()> {
        loop {
            match fdatasync(&self.file) {
                Err(Errno::INTR) => {}
                done => return Ok(done?),
            }
        }
    }

    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read_at(&mut buffer[filled..], position.saturating_add(filled as u64)) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    // Nothing is zeroed first: that would take as long as reading from the page cache.
    fn read(&self, position: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut buffer = Vec::with_capacity(length);
        while buffer.len() < length {
            let at = position.saturating_add(buffer.len() as u64);
            match pread(&self.file, spare_capacity(&mut buffer), at) {
                Ok(0) => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        buffer.truncate(length);
        Ok(buffer)
    }

    fn try_read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let wanted = (buffer.len() as u64).min(self.size.saturating_sub(position)) as usize;
        let Some(within) = buffer.get_mut(..wanted) else { return Ok(None) };
        if wanted == 0 {
            return Ok(Some(0));
        }
        match preadv2(&self.file, &mut [IoSliceMut::new(within)], position, ReadWriteFlags::NOWAIT) {
            Ok(n) if n == wanted => Ok(Some(n)),
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            // This file system cannot say whether it would wait.
            Err(Errno::OPNOTSUPP) => self.read_at(position, buffer).map(Some),
            Err(error) => Err(error.into()),
        }
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}

/// Writes all parts through `write`, which is told how many bytes are behind it and may take fewer than it is given
/// (or `None`: interrupted).
fn write_all(
    parts: &[IoSlice<'_>],
    mut write: impl FnMut(u64, &[IoSlice<'_>]) -> io::Result<Option<u64>>,
) -> io::Result<()> {
    let mut done = 0;
    let mut left: Vec<IoSlice<'_>> = parts.iter().filter(|part| !part.is_empty()).copied().collect();
    let mut left = left.as_mut_slice();
    while !left.is_empty() {
        let now = left.len().min(MAX_PARTS);
        match write(done, &left[..now])? {
            None => {}
            Some(0) => return Err(io::ErrorKind::WriteZero.into()),
            Some(written) => {
                IoSlice::advance_slices(&mut left, written as usize);
                done += written;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> io::Result<(tempfile::TempDir, Folder)> {
        let home = tempfile::tempdir()?;
        let folder = Folder::open(home.path().join("data"))?;
        Ok((home, folder))
    }

    #[test]
    fn conformance_of_the_folder() -> io::Result<()> {
        let (_home, folder) = folder()?;
        crate::suite::run(&folder)
    }

    #[test]
    fn short_writes_are_continued() -> io::Result<()> {
        let mut taken: Vec<u8> = Vec::new();
        let parts: Vec<Vec<u8>> =
            (0..3000u32).map(|i| i.to_be_bytes()[..(i % 5) as usize % 4].to_vec()).collect();
        let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        write_all(&slices, |done, parts| {
            assert_eq!(done, taken.len() as u64);
            assert!(parts.len() <= MAX_PARTS);
            let some: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).take(7).collect();
            taken.extend(&some);
            Ok(Some(some.len() as u64))
        })?;
        assert_eq!(taken, parts.concat());
        Ok(())
    }

    #[test]
    fn a_folder_in_use_is_refused_and_names_the_process() -> io::Result<()> {
        let (_home, folder) = folder()?;
        let Err(error) = Folder::open(folder.path()) else { panic!("a second lock was given") };
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
        let path = folder.path().to_owned();
        drop(folder);
        Folder::open(path).map(drop)
    }

    #[test]
    fn the_lock_and_folders_are_not_listed() -> io::Result<()> {
        let (_home, folder) = folder()?;
        fs::create_dir(folder.path().join("index"))?;
        assert_eq!(folder.list()?, []);
        assert!(folder.create("lock", 1).is_err() && folder.remove("lock").is_err());
        Ok(())
    }
}
