//! `stratamq topic|group|message|cluster` as people and scripts call them, each against a standalone of its own; with
//! brokers that have the same queues, against some in memory.

mod cluster;
mod group;
mod message;
#[path = "../process/mod.rs"]
mod process;
#[path = "../../../client/tests/real/mod.rs"]
mod real;
mod standalone;
mod topic;

use std::process::{Command, Output};

use serde_json::Value;

/// The command line, with the name servers that it asks.
pub struct Cli {
    pub namesrv: String,
}

impl Cli {
    /// `arguments` are parted by spaces.
    pub fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stratamq"));
        command.env_clear().env("STRATAMQ_NAMESRV", &self.namesrv).args(arguments.split(' '));
        command
    }

    fn run(&self, arguments: &str) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What people read.
    pub fn says(&self, arguments: &str) -> String {
        let Output { status, stdout, stderr } = self.run(arguments);
        assert!(status.success(), "{arguments}: {}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).unwrap()
    }

    /// What machines read, line by line.
    pub fn json(&self, arguments: &str) -> Vec<Value> {
        let said = self.says(&format!("{arguments} --json"));
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The exit code of what cannot be done, and why it cannot.
    pub fn refuses(&self, arguments: &str) -> (i32, String) {
        let Output { status, stdout, stderr } = self.run(arguments);
        assert!(stdout.is_empty(), "{arguments}: {}", String::from_utf8_lossy(&stdout));
        (status.code().unwrap(), String::from_utf8(stderr).unwrap())
    }
}

/// The text of a table without what lines its columns up.
pub fn words(table: &str) -> Vec<String> {
    table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}
