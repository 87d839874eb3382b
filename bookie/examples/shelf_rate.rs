//! How fast a shelf takes entries, and what each costs.
//!
//! `shelf_rate FOLDER [--entry BYTES] [--group ENTRIES] [--ledgers N] [--seconds S]` writes groups of
//! entries as a busy bookie does, then reads them back. `shelf_rate FOLDER extents` compares syncs into a file that was
//! only allocated with syncs into one that was written before (a recycled segment).

use std::fs;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bookie::index::RocksIndex;
use bookie::shelf::{Config, Reader, Staged};
use bookie::{Duty, Shelf};
use bytes::Bytes;
use disk::Disk;
use disk::real::Folder;
use protocol::bookie::{AddOptions, Answer, Body, Outcome, Request};
use protocol::entry::{Header, MasterKey};
use protocol::{EntryId, LedgerId};

type Failed = Box<dyn std::error::Error>;

/// Counts answers; a refusal ends the run.
struct Counted(Arc<AtomicU64>);

impl Duty for Counted {
    fn answer(self, outcome: Outcome) {
        if outcome == Ok(Answer::Added) {
            self.0.fetch_add(1, Ordering::Relaxed);
        } else {
            eprintln!("an add was answered {outcome:?}");
        }
    }
}

struct Settings {
    folder: PathBuf,
    entry: usize,
    group: usize,
    ledgers: i64,
    seconds: f64,
    extents: bool,
}

fn settings() -> Result<Settings, Failed> {
    let mut words = std::env::args().skip(1);
    let folder = words.next().ok_or("the folder to write in is missing")?.into();
    let mut settings = Settings { folder, entry: 1024, group: 500, ledgers: 1, seconds: 5.0, extents: false };
    while let Some(word) = words.next() {
        let mut number = || words.next().ok_or(format!("a number is missing after {word}"));
        match word.as_str() {
            "--entry" => settings.entry = number()?.parse()?,
            "--group" => settings.group = number()?.parse()?,
            "--ledgers" => settings.ledgers = number()?.parse()?,
            "--seconds" => settings.seconds = number()?.parse()?,
            "extents" => settings.extents = true,
            _ => return Err(format!("what is '{word}'?").into()),
        }
    }
    Ok(settings)
}

/// Time this thread was on a CPU.
fn on_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn rss_mb() -> Result<f64, Failed> {
    let text = fs::read_to_string("/proc/self/statm")?;
    let pages: f64 = text.split_whitespace().nth(1).ok_or("no statm")?.parse()?;
    Ok(pages * 4096.0 / 1e6)
}

fn percentiles(mut micros: Vec<f64>) -> String {
    micros.sort_by(f64::total_cmp);
    let at = |p: f64| micros.get((micros.len() as f64 * p) as usize).copied().unwrap_or(0.0);
    format!("p50 {:.0} p99 {:.0} p99.9 {:.0} max {:.0} us", at(0.5), at(0.99), at(0.999), at(1.0 - 1e-9))
}

fn extents(folder: &Path) -> Result<(), Failed> {
    const SIZE: u64 = 256 << 20;
    let disk = Folder::open(folder)?;
    for step in [4096usize, 65536, 1 << 20] {
        let file = disk.create("extents", SIZE)?;
        disk.sync_folder()?;
        let data = vec![0x5a; step];
        for state in ["allocated only", "written before"] {
            let (mut times, mut at) = (Vec::new(), 0);
            let begin = Instant::now();
            let cpu = on_cpu();
            while at + step as u64 <= SIZE && begin.elapsed() < Duration::from_secs(4) {
                let start = Instant::now();
                file.write_at(at, &[IoSlice::new(&data)])?;
                file.sync()?;
                times.push(start.elapsed().as_secs_f64() * 1e6);
                at += step as u64;
            }
            let megabytes = at as f64 / 1e6;
            println!(
                "{:>7} bytes, {state}: {} ({:.0} MB/s, {:.2} us CPU per KB)",
                step,
                percentiles(times),
                megabytes / begin.elapsed().as_secs_f64(),
                (on_cpu() - cpu).as_secs_f64() * 1e6 / (megabytes * 1e6 / 1024.0)
            );
            // The rest is written too, so that the second round finds all of it written.
            while at + step as u64 <= SIZE {
                file.write_at(at, &[IoSlice::new(&data)])?;
                at += step as u64;
            }
            file.sync()?;
        }
        disk.remove("extents")?;
    }
    Ok(())
}

