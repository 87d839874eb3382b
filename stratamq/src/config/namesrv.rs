//! The settings of a name server.

use super::key::settings;
use super::value::{Address, Addresses, Folders, LogFilter, LogFormat};

settings! {
    /// What `stratamq namesrv` runs with.
    NamesrvSettings for "namesrv" {
        /// The address on which brokers and clients are served.
        listen: Address = "0.0.0.0:9876";
        /// A folder for what outlives a restart: keys and values, the configuration of ordered topics. Routes do not;
        /// brokers tell them again. Without it, it is called after the port of `listen`, as in
        /// ~/.local/state/stratamq/namesrv-9876 (below $XDG_STATE_HOME if that is set, below /var/lib without a home).
        data: Folders, shown "/var/lib/stratamq/namesrv";
        /// The address of /rocketmq/nsaddr, /metrics, /health and /ready. Without it, none of them is served.
        http: Address, shown "0.0.0.0:9877";
        /// What /rocketmq/nsaddr tells clients: all name servers of the cluster. Without it, `listen`, which must
        /// then name a host.
        nsaddr: Addresses, shown "namesrv-1.example.org:9876;namesrv-2.example.org:9876";
        /// Which log lines are written: error, warn, info, debug, trace, or a list such as info,net=debug.
        log: LogFilter = "info";
        /// How they are written: text for people, json for machines.
        log_format: LogFormat = "text";
    }
}

impl NamesrvSettings {
    /// What `/rocketmq/nsaddr` says; empty if nothing can be said.
    pub fn told(&self) -> String {
        match (self.nsaddr.0.is_empty(), self.listen.is_wildcard()) {
            (false, _) => self.nsaddr.to_string(),
            (true, false) => self.listen.to_string(),
            (true, true) => String::new(),
        }
    }

    fn together(&self) -> Vec<String> {
        let mut wrong = Vec::from_iter(self.listen.missing("listen"));
        if self.data.0.len() > 1 {
            wrong.push(format!("data = '{}': a name server has one folder", self.data));
        }
        wrong
    }
}
