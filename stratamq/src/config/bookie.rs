//! The settings of a bookie.

use super::key::settings;
use super::value::{Address, Folders, LogFilter, LogFormat, MetadataUri, OnLost, Rate, Size, Span};

settings! {
    /// What `stratamq bookie` runs with.
    BookieSettings for "bookie" {
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
        /// Rack or zone of this bookie. No two copies of an entry are put into one zone while there are enough zones.
        zone: String, shown "zone-a";
        /// Memory for everything that grows with load; all budgets are derived from it.
        memory: Size = "64MB", from "16MB" to "64GB";
        /// Size of a segment, the file that entries are appended to. Allocated whole, so a disk needs room for two.
        segment_size: Size = "256MB", from "1MB" to "2GB";
        /// Part of the last segment that is kept for fences and repair when the disk is full. Less than a segment.
        reserve: Size = "32MB", from "64KB" to "512MB";
        /// Kept free on each disk for the index.
        index_reserve: Size = "256MB", from "1MB" to "64GB";
        /// What to do when data that this bookie had is gone (an empty, replaced or restored disk): limbo (it serves,
        /// says "I cannot tell" instead of "no", and is repaired) or refuse (it does not start).
        on_lost_data: OnLost = "limbo";
        /// A bookie that metadata has not heard of for so long counts as away.
        lease: Span = "10s", from "1s" to "10m";
        /// The index is flushed after this long at the latest, if anything was written.
        flush_every: Span = "1m", from "1s" to "1h";
        /// Deleted ledgers are looked for, and their space is given back, this often; ten times as often while a disk
        /// is full.
        gc_every: Span = "5m", from "1s" to "1d";
        /// Ledgers that have moved to other bookies are looked for this often.
        over_replicated_every: Span = "1h", from "1s" to "30d";
        /// A segment of which less than so many percent are still needed is copied into a new one. 0 is never.
        compact_below: u64 = "50", from "0" to "95";
        /// How fast that copying goes.
        compact_rate: Rate = "16MB/s", from "64KB/s" to "10GB/s";
        /// How fast checksums of everything stored are checked in the background.
        scrub_rate: Rate = "8MB/s", from "64KB/s" to "10GB/s";
        /// Pause between two passes of that check.
        scrub_every: Span = "1d", from "1m" to "365d";
        /// A bookie that is away for less than this is not lost: more than a restart takes. Counts where the auditor runs.
        lost_bookie_grace: Span = "15m", from "1s" to "30d";
        /// How fast this bookie copies ledgers that have lost one.
        repair_rate: Rate = "32MB/s", from "64KB/s" to "10GB/s";
        /// Which log lines are written: error, warn, info, debug, trace, or a list such as info,net=debug.
        log: LogFilter = "info";
        /// How they are written: text for people, json for machines.
        log_format: LogFormat = "text";
    }
}

pub const NO_DATA: &str = "data is not set: give --data FOLDER, or 'data' in the file";

/// What is kept for a full disk must leave room in the segment that it is a part of.
pub fn too_much_kept(reserve: Size, segment_size: Size) -> Option<String> {
    (reserve >= segment_size).then(|| {
        format!("reserve = '{reserve}' is a part of segment_size = '{segment_size}': make it smaller")
    })
}

impl BookieSettings {
    /// The address that others are told to dial.
    pub fn dialled(&self) -> &Address {
        if self.advertise.get().is_some() { &self.advertise } else { &self.listen }
    }

    fn together(&self) -> Vec<String> {
        let mut wrong = Vec::from_iter(self.metadata.missing());
        if self.data.0.is_empty() {
            wrong.push(NO_DATA.into());
        }
        if let Some(missing) = self.listen.missing("listen") {
            wrong.push(missing);
        } else if self.advertise.is_wildcard() {
            wrong.push(format!("advertise = '{}': nobody can dial that; name this host", self.advertise));
        } else if self.dialled().is_wildcard() {
            wrong.push(format!(
                "listen = '{}' says nothing that others could dial: give --advertise HOST:{}",
                self.listen,
                self.listen.port()
            ));
        }
        wrong.extend(too_much_kept(self.reserve, self.segment_size));
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
