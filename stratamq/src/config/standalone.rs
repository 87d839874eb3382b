//! The settings of everything in one process.

use super::bookie::{NO_DATA, too_much_kept};
use super::broker::{Rocketmq, undialled};
use super::key::settings;
use super::value::{Address, Advertise, Folders, Ip, LogFilter, LogFormat, Size};

settings! {
    /// What `stratamq standalone` runs with.
    StandaloneSettings for "standalone" {
        /// The folder that keeps everything. Required.
        data: Folders, shown "/var/lib/stratamq";
        /// Where the name server serves. STRATAMQ_NAMESRV, by which tools know where one is, does not change it.
        namesrv: Address = "127.0.0.1:9876";
        /// Where the broker serves; also on the port two below, which old clients and the dashboard use.
        broker: Address = "127.0.0.1:10911";
        /// The host that clients are told to dial, and other hosts for clients of some networks: HOST[,CIDR=HOST…].
        /// Without it, the host of `broker`, which must then be one that clients can dial.
        advertise: Advertise, shown "mq.example.org,10.0.0.0/8=10.1.2.3";
        /// The address that goes into message ids, as an IP. Without it, what `advertise` resolves to at the start.
        store_host: Ip, shown "10.1.2.3";
        /// The name of the cluster, as RocketMQ's clients and tools see it.
        cluster: String = "DefaultCluster";
        /// Memory of the broker for what grows with load.
        memory: Size = "128MB", from "32MB" to "64GB";
        /// Memory of the bookie for what grows with load.
        bookie_memory: Size = "64MB", from "16MB" to "64GB";
        /// Size of a segment, the file that entries are appended to. Allocated whole, so the disk needs room for two.
        segment_size: Size = "256MB", from "1MB" to "2GB";
        /// Part of the last segment that is kept for what must still fit when the disk is full. Less than a segment.
        reserve: Size = "32MB", from "64KB" to "512MB";
        /// Kept free on the disk for the index.
        index_reserve: Size = "256MB", from "1MB" to "64GB";
        /// The address of /rocketmq/nsaddr, /metrics, /health and /ready. Without it, none of them is served.
        http: Address, shown "127.0.0.1:9877";
        /// Which log lines are written: error, warn, info, debug, trace, or a list such as info,net=debug.
        log: LogFilter = "warn";
        /// How they are written: text for people, json for machines.
        log_format: LogFormat = "text";
    } and rocketmq: Rocketmq
}

impl StandaloneSettings {
    /// What `/rocketmq/nsaddr` says: clients that can dial the broker's host can dial the name server there.
    pub fn told(&self) -> String {
        if !self.namesrv.is_wildcard() {
            return self.namesrv.to_string();
        }
        let host = self.advertise.host.as_deref().unwrap_or(self.broker.host());
        format!("{host}:{}", self.namesrv.port())
    }

    fn together(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        match self.data.0.len() {
            0 => wrong.push(NO_DATA.into()),
            1 => {}
            _ => wrong.push(format!("data = '{}': standalone has one folder", self.data)),
        }
        wrong.extend(self.namesrv.missing("namesrv"));
        wrong.extend(self.broker.missing("broker"));
        wrong.extend(undialled(&self.broker, &self.advertise));
        wrong.extend(too_much_kept(self.reserve, self.segment_size));
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    #[test]
    fn clients_are_told_of_a_name_server_that_they_can_dial() {
        let mut settings = StandaloneSettings::default();
        assert_eq!(settings.told(), "127.0.0.1:9876");
        assert_eq!(settings.set("namesrv", "0.0.0.0:9000"), Ok(()));
        assert_eq!(settings.told(), "127.0.0.1:9000");
        assert_eq!(settings.set("advertise", "mq.example.org,10.0.0.0/8=10.1.2.3"), Ok(()));
        assert_eq!(settings.told(), "mq.example.org:9000");
    }
}
