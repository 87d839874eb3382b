//! `stratamq config`: what a role would run with.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::config::{
    self, BookieSettings, BrokerSettings, NamesrvSettings, Resolved, Settings, Sources, StandaloneSettings,
};
use crate::error::{Error, Outcome};
use crate::output::say;
use crate::table;

/// Where settings come from: the same for every command that has any.
#[derive(Args, Default)]
pub struct Given {
    /// A TOML file; conf/ documents every key
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Sets any key of the file; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// How log lines are written
    #[arg(long, value_name = "text|json")]
    log_format: Option<String>,
}

/// Flags that set a key of the same name.
macro_rules! flags {
    ($name:ident for $settings:ty { $($(#[$meta:meta])* $field:ident = $flag:literal $value:literal;)+ }) => {
        #[derive(Args, Default)]
        pub struct $name {
            #[command(flatten)]
            given: Given,
            $($(#[$meta])* #[arg(long, value_name = $value)] $field: Option<String>,)+
        }

        impl $name {
            pub fn resolve(&self) -> Outcome<Resolved<$settings>> {
                self.given.resolve(&[$((stringify!($field), self.$field.as_deref(), $flag)),+])
            }
        }
    };
}

flags! { BookieFlags for BookieSettings {
    /// Where metadata lives
    metadata = "--metadata" "etcd://H:P/SCOPE";
    /// The address to serve on
    listen = "--listen" "H:P";
    /// The address that others are told to dial
    advertise = "--advertise" "H:P";
    /// Folders for the data, one for each disk
    data = "--data" "DIR[,DIR]";
    /// Serves /metrics, /health and /ready
    http = "--http" "H:P";
}}

flags! { NamesrvFlags for NamesrvSettings {
    /// The address to serve on
    listen = "--listen" "H:P";
    /// A folder for keys and values
    data = "--data" "DIR";
    /// Serves /rocketmq/nsaddr, /metrics, /health and /ready
    http = "--http" "H:P";
}}

flags! { BrokerFlags for BrokerSettings {
    /// Where metadata lives
    metadata = "--metadata" "etcd://H:P/SCOPE";
    /// All name servers
    namesrv = "--namesrv" "H:P[;H:P]";
    /// The address to serve on: virtual broker i on this port + 10 i
    listen = "--listen" "H:BASEPORT";
    /// The host that clients are told to dial
    advertise = "--advertise" "HOST[,CIDR=HOST]";
    /// Serves /metrics, /health and /ready
    http = "--http" "H:P";
}}

flags! { StandaloneFlags for StandaloneSettings {
    /// The folder that keeps everything
    data = "--data" "DIR";
    /// Where the name server serves
    namesrv = "--namesrv" "H:P";
    /// Where the broker serves
    broker = "--broker" "H:BASEPORT";
    /// The host that clients are told to dial
    advertise = "--advertise" "HOST[,CIDR=HOST]";
    /// Serves /rocketmq/nsaddr, /metrics, /health and /ready
    http = "--http" "H:P";
}}

impl Given {
    fn resolve<S: Settings>(&self, flags: &[(&str, Option<&str>, &'static str)]) -> Outcome<Resolved<S>> {
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
        sources.flag("log_format", self.log_format.as_deref(), "--log-format");
        flags.iter().for_each(|(key, value, flag)| sources.flag(key, *value, flag));
        Ok(sources.resolve()?)
    }
}

/// Any role, with any of its flags.
#[derive(Args)]
pub struct Which {
    /// Whose configuration it is
    #[arg(long, value_enum, default_value = "bookie")]
    role: Role,
    #[command(flatten)]
    given: Given,
    #[arg(long, hide = true)]
    metadata: Option<String>,
    #[arg(long, hide = true)]
    namesrv: Option<String>,
    #[arg(long, hide = true)]
    broker: Option<String>,
    #[arg(long, hide = true)]
    listen: Option<String>,
    #[arg(long, hide = true)]
    advertise: Option<String>,
    #[arg(long, hide = true)]
    data: Option<String>,
    #[arg(long, hide = true)]
    http: Option<String>,
}

impl Which {
    /// A flag that the role does not have is an unknown key.
    fn resolve<S: Settings>(&self) -> Outcome<Resolved<S>> {
        self.given.resolve(&[
            ("metadata", self.metadata.as_deref(), "--metadata"),
            ("namesrv", self.namesrv.as_deref(), "--namesrv"),
            ("broker", self.broker.as_deref(), "--broker"),
            ("listen", self.listen.as_deref(), "--listen"),
            ("advertise", self.advertise.as_deref(), "--advertise"),
            ("data", self.data.as_deref(), "--data"),
            ("http", self.http.as_deref(), "--http"),
        ])
    }
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Role {
    Bookie,
    Broker,
    Namesrv,
    Standalone,
}

#[derive(Subcommand)]
pub enum Command {
    /// Say whether a role would start with this configuration, and if not, why; flags of the role are taken, too
    Check(Which),
    /// Show every key, its value, and where the value comes from
    Show {
        #[command(flatten)]
        which: Which,
        /// For machines
        #[arg(long)]
        json: bool,
    },
    /// Print a commented configuration file with every key
    Template {
        /// Whose configuration it is
        #[arg(long, value_enum, default_value = "bookie")]
        role: Role,
    },
}

pub fn run(command: Command) -> Outcome {
    let role = match &command {
        Command::Check(which) | Command::Show { which, .. } => which.role,
        Command::Template { role } => *role,
    };
    match role {
        Role::Bookie => run_for::<BookieSettings>(command),
        Role::Broker => run_for::<BrokerSettings>(command),
        Role::Namesrv => run_for::<NamesrvSettings>(command),
        Role::Standalone => run_for::<StandaloneSettings>(command),
    }
}

fn run_for<S: Settings>(command: Command) -> Outcome {
    match command {
        Command::Check(which) => {
            which.resolve::<S>()?.checked()?;
            say!("The configuration is good.");
        }
        Command::Show { which, json } => show(&which.resolve::<S>()?, json),
        Command::Template { .. } => {
            say!("{}", config::template::<S>().trim_end());
        }
    }
    Ok(())
}

fn show<S: Settings>(resolved: &Resolved<S>, json: bool) {
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

    /// When this fails: `for r in bookie broker namesrv standalone; do stratamq config template --role $r > conf/$r.toml; done`.
    #[test]
    fn the_files_in_conf_document_every_key() {
        assert_eq!(config::template::<BookieSettings>(), include_str!("../../../conf/bookie.toml"));
        assert_eq!(config::template::<BrokerSettings>(), include_str!("../../../conf/broker.toml"));
        assert_eq!(config::template::<NamesrvSettings>(), include_str!("../../../conf/namesrv.toml"));
        assert_eq!(config::template::<StandaloneSettings>(), include_str!("../../../conf/standalone.toml"));
    }
}
