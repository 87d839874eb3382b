//! What processes cost, from /proc.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use super::figures::Cost;
use crate::error::{Error, Outcome};

/// Linux has counted CPU time in hundredths of a second for user space ever since.
const TICK: Duration = Duration::from_millis(10);

/// Counters of some processes at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    cpu: Duration,
    written: u64,
    read: u64,
}

fn read(pid: &str, file: &str) -> Outcome<String> {
    let path = format!("/proc/{pid}/{file}");
    fs::read_to_string(&path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Error::Failed(format!("--pid {pid}: there is no such process")),
        ErrorKind::PermissionDenied => {
            Error::Failed(format!("--pid {pid}: {path} may only be read by its owner"))
        }
        _ => Error::cannot(format!("read {path}"), error),
    })
}

fn cpu_of(pid: &str) -> Outcome<Duration> {
    let text = read(pid, "stat")?;
    // The name of the process, in parentheses, may hold anything.
    let after_name = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let mut fields =
        after_name.split_ascii_whitespace().skip(11).map(|field| field.parse::<u32>().unwrap_or(0));
    let ticks = fields.next().unwrap_or(0) + fields.next().unwrap_or(0);
    Ok(TICK * ticks)
}

fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.trim_start_matches(':').split_ascii_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// CPU time of this process.
pub fn own_cpu() -> Outcome<Duration> {
    cpu_of("self")
}

pub fn reading(pids: &[u32]) -> Outcome<Reading> {
    let mut sum = Reading::default();
    for pid in pids {
        let pid = pid.to_string();
        sum.cpu += cpu_of(&pid)?;
        let io = read(&pid, "io")?;
        sum.written += field(&io, "write_bytes");
        sum.read += field(&io, "read_bytes");
    }
    Ok(sum)
}

/// The greatest resident set of these processes.
pub fn rss_bytes(pids: &[u32]) -> u64 {
    let rss = |pid: &u32| read(&pid.to_string(), "status").map_or(0, |text| field(&text, "VmRSS") * 1024);
    pids.iter().map(rss).max().unwrap_or(0)
}

impl Reading {
    pub fn cost_until(self, later: Reading, rss_bytes: u64) -> Cost {
        Cost {
            cpu: later.cpu.saturating_sub(self.cpu),
            written_bytes: later.written - self.written,
            read_bytes: later.read - self.read,
            rss_bytes,
        }
    }
}

/// Jiffies of all CPUs: (all, idle).
fn jiffies() -> Option<(u64, u64)> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let mut fields = text.lines().next()?.split_ascii_whitespace().skip(1).map(|field| field.parse::<u64>());
    let fields: Vec<u64> = std::iter::from_fn(|| fields.next()?.ok()).collect();
    Some((fields.iter().take(8).sum(), fields.get(3)? + fields.get(4)?))
}

/// The share of all CPUs that is in use, over half a second in which the caller does nothing.
pub async fn busy() -> f64 {
    let before = jiffies();
    tokio::time::sleep(Duration::from_millis(500)).await;
    match (before, jiffies()) {
        (Some((all, idle)), Some((all_later, idle_later))) if all_later > all => {
            1.0 - (idle_later - idle) as f64 / (all_later - all) as f64
        }
        _ => 0.0,
    }
}

/// The folder in which a process keeps the largest file that it has open for writing.
pub fn data_folder(pid: u32) -> Option<PathBuf> {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let largest = files.flatten().filter_map(|file| {
        let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{}", file.file_name().to_str()?)).ok()?;
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
        let writes = flags.trim().ends_with(['1', '2']);
        let about = fs::metadata(file.path()).ok()?;
        (writes && about.is_file()).then(|| Some((about.len(), fs::read_link(file.path()).ok()?)))?
    });
    largest.max()?.1.parent().map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_can_be_read() {
        let pid = std::process::id();
        assert!(rss_bytes(&[pid]) > 100_000);
        assert!(reading(&[pid]).is_ok() && own_cpu().is_ok() && jiffies().is_some());
    }

    #[test]
    fn a_process_that_is_not_there_is_named() {
        let pid = u32::MAX;
        assert!(reading(&[pid]).is_err_and(|error| error.to_string().contains(&pid.to_string())));
    }

    #[test]
    fn a_field_is_found_by_its_name() {
        assert_eq!(field("VmPeak:\t  9 kB\nVmRSS:\t 1234 kB\n", "VmRSS"), 1234);
        assert_eq!(field("rchar: 1\nwrite_bytes: 77\n", "write_bytes"), 77);
    }
}
