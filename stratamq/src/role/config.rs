//! `stratamq config`: what a bookie would run with.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::config::{self, BookieSettings, Resolved, Sources};
use crate::error::{Error, Outcome};
use crate::output::say;
use crate::table;

/// Where settings come from: the same for every command that has any.
#[derive(Args, Default)]
pub struct Given {
    /// A TOML file; conf/bookie.toml documents every key
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Sets any key of the file; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Where metadata lives
    #[arg(long, value_name = "etcd://H:P/SCOPE")]
    metadata: Option<String>,
    /// The address to serve on
    #[arg(long, value_name = "H:P")]
    listen: Option<String>,
    /// The address that others are told to dial
    #[arg(long, value_name = "H:P")]
    advertise: Option<String>,
    /// Folders for the data, one for each disk
    #[arg(long, value_name = "DIR[,DIR]")]
    data: Option<String>,
    /// Serves /metrics, /health and /ready
    #[arg(long, value_name = "H:P")]
    http: Option<String>,
    /// How log lines are written
    #[arg(long, value_name = "text|json")]
    log_format: Option<String>,
}

impl Given {
    pub fn resolve(&self) -> Outcome<Resolved<BookieSettings>> {
        let mut sources = Sources::default();
        if let Some(path) = &self.config {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(path)
                .map_err(|error| Error::cannot(format!("read {name}"), error))?;
            sources.file(&name, &text);
        }
        sources.environment(std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
        }));
        self.set.iter().for_each(|assignment| sources.set(assignment));
        for (key, value, flag) in [
            ("metadata", &self.metadata, "--metadata"),
            ("listen", &self.listen, "--listen"),
            ("advertise", &self.advertise, "--advertise"),
            ("data", &self.data, "--data"),
            ("http", &self.http, "--http"),
            ("log_format", &self.log_format, "--log-format"),
        ] {
            sources.flag(key, value.as_deref(), flag);
        }
        Ok(sources.resolve()?)
    }
}

#[derive(Subcommand)]
pub enum Command {
    /// Say whether a bookie would start with this configuration, and if not, why
    Check(Given),
    /// Show every key, its value, and where the value comes from
    Show {
        #[command(flatten)]
        given: Given,
        /// For machines
        #[arg(long)]
        json: bool,
    },
    /// Print a commented configuration file with every key
    Template,
}

const HEAD: &str = "The configuration of a bookie: every key, with its default. A line that begins with '#key' shows a\n\
    default or an example; remove the '#' to change it.\n\n\
    What is set here is overruled by the environment (STRATAMQ_LISTEN for `listen`), that by --set key=value,\n\
    and that by the flags of `stratamq bookie`. `stratamq config check --config FILE` says whether it holds,\n\
    `stratamq config show` what it comes to. KB, MB and GB are powers of 1,024.";

pub fn run(command: Command) -> Outcome {
    match command {
        Command::Check(given) => {
            given.resolve()?.checked()?;
            say!("The configuration is good.");
        }
        Command::Show { given, json } => show(&given.resolve()?, json),
        Command::Template => {
            say!("{}", config::template::<BookieSettings>(HEAD).trim_end());
        }
    }
    Ok(())
}

fn show(resolved: &Resolved<BookieSettings>, json: bool) {
    let rows = resolved.rows();
    if json {
        let keys: serde_json::Map<String, serde_json::Value> = rows
            .into_iter()
            .map(|(key, value, from)| (key.into(), serde_json::json!({ "value": value, "from": from })))
            .collect();
        say!("{}", serde_json::Value::Object(keys));
    } else {
        let rows: Vec<_> = rows.into_iter().map(|(key, value, from)| [key.into(), value, from]).collect();
        table::print(["key", "value", "from"], &rows);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When this fails: `stratamq config template > conf/bookie.toml`.
    #[test]
    fn the_file_in_conf_documents_every_key() {
        assert_eq!(config::template::<BookieSettings>(HEAD), include_str!("../../../conf/bookie.toml"));
    }
}
