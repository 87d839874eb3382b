//! The settings of a bookie.

use super::key::settings;
use super::value::{Address, Folders, LogFormat, MetadataUri, Size};

settings! {
    /// What `stratamq bookie` runs with.
    BookieSettings {
        /// Where the cluster's metadata lives: etcd://host:port[,host:port…]/SCOPE. Required.
        metadata: MetadataUri, shown "etcd://127.0.0.1:2379/stratamq";
        /// The address on which clients are served.
        listen: Address = "0.0.0.0:3181";
        /// The address that clients are told to dial. The bookie's id is taken from it at the first start and stays
        /// with the disk for ever; later it may change freely. Without it, it is `listen`, which must then name a host.
        advertise: Address, shown "bookie-1.example.org:3181";
        /// Folders that keep the data, one for each disk. Required. Folders may be added later, not taken away.
        data: Folders, shown "/var/lib/stratamq/bookie";
        /// The address of /metrics, /health and /ready. Without it, none of them is served.
        http: Address, shown "0.0.0.0:3182";
        /// Memory for everything that grows with load; all budgets are derived from it.
        memory: Size = "64MB", from "32MB" to "64GB";
        /// Which log lines are written: error, warn, info, debug, trace, or a list such as info,net=debug.
        log: String = "info";
        /// How they are written: text for people, json for machines.
        log_format: LogFormat = "text";
    }
}

impl BookieSettings {
    /// The address that others are told to dial.
    pub fn dialled(&self) -> &Address {
        if self.advertise.get().is_some() { &self.advertise } else { &self.listen }
    }

    fn together(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        if self.metadata.endpoints.is_empty() {
            wrong.push(
                "metadata is not set: give --metadata etcd://host:port/SCOPE, or 'metadata' in the file"
                    .into(),
            );
        }
        if self.data.0.is_empty() {
            wrong.push("data is not set: give --data FOLDER, or 'data' in the file".into());
        }
        if self.listen.get().is_none() {
            wrong.push("listen is empty: give --listen host:port".into());
        } else if self.advertise.is_wildcard() {
            wrong.push(format!("advertise = '{}': nobody can dial that; name this host", self.advertise));
        } else if self.dialled().is_wildcard() {
            wrong.push(format!(
                "listen = '{}' says nothing that others could dial: give --advertise HOST:{}",
                self.listen,
                self.listen.port()
            ));
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    #[test]
    fn every_default_can_be_set() {
        let mut settings = BookieSettings::default();
        for (name, text) in BookieSettings::DEFAULTS {
            assert_eq!(settings.set(name, text), Ok(()), "{name}");
            assert_eq!(settings.show(name), *text, "{name}");
        }
    }

    #[test]
    fn an_address_that_nobody_can_dial_is_not_advertised() {
        let mut settings = BookieSettings::default();
        let _ = settings.set("metadata", "etcd://h:1/s").and(settings.set("data", "/d"));
        assert!(settings.impossible()[0].contains("--advertise HOST:3181"));
        let _ = settings.set("advertise", "b-1:3181");
        assert_eq!(settings.impossible(), Vec::<String>::new());
    }
}