fn body(ledger: LedgerId, entry: EntryId, payload: &Bytes) -> Body {
    let mut bytes = Vec::with_capacity(payload.len() + 36);
    let header = Header { ledger, entry, lac: EntryId(entry.0 - 1), length: 0 };
    // As a client sends it; the digest is not the bookie's business.
    bytes.extend_from_slice(&header.encode());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(payload);
    Bytes::from(bytes).into()
}

fn write(settings: &Settings, shelf: &mut Shelf<Counted>) -> Result<u64, Failed> {
    let payload = Bytes::from(vec![0x5a; settings.entry.saturating_sub(36)]);
    let key = MasterKey::of(b"");
    let answered = Arc::new(AtomicU64::new(0));
    let (mut times, mut flushes) = (Vec::new(), Vec::new());
    let (mut busy, mut staging, mut bytes, mut next) = (Duration::ZERO, Duration::ZERO, 0, 0i64);
    let begin = Instant::now();
    while begin.elapsed().as_secs_f64() < settings.seconds {
        let requests: Vec<Request> = (0..settings.group as i64)
            .map(|i| {
                let ledger = LedgerId((next + i) % settings.ledgers);
                let entry = EntryId((next + i) / settings.ledgers);
                let body = body(ledger, entry, &payload);
                Request::Add { ledger, entry, key, body, options: AddOptions::default() }
            })
            .collect();
        next += settings.group as i64;
        let (cpu, start) = (on_cpu(), Instant::now());
        for request in requests {
            let mut staged = shelf.stage(request, Counted(answered.clone()));
            loop {
                staged = match staged {
                    Staged::Taken => break,
                    Staged::Full(request, duty) => {
                        bytes += shelf.commit()?.bytes;
                        shelf.stage(request, duty)
                    }
                    Staged::Stranger(request, duty) => {
                        shelf.vouch(request.ledger().ok_or("no ledger")?);
                        shelf.stage(request, duty)
                    }
                    Staged::Read(..) => return Err("an add is no read".into()),
                };
            }
        }
        staging += on_cpu() - cpu;
        bytes += shelf.commit()?.bytes;
        times.push(start.elapsed().as_secs_f64() * 1e6);
        busy += on_cpu() - cpu;
        if shelf.flush_due() {
            let start = Instant::now();
            shelf.flush_now()?;
            flushes.push(start.elapsed().as_secs_f64() * 1e6);
        }
    }
    let (seconds, entries) = (begin.elapsed().as_secs_f64(), answered.load(Ordering::Relaxed));
    println!(
        "{} bytes, groups of {}, {} ledgers: {:.0} entries/s, {:.2} us CPU per entry ({:.2} of it staging), {:.3} bytes \
         per byte, RSS {:.0} MB",
        settings.entry,
        settings.group,
        settings.ledgers,
        entries as f64 / seconds,
        busy.as_secs_f64() * 1e6 / entries as f64,
        staging.as_secs_f64() * 1e6 / entries as f64,
        bytes as f64 / (entries as f64 * settings.entry as f64),
        rss_mb()?
    );
    println!("  groups: {}; {} index flushes: {}", percentiles(times), flushes.len(), percentiles(flushes));
    Ok(entries)
}

fn read(settings: &Settings, reader: &Reader, entries: u64) -> Result<(), Failed> {
    let (mut next, mut bytes) = (0, 0);
    let start = Instant::now();
    while next < entries as i64 / settings.ledgers {
        let batch = reader.read_batch(LedgerId(0), EntryId(next), 0, 1 << 20)?;
        next += batch.len() as i64;
        bytes += batch.iter().map(Bytes::len).sum::<usize>();
    }
    let mbs = bytes as f64 / 1e6 / start.elapsed().as_secs_f64();
    println!("  read back in batches of 1 MB: {next} entries, {mbs:.0} MB/s");
    Ok(())
}

fn main() -> Result<(), Failed> {
    let settings = settings()?;
    if settings.extents {
        return extents(&settings.folder);
    }
    let open = || -> Result<Shelf<Counted>, Failed> {
        let disk = Arc::new(Folder::open(settings.folder.join("log"))?);
        let index = Arc::new(RocksIndex::open(&settings.folder.join("index"))?);
        let nonce = std::process::id().into();
        let start = Instant::now();
        let (shelf, report) = Shelf::open(disk, index, Config::default(), nonce)?;
        println!("opened in {:.0} ms, {} bytes scanned", start.elapsed().as_secs_f64() * 1e3, report.scanned);
        Ok(shelf)
    };
    fs::create_dir_all(&settings.folder)?;
    let mut shelf = open()?;
    let entries = write(&settings, &mut shelf)?;
    read(&settings, &shelf.reader(), entries)?;
    drop(shelf);
    open().map(drop)
}
