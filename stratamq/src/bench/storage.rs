//! The file system under a run, and how long it takes to make a little durable.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::figures::DiskProbe;
use super::machine;
use crate::error::{Error, Outcome};

/// Tries of the probe: 200 syncs take some 30 ms on a good disk.
const TRIES: usize = 200;
const BLOCK: usize = 4096;

/// The folder to probe: the one that is named, else that of the bookies' data, else the current one.
pub fn probed(named: Option<&PathBuf>, pids: &[u32]) -> Outcome<PathBuf> {
    match (named, pids.first()) {
        (Some(folder), _) => Ok(folder.clone()),
        (None, Some(pid)) => machine::data_folder(*pid).ok_or_else(|| {
            Error::Failed(format!(
                "process {pid} has no file open for writing: name its disk with --disk DIR"
            ))
        }),
        (None, None) => {
            std::env::current_dir().map_err(|error| Error::cannot("find the current folder", error))
        }
    }
}

/// The type of the file system that holds `folder`. Memory is refused: it hides the whole cost of durability.
fn file_system(folder: &Path) -> Outcome<String> {
    let folder =
        folder.canonicalize().map_err(|error| Error::cannot(format!("use {}", folder.display()), error))?;
    let mounts = fs::read_to_string("/proc/self/mountinfo")
        .map_err(|error| Error::cannot("read /proc/self/mountinfo", error))?;
    let kind = kind_of(&folder, &mounts).ok_or_else(|| {
        Error::Failed(format!("no mount holds {}: name the bookies' disk with --disk", folder.display()))
    })?;
    if matches!(kind.as_str(), "tmpfs" | "ramfs" | "devtmpfs") {
        return Err(Error::Failed(format!(
            "{} is on {kind}, where fdatasync costs nothing: figures from there mean nothing. Put the bookies' data \
             on a disk, and name a folder of it with --disk",
            folder.display()
        )));
    }
    Ok(kind)
}

fn kind_of(folder: &Path, mounts: &str) -> Option<String> {
    let found = mounts.lines().filter_map(|line| {
        let (mount, about) = line.split_once(" - ")?;
        let point = PathBuf::from(mount.split(' ').nth(4)?.replace("\\040", " "));
        folder.starts_with(&point).then(|| (point.components().count(), about.split(' ').next()))
    });
    // Of two mounts on one point the later one is seen.
    found.max_by_key(|(depth, _)| *depth)?.1.map(str::to_string)
}

/// The disk under a run, looked at before and after it.
pub struct Probe {
    folder: PathBuf,
    file_system: String,
    before: f64,
}

impl Probe {
    pub fn begin(folder: PathBuf) -> Outcome<Probe> {
        let file_system = file_system(&folder)?;
        let before = fdatasync_p50_us(&folder)?;
        Ok(Probe { folder, file_system, before })
    }

    pub fn end(self) -> Outcome<DiskProbe> {
        Ok(DiskProbe {
            fdatasync_p50_us_before: self.before.round(),
            fdatasync_p50_us_after: fdatasync_p50_us(&self.folder)?.round(),
            folder: self.folder.display().to_string(),
            file_system: self.file_system,
        })
    }
}

/// The median of some writes of 4 KB, each followed by fdatasync, in µs.
fn fdatasync_p50_us(folder: &Path) -> Outcome<f64> {
    let path = folder.join(format!(".stratamq-probe-{}", std::process::id()));
    let failed = |error| Error::cannot(format!("probe the disk with {}", path.display()), error);
    let file = OpenOptions::new().create_new(true).write(true).open(&path).map_err(failed)?;
    let measured = (|| {
        let block = [7; BLOCK];
        (0..TRIES).try_for_each(|i| file.write_all_at(&block, (i * BLOCK) as u64))?;
        file.sync_all()?;
        let mut took = Vec::with_capacity(TRIES);
        for i in 0..TRIES {
            let started = Instant::now();
            file.write_all_at(&block, (i * BLOCK) as u64)?;
            file.sync_data()?;
            took.push(started.elapsed());
        }
        took.sort();
        Ok(took[TRIES / 2].as_secs_f64() * 1e6)
    })();
    let removed = fs::remove_file(&path);
    let p50 = measured.map_err(failed)?;
    removed.map_err(failed)?;
    Ok(p50)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "20 1 8:1 / / rw,relatime - ext4 /dev/vda rw\n21 20 0:18 / /dev/shm rw - tmpfs tmpfs rw\n\
                          22 20 0:19 / /my\\040disk rw shared:1 - xfs /dev/vdb rw\n";

    #[test]
    fn the_deepest_mount_holds_a_folder() {
        let kind = |folder: &str| kind_of(Path::new(folder), MOUNTS);
        assert_eq!(kind("/home/x").as_deref(), Some("ext4"));
        assert_eq!(kind("/dev/shm/x").as_deref(), Some("tmpfs"));
        assert_eq!(kind("/my disk").as_deref(), Some("xfs"));
    }

    #[test]
    fn memory_is_refused() {
        if Path::new("/dev/shm").exists() {
            assert!(
                file_system(Path::new("/dev/shm")).is_err_and(|error| error.to_string().contains("tmpfs"))
            );
        }
    }
}
