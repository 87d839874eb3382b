//! Counters of a bookie, and their Prometheus text.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Grows only, or is set: the name decides what Prometheus is told.
#[derive(Default)]
pub struct Number(AtomicU64);

impl Number {
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds double from 1; values above the last fall into +Inf.
const BUCKETS: usize = 24;

/// How often something took so many units (microseconds, entries): powers of two.
#[derive(Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS + 1],
    sum: AtomicU64,
}

impl Histogram {
    pub fn record(&self, value: u64) {
        let bucket = (64 - value.saturating_sub(1).leading_zeros()) as usize;
        if let Some(count) = self.buckets.get(bucket.min(BUCKETS)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    pub fn record_time(&self, time: Duration) {
        self.record(time.as_micros() as u64);
    }

    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// `scale`: what one unit is in the unit of the metric's name.
    fn write(&self, out: &mut String, name: &str, about: &str, scale: f64) {
        let _ = writeln!(out, "# HELP {name} {about}\n# TYPE {name} histogram");
        let mut below = 0;
        for (i, count) in self.buckets.iter().enumerate() {
            below += count.load(Ordering::Relaxed);
            if i < BUCKETS {
                let bound = (1u64 << i) as f64 * scale;
                let _ = writeln!(out, "{name}_bucket{{le=\"{bound}\"}} {below}");
            }
        }
        let sum = self.sum.load(Ordering::Relaxed) as f64 * scale;
        let _ = writeln!(out, "{name}_bucket{{le=\"+Inf\"}} {below}\n{name}_sum {sum}\n{name}_count {below}");
    }
}

macro_rules! metrics {
    ($($kind:ident $name:ident = $text:literal, $about:literal;)+) => {
        /// What a bookie counts. Shared by all its threads.
        #[derive(Default)]
        pub struct Metrics { $(#[doc = $about] pub $name: metrics!(@type $kind),)+ }

        impl Metrics {
            /// Prometheus' text format.
            pub fn text(&self) -> String {
                let mut out = String::with_capacity(8192);
                $(metrics!(@write $kind self.$name, $text, $about, &mut out);)+
                out
            }
        }
    };
    (@type seconds) => { Histogram };
    (@type sizes) => { Histogram };
    (@type $other:ident) => { Number };
    (@write seconds $field:expr, $text:literal, $about:literal, $out:expr) => {
        $field.write($out, concat!("stratamq_bookie_", $text), $about, 1e-6)
    };
    (@write sizes $field:expr, $text:literal, $about:literal, $out:expr) => {
        $field.write($out, concat!("stratamq_bookie_", $text), $about, 1.0)
    };
    (@write $kind:ident $field:expr, $text:literal, $about:literal, $out:expr) => {{
        let name = concat!("stratamq_bookie_", $text);
        let _ = writeln!($out, "# HELP {name} {}\n# TYPE {name} {}", $about, stringify!($kind));
        let _ = writeln!($out, "{name} {}", $field.get());
    }};
}

metrics! {
    counter adds = "adds_total", "Adds answered with success.";
    counter adds_refused = "adds_refused_total", "Adds refused: fenced, or read-only.";
    counter added_bytes = "added_bytes_total", "Bytes of entries made durable.";
    counter reads = "reads_total", "Reads answered with success.";
    counter reads_missing = "reads_missing_total", "Reads answered with no such ledger or entry.";
    counter others_refused = "others_refused_total", "Requests refused for other reasons.";
    counter reads_cold = "reads_cold_total", "Reads that had to go to a disk's read lane.";
    counter read_bytes = "read_bytes_total", "Bytes of entries read.";
    counter answers_unknown = "answers_unknown_total", "Answers 'I cannot tell' (limbo).";
    seconds add_time = "add_seconds", "Arrival of an add until its answer.";
    seconds read_time = "read_seconds", "Arrival of a read until its answer.";
    seconds commit_time = "commit_seconds", "Writing and syncing one group.";
    sizes group_entries = "group_entries", "Entries per group.";
    sizes group_bytes = "group_size_bytes", "Bytes per group.";
    seconds flush_time = "index_flush_seconds", "Flushing the index.";
    gauge in_flight = "in_flight_bytes", "Bytes of requests that wait for an answer.";
    gauge in_flight_limit = "in_flight_limit_bytes", "Budget of in_flight_bytes.";
    counter pushed_back = "pushed_back_total", "Requests refused because there is too much to do.";
    gauge parked = "parked_ledgers", "Ledgers whose first add waits for metadata.";
    counter first_adds = "first_add_checks_total", "First adds that were checked against metadata.";
    counter first_adds_fenced = "first_add_fenced_total", "First adds that metadata spoke against.";
    gauge long_polls = "long_polls", "Long polls that wait.";
    gauge segments = "segments", "Segment files.";
    gauge segment_bytes = "segment_written_bytes", "Bytes written to segments.";
    gauge live_bytes = "segment_live_bytes", "Bytes of segments that a read may ask for.";
    gauge disk_free = "disk_free_bytes", "Free bytes on all disks.";
    gauge disk_total = "disk_total_bytes", "Size of all disks.";
    gauge writable = "writable", "1 while normal adds are taken.";
    gauge limbo_ledgers = "limbo_ledgers", "Ledgers of which data may be lost here.";
    gauge limbo_all = "limbo_all", "1 while data of any ledger may be lost here.";
    counter damaged = "damaged_entries_total", "Entries that the disk gave back wrong.";
    counter scrubbed_bytes = "scrubbed_bytes_total", "Bytes whose checksums were checked.";
    counter scrub_passes = "scrub_passes_total", "Passes of the scrub over all segments.";
    counter gc_runs = "gc_runs_total", "Looks for deleted ledgers that came to an end.";
    counter gc_failures = "gc_failures_total", "Looks for deleted ledgers that metadata cut short.";
    counter gc_deleted = "gc_deleted_ledgers_total", "Ledgers deleted here because they are gone from metadata.";
    counter gc_over_replicated = "gc_over_replicated_ledgers_total", "Ledgers deleted here because they are elsewhere now.";
    counter segments_dropped = "segments_dropped_total", "Segments deleted.";
    counter compacted_bytes = "compacted_bytes_total", "Bytes copied out of sparse segments.";
    gauge compaction_lag = "compaction_waiting_segments", "Sealed segments that are sparse enough to be compacted.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_a_type_and_a_value_for_every_metric() {
        let metrics = Metrics::default();
        metrics.adds.add(3);
        metrics.add_time.record(100);
        let text = metrics.text();
        assert!(text.contains("# TYPE stratamq_bookie_adds_total counter\nstratamq_bookie_adds_total 3\n"));
        assert!(text.contains("stratamq_bookie_add_seconds_count 1"));
        assert!(text.lines().all(|line| line.starts_with("# ") || line.split(' ').count() == 2));
    }

    #[test]
    fn a_value_is_counted_in_the_first_bucket_that_holds_it() {
        let histogram = Histogram::default();
        [0, 1, 2, 3, 4, u64::MAX].into_iter().for_each(|value| histogram.record(value % (1 << 60)));
        let mut out = String::new();
        histogram.write(&mut out, "h", "about", 1.0);
        for line in ["h_bucket{le=\"1\"} 2", "h_bucket{le=\"2\"} 3", "h_bucket{le=\"4\"} 5", "h_count 6"] {
            assert!(out.contains(line), "{line} in {out}");
        }
    }
}
