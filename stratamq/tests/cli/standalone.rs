//! A standalone that takes little space.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use tempfile::TempDir;

use crate::Cli;
use crate::process::{Process, free_address};

pub struct Standalone {
    pub cli: Cli,
    process: Process,
    folder: TempDir,
}

impl Standalone {
    pub fn start() -> Standalone {
        let folder = tempfile::tempdir().unwrap();
        let [namesrv, broker] = [free_address(), free_address()].map(|address| address.to_string());
        let data = folder.path().to_str().unwrap();
        let mut arguments = vec!["standalone", "--data", data, "--namesrv", &namesrv, "--broker", &broker];
        for small in ["segment_size=4MB", "reserve=1MB", "index_reserve=1MB"] {
            arguments.extend(["--set", small]);
        }
        let mut process = Process::start(&arguments);
        let mut said = String::new();
        BufReader::new(process.child.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        assert!(said.starts_with("StrataMQ is ready") && said.contains(&namesrv), "{said}");
        Standalone { cli: Cli { namesrv }, process, folder }
    }

    /// Stops it in order; its folder stays for as long as what comes back.
    pub fn stop(self) -> (Cli, TempDir) {
        self.process.terminate();
        (self.cli, self.folder)
    }
}

/// What stands for its metadata, once it is stopped.
pub fn metadata(folder: &TempDir) -> String {
    let metadata: PathBuf = folder.path().join("metadata");
    format!("embedded://{}", metadata.display())
}
