//! The settings of a broker.

use broker::own::PORTS_APART;
use broker::state::Settings as Known;

use super::key::settings;
use super::value::{
    Address, Addresses, Advertise, Copies, Ip, LogFilter, LogFormat, MetadataUri, Size, Span,
};

settings! {
    /// What `stratamq broker` runs with.
    BrokerSettings for "broker" {
        /// Where the cluster's metadata lives: etcd://host:port[,host:port…]/SCOPE. Required.
        metadata: MetadataUri, shown "etcd://127.0.0.1:2379/stratamq";
        /// All name servers, ours or Apache's, parted by semicolons. Required. Every one is told what this broker serves.
        namesrv: Addresses, shown "127.0.0.1:9876";
        /// Where clients are served: virtual broker i listens on this port + 10 i, and on the port two below that, which
        /// old clients and the dashboard use. Brokers on one machine need ports that are 10 x `vbs` apart.
        listen: Address = "0.0.0.0:10911";
        /// The host that clients are told to dial, and other hosts for clients of some networks: HOST[,CIDR=HOST…].
        /// The narrowest network counts; Apache's name servers tell everybody the first. Without it, the host of
        /// `listen`, which must then be one that clients can dial.
        advertise: Advertise, shown "mq.example.org,10.0.0.0/8=10.1.2.3";
        /// The address that goes into message ids, as an IP. Without it, what `advertise` resolves to at the start.
        store_host: Ip, shown "10.1.2.3";
        /// The name of the cluster, as RocketMQ's clients and tools see it.
        cluster: String = "DefaultCluster";
        /// How many virtual brokers the cluster has. Decided by the first broker that ever starts, and for ever.
        vbs: u64 = "8", from "1" to "256";
        /// Bookies of a ledger, copies of an entry, and copies that must be on disk before a send is acknowledged.
        copies: Copies = "3,3,2";
        /// Others take over what this broker serves when it has not been heard of for so long.
        lease: Span = "3s", from "1s" to "1m";
        /// Memory for what grows with load.
        memory: Size = "192MB", from "32MB" to "64GB";
        /// The address of /metrics, /health and /ready. Without it, none of them is served.
        http: Address, shown "0.0.0.0:10910";
        /// Which log lines are written: error, warn, info, debug, trace, or a list such as info,net=debug.
        log: LogFilter = "info";
        /// How they are written: text for people, json for machines.
        log_format: LogFormat = "text";
    } and rocketmq: Rocketmq
}

/// What can be changed while a virtual broker runs, and its defaults.
#[derive(Clone, Debug, Default)]
pub struct Rocketmq(pub Known);

impl Rocketmq {
    pub const ABOUT: &[(&'static str, &'static str)] = Known::ABOUT;

    pub fn set(&mut self, name: &str, text: &str) -> Result<(), String> {
        self.0.set(name, text).map_err(|error| error.to_string())
    }

    pub fn list(&self) -> Vec<(&'static str, String)> {
        self.0.list()
    }
}

/// Whether clients are told of a host that they can dial.
pub fn undialled(listen: &Address, advertise: &Advertise) -> Option<String> {
    if advertise.host.is_some() || !listen.is_wildcard() {
        return None;
    }
    Some(format!("listen = '{listen}' says nothing that clients could dial: give --advertise HOST"))
}

/// Whether there are ports for all virtual brokers.
fn beyond_ports(listen: &Address, vbs: u64) -> Option<String> {
    let others = u64::from(PORTS_APART) * vbs.saturating_sub(1);
    let highest = u64::from(u16::MAX).saturating_sub(others);
    (u64::from(listen.port()) > highest).then(|| {
        let last = u64::from(listen.port()) + others;
        format!(
            "listen = '{listen}': the last of {vbs} virtual brokers would be on port {last}; {highest} is the highest \
             port to begin with"
        )
    })
}

impl BrokerSettings {
    fn together(&self) -> Vec<String> {
        let mut wrong = Vec::from_iter(self.metadata.missing());
        if self.namesrv.0.is_empty() {
            wrong.push("namesrv is not set: give --namesrv host:port[;host:port]".into());
        }
        wrong.extend(self.listen.missing("listen"));
        wrong.extend(undialled(&self.listen, &self.advertise));
        wrong.extend(beyond_ports(&self.listen, self.vbs));
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    #[test]
    fn ports_beyond_the_last_are_refused() {
        let mut settings = BrokerSettings::default();
        for (key, text) in
            [("metadata", "etcd://h:1/s"), ("namesrv", "h:9876"), ("listen", "127.0.0.1:65500")]
        {
            assert_eq!(settings.set(key, text), Ok(()));
        }
        assert_eq!(
            settings.impossible(),
            [
                "listen = '127.0.0.1:65500': the last of 8 virtual brokers would be on port 65570; 65465 is the highest port to begin with"
            ]
        );
        assert_eq!(settings.set("listen", "127.0.0.1:65465"), Ok(()));
        assert_eq!(settings.impossible(), Vec::<String>::new());
    }

    #[test]
    fn what_a_role_would_refuse_at_its_start_is_not_taken() {
        let mut settings = BrokerSettings::default();
        assert!(settings.set("store_host", "nonsense").is_err_and(|why| why.contains("an IP address")));
        assert!(settings.set("log", "net=loud").is_err_and(|why| why.contains("write a level")));
        assert_eq!(settings.set("store_host", "10.1.2.3").and(settings.set("log", "info,net=debug")), Ok(()));
        assert_eq!(["store_host", "log"].map(|key| settings.show(key)), ["10.1.2.3", "info,net=debug"]);
    }
}
