//! A small file system of its own for one bookie, so that it can be full without harm to the machine.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::run;

/// A loop-mounted image. Dropped, it is unmounted; the image goes with its folder.
pub struct Volume {
    mount: PathBuf,
}

impl Volume {
    pub fn new(image: &Path, mount: &Path, bytes: u64) -> Result<Volume> {
        File::create(image)?.set_len(bytes)?;
        fs::create_dir_all(mount)?;
        run(Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(image))?;
        run(Command::new("mount").args(["-o", "loop"]).args([image, mount]))
            .context("mount a small file system")?;
        Ok(Volume { mount: mount.to_owned() })
    }

    fn ballast(&self) -> PathBuf {
        self.mount.join("ballast")
    }

    /// Takes all the space there is, but for `leave` bytes.
    pub fn fill(&self, leave: u64) -> Result<()> {
        let stat = rustix::fs::statvfs(&self.mount)?;
        let take = (stat.f_bavail * stat.f_frsize).saturating_sub(leave);
        run(Command::new("fallocate").args(["-l", &take.to_string()]).arg(self.ballast())).map(|_| ())
    }

    pub fn drain(&self) -> Result<()> {
        Ok(fs::remove_file(self.ballast())?)
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // Lazily: a process that is about to be killed may still have files open.
        let _ = Command::new("umount").arg("-l").arg(&self.mount).status();
    }
}
