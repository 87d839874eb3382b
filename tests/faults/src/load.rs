//! A writer process, watched: what it said was acknowledged, and how it ended.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::{Instant, sleep};

use crate::cluster::Cluster;
use crate::entry::Name;
use crate::process::{Process, command};

/// What a writer was told, in the order in which it was told.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub opened: Option<u64>,
    /// Acknowledged appends with their positions.
    pub acknowledged: Vec<(Name, u64)>,
    /// Why the log ended for this writer.
    pub ended: Option<String>,
}

pub struct Load {
    pub process: Process,
    history: Arc<Mutex<History>>,
}

impl Load {
    /// Starts a writer of `log`, and returns when it has had something acknowledged.
    pub async fn start(cluster: &Cluster, log: &str, writer: u32) -> Result<Load> {
        let load = Load::launch(cluster, log, writer, 300)?;
        load.must_acknowledge(20, Duration::from_secs(30), "after its start").await?;
        Ok(load)
    }

    /// Starts a writer, and returns at once.
    pub fn launch(cluster: &Cluster, log: &str, writer: u32, rate: u32) -> Result<Load> {
        let own = std::env::current_exe()?;
        let mut command = command(own, None);
        command.args(["write", "--metadata", &cluster.uri(), "--log", log]);
        command.args(["--writer", &writer.to_string(), "--rate", &rate.to_string()]);
        let errors = cluster.folder.path().join(format!("writer{writer}.log"));
        Load::watch(&mut command, &errors, writer)
    }

    fn watch(command: &mut std::process::Command, errors: &Path, writer: u32) -> Result<Load> {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(std::fs::File::options().create(true).append(true).open(errors)?);
        let mut process = Process::spawned(&format!("writer {writer}"), command, errors)?;
        let out = process.child().stdout.take().context("the writer's output")?;
        let history = Arc::new(Mutex::new(History::default()));
        let shared = history.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                note(&mut lock(&shared), writer, &line);
            }
        });
        Ok(Load { process, history })
    }

    pub fn history(&self) -> History {
        lock(&self.history).clone()
    }

    pub fn acknowledged(&self) -> usize {
        lock(&self.history).acknowledged.len()
    }

    /// Fails unless `count` more appends are acknowledged `within` this time.
    pub async fn must_acknowledge(&self, count: usize, within: Duration, when: &str) -> Result<()> {
        let (start, deadline) = (self.acknowledged(), Instant::now() + within);
        while self.acknowledged() < start + count {
            if let Some(why) = &lock(&self.history).ended {
                bail!("the writer's log ended {when}: {why}");
            }
            if Instant::now() > deadline {
                let words = self.process.last_words();
                bail!(
                    "{} appends were acknowledged {when} in {within:?}, expected {count}\n{words}",
                    self.acknowledged() - start
                );
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Waits until the log has ended for this writer, and says why it did.
    pub async fn end(&self, within: Duration) -> Result<String> {
        let deadline = Instant::now() + within;
        while Instant::now() < deadline {
            if let Some(why) = &lock(&self.history).ended {
                return Ok(why.clone());
            }
            sleep(Duration::from_millis(20)).await;
        }
        bail!("the log has not ended for the writer in {within:?}")
    }

    /// Kills the writer, and gives what it had been told until then.
    pub async fn kill(mut self) -> Result<History> {
        self.process.kill()?;
        // What it wrote before it died is in the pipe still.
        sleep(Duration::from_millis(200)).await;
        Ok(self.history())
    }
}

fn lock(history: &Mutex<History>) -> MutexGuard<'_, History> {
    history.lock().unwrap_or_else(PoisonError::into_inner)
}

fn note(history: &mut History, writer: u32, line: &str) {
    let mut words = line.splitn(3, ' ');
    let number = |word: Option<&str>| word.and_then(|w| w.parse::<u64>().ok());
    match words.next() {
        Some("open") => history.opened = number(words.next()),
        Some("ack") => {
            if let (Some(n), Some(position)) = (number(words.next()), number(words.next())) {
                history.acknowledged.push((Name { writer, number: n }, position));
            }
        }
        Some("end") => history.ended = Some(words.collect::<Vec<_>>().join(" ")),
        _ => {}
    }
}
