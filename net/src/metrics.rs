//! Counters of a process, and their Prometheus text.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Grows only, or is set: its kind decides what Prometheus is told.
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

    pub fn write(&self, out: &mut String, name: &str, about: &str, kind: &str) {
        let _ = writeln!(out, "# HELP {name} {about}\n# TYPE {name} {kind}\n{name} {}", self.get());
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
    pub fn write(&self, out: &mut String, name: &str, about: &str, scale: f64) {
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

/// Declares `Metrics`: what a part of a process counts, and its text. Kinds: `counter`, `gauge`, `seconds` (a histogram
/// of times), `sizes` (a histogram).
#[macro_export]
macro_rules! metrics {
    ($prefix:literal: $($kind:ident $name:ident = $text:literal, $about:literal;)+) => {
        /// What is counted here. Shared by all threads.
        #[derive(Default)]
        pub struct Metrics { $(#[doc = $about] pub $name: $crate::metrics!(@type $kind),)+ }

        impl Metrics {
            /// Prometheus' text format.
            pub fn text(&self) -> String {
                let mut out = String::with_capacity(8192);
                $($crate::metrics!(@write $kind self.$name, concat!($prefix, $text), $about, &mut out);)+
                out
            }
        }
    };
    (@type seconds) => { $crate::metrics::Histogram };
    (@type sizes) => { $crate::metrics::Histogram };
    (@type $other:ident) => { $crate::metrics::Number };
    (@write seconds $field:expr, $name:expr, $about:literal, $out:expr) => {
        $field.write($out, $name, $about, 1e-6)
    };
    (@write sizes $field:expr, $name:expr, $about:literal, $out:expr) => {
        $field.write($out, $name, $about, 1.0)
    };
    (@write $kind:ident $field:expr, $name:expr, $about:literal, $out:expr) => {
        $field.write($out, $name, $about, stringify!($kind))
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    mod declared {
        crate::metrics! {
            "some_":
            counter adds = "adds_total", "Adds.";
            seconds add_time = "add_seconds", "How long they took.";
        }
    }

    #[test]
    fn the_text_has_a_type_and_a_value_for_every_metric() {
        let metrics = declared::Metrics::default();
        metrics.adds.add(3);
        metrics.add_time.record(100);
        let text = metrics.text();
        assert!(text.contains("# TYPE some_adds_total counter\nsome_adds_total 3\n"));
        assert!(text.contains("some_add_seconds_count 1"));
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
