//! `stratamq bench disk`: what a disk alone makes of a load. A server that syncs before it acknowledges is not quicker.
//!
//! One file, one thread and no sockets: what is due is written and synced, and what becomes due meanwhile comes with the
//! next sync. Disks of shared machines have bad minutes; held against this, a server's figures can still be read.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;

use super::figures::{self, About, Figures, Measured};
use super::pace::{Beat, Schedule};
use super::storage::Probe;
use super::{load, machine, sides};
use crate::config::Size;
use crate::error::{Error, Outcome};

#[derive(Args)]
pub struct Disk {
    /// A folder on the disk
    #[arg(long, value_name = "DIR")]
    folder: PathBuf,
    /// Entries per second, at their intended times
    #[arg(long, value_name = "N", default_value_t = 2000)]
    rate: u64,
    /// Bytes of an entry
    #[arg(long, value_name = "BYTES", default_value = "1KB")]
    size: Size,
    /// How long to measure
    #[arg(long, value_name = "S", default_value_t = 10)]
    seconds: u64,
    /// One JSON object, for machines
    #[arg(long)]
    json: bool,
}

/// Written over and over, as a server does with the space of segments that it has given up.
const SPACE: usize = 64 << 20;
/// What is written and synced at once, at most.
const GROUP: usize = 1 << 20;

impl Disk {
    pub async fn run(&self) -> Outcome {
        let size = self.size.0 as usize;
        if self.rate == 0 || self.seconds == 0 || !(1..=GROUP).contains(&size) {
            return Err(Error::Usage(format!(
                "--rate and --seconds are at least 1, --size from 1 to {GROUP}"
            )));
        }
        let busy_before = machine::busy().await;
        let probe = Probe::begin(self.folder.clone())?;
        let file = space(&self.folder)?;
        let measured = measure(&file, self.rate, size, Duration::from_secs(self.seconds)).await?;
        let (disk, metadata) = (probe.end()?, self.folder.display().to_string());
        let rounds = vec![measured.per_second()];
        let about = About { side: "disk".into(), metadata, copies: 1, rounds, disk, busy_before };
        sides::show(&[Figures::of(about, &measured)], self.json)
    }
}

/// A file without a name, so that nothing is left behind however this ends.
fn space(folder: &Path) -> Outcome<File> {
    let path = folder.join(format!(".stratamq-disk-{}", std::process::id()));
    let made = (|| {
        let file = OpenOptions::new().create_new(true).write(true).open(&path)?;
        fs::remove_file(&path)?;
        let block = load::payload(GROUP);
        (0..SPACE / GROUP).try_for_each(|at| file.write_all_at(&block, (at * GROUP) as u64))?;
        file.sync_all()?;
        Ok(file)
    })();
    made.map_err(|error: std::io::Error| Error::cannot(format!("write {}", path.display()), error))
}

async fn measure(file: &File, rate: u64, size: usize, time: Duration) -> Outcome<Measured> {
    let failed = |error| Error::cannot("write to the disk", error);
    let group = load::payload(GROUP);
    let (mut latencies, mut due, mut at) = (figures::latencies()?, Vec::new(), 0);
    let (mut schedule, cpu) = (Schedule::new(rate), machine::own_cpu()?);
    let started = Instant::now();
    let beat = Beat::every(schedule.beat())?;
    while started.elapsed() < time {
        let now = started.elapsed();
        due.extend(std::iter::from_fn(|| schedule.due(now)).take(GROUP / size));
        if due.is_empty() {
            beat.next().await?;
            continue;
        }
        let bytes = &group[..due.len() * size];
        at = if at + bytes.len() > SPACE { 0 } else { at };
        file.write_all_at(bytes, at as u64).and_then(|()| file.sync_data()).map_err(failed)?;
        at += bytes.len();
        let now = started.elapsed();
        for intended in due.drain(..) {
            let took = now.saturating_sub(intended).as_micros();
            latencies.saturating_record(u64::try_from(took).unwrap_or(u64::MAX));
        }
    }
    let entries = latencies.len();
    Ok(Measured {
        latencies,
        entries,
        payload_bytes: entries * size as u64,
        took: started.elapsed(),
        errors: 0,
        loader_cpu: machine::own_cpu()?.saturating_sub(cpu),
        bookies: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_that_is_due_is_counted_and_no_file_is_left() -> Outcome {
        let folder = tempfile::tempdir().map_err(|error| Error::cannot("make a folder", error))?;
        let file = space(folder.path())?;
        assert_eq!(fs::read_dir(folder.path()).map(Iterator::count).ok(), Some(0));
        let measured = measure(&file, 1000, 1024, Duration::from_millis(200)).await?;
        assert!((100..=201).contains(&measured.entries), "{}", measured.entries);
        assert_eq!(measured.payload_bytes, measured.entries * 1024);
        Ok(())
    }
}
