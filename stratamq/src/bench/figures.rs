//! What one side reached, for people and for machines.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::error::{Error, Outcome};

/// Latencies from 1 µs to 10 minutes, to three digits.
pub fn latencies() -> Outcome<Histogram<u64>> {
    Histogram::new_with_bounds(1, 600_000_000, 3).map_err(|error| Error::cannot("make a histogram", error))
}

/// What one leg measured.
pub struct Measured {
    /// µs from the intended time of sending to the acknowledgement.
    pub latencies: Histogram<u64>,
    pub entries: u64,
    pub payload_bytes: u64,
    pub took: Duration,
    pub errors: u64,
    pub loader_cpu: Duration,
    pub bookies: Option<Cost>,
}

/// What the servers spent meanwhile.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    pub cpu: Duration,
    /// The greatest of any process.
    pub rss_bytes: u64,
    pub written_bytes: u64,
    pub read_bytes: u64,
}

impl Measured {
    pub fn add(&mut self, other: &Measured) {
        // Same bounds on both sides.
        let _ = self.latencies.add(&other.latencies);
        self.entries += other.entries;
        self.payload_bytes += other.payload_bytes;
        self.took += other.took;
        self.errors += other.errors;
        self.loader_cpu += other.loader_cpu;
        if let (Some(cost), Some(more)) = (&mut self.bookies, other.bookies) {
            cost.cpu += more.cpu;
            cost.rss_bytes = cost.rss_bytes.max(more.rss_bytes);
            cost.written_bytes += more.written_bytes;
            cost.read_bytes += more.read_bytes;
        }
    }

    pub fn per_second(&self) -> f64 {
        self.entries as f64 / self.took.as_secs_f64().max(1e-9)
    }
}

/// The disk under a run.
#[derive(Clone, Debug, Serialize)]
pub struct DiskProbe {
    pub folder: String,
    pub file_system: String,
    pub fdatasync_p50_us_before: f64,
    pub fdatasync_p50_us_after: f64,
}

#[derive(Serialize)]
pub struct Figures {
    pub side: String,
    pub metadata: String,
    pub per_second: f64,
    pub mb_per_second: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
    pub errors: u64,
    pub entries: u64,
    pub seconds: f64,
    /// Of each round, in order.
    pub rounds_per_second: Vec<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_us_per_entry: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rss_mb: Option<f64>,
    /// Per byte of payload and copy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_bytes_per_byte: Option<f64>,
    /// Per byte of payload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_bytes_read_per_byte: Option<f64>,
    pub loader_cpu_us_per_entry: f64,
    #[serde(flatten)]
    pub disk: DiskProbe,
    /// Share of the machine's time that others took while nothing of this run was under way; above 0.1 the figures
    /// are worth little.
    pub busy_before: f64,
}

fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}

/// What there is to say of a side besides what was measured.
pub struct About {
    pub side: String,
    pub metadata: String,
    pub copies: u32,
    pub rounds: Vec<f64>,
    pub disk: DiskProbe,
    pub busy_before: f64,
}

impl Figures {
    pub fn of(about: About, measured: &Measured) -> Figures {
        let ms = |quantile| rounded(measured.latencies.value_at_quantile(quantile) as f64 / 1000.0, 3);
        let entries = (measured.entries as f64).max(1.0);
        let copied = (measured.payload_bytes as f64 * f64::from(about.copies)).max(1.0);
        Figures {
            side: about.side,
            metadata: about.metadata,
            per_second: rounded(measured.per_second(), 1),
            mb_per_second: rounded(
                measured.payload_bytes as f64 / measured.took.as_secs_f64().max(1e-9) / 1e6,
                2,
            ),
            p50_ms: ms(0.5),
            p99_ms: ms(0.99),
            p999_ms: ms(0.999),
            max_ms: rounded(measured.latencies.max() as f64 / 1000.0, 3),
            errors: measured.errors,
            entries: measured.entries,
            seconds: rounded(measured.took.as_secs_f64(), 2),
            rounds_per_second: about.rounds.iter().map(|rate| rounded(*rate, 1)).collect(),
            cpu_us_per_entry: measured.bookies.map(|cost| rounded(cost.cpu.as_secs_f64() * 1e6 / entries, 2)),
            rss_mb: measured.bookies.map(|cost| rounded(cost.rss_bytes as f64 / 1048576.0, 1)),
            disk_bytes_per_byte: measured.bookies.map(|cost| rounded(cost.written_bytes as f64 / copied, 3)),
            disk_bytes_read_per_byte: measured
                .bookies
                .map(|cost| rounded(cost.read_bytes as f64 / (measured.payload_bytes as f64).max(1.0), 3)),
            loader_cpu_us_per_entry: rounded(measured.loader_cpu.as_secs_f64() * 1e6 / entries, 2),
            disk: about.disk,
            busy_before: rounded(about.busy_before, 3),
        }
    }

    /// A column of the table that people read: what, and the figure.
    pub fn column(&self) -> Vec<(&'static str, String)> {
        let maybe = |figure: Option<f64>| figure.map_or_else(|| "–".into(), |figure| format!("{figure}"));
        vec![
            ("entries per second", format!("{:.0}", self.per_second)),
            ("MB per second", format!("{:.1}", self.mb_per_second)),
            ("p50 ms", format!("{:.3}", self.p50_ms)),
            ("p99 ms", format!("{:.3}", self.p99_ms)),
            ("p99.9 ms", format!("{:.3}", self.p999_ms)),
            ("max ms", format!("{:.3}", self.max_ms)),
            ("errors", self.errors.to_string()),
            ("server CPU µs per entry", maybe(self.cpu_us_per_entry)),
            ("server RSS MB", maybe(self.rss_mb)),
            ("disk bytes per byte and copy", maybe(self.disk_bytes_per_byte)),
            ("disk bytes read per byte", maybe(self.disk_bytes_read_per_byte)),
            ("loader CPU µs per entry", format!("{}", self.loader_cpu_us_per_entry)),
            ("file system", self.disk.file_system.clone()),
            (
                "fdatasync p50 µs, before and after",
                format!("{:.0} {:.0}", self.disk.fdatasync_p50_us_before, self.disk.fdatasync_p50_us_after),
            ),
            ("machine busy before", format!("{:.0}%", self.busy_before * 100.0)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_per_entry_and_per_copied_byte() -> Outcome {
        let mut latencies = latencies()?;
        (1..=1000).for_each(|us| latencies.saturating_record(us));
        let cost = Cost {
            cpu: Duration::from_millis(4),
            rss_bytes: 50 << 20,
            written_bytes: 3_300_000,
            read_bytes: 0,
        };
        let measured = Measured {
            latencies,
            entries: 1000,
            payload_bytes: 1_000_000,
            took: Duration::from_millis(500),
            errors: 0,
            loader_cpu: Duration::from_millis(2),
            bookies: Some(cost),
        };
        let disk = DiskProbe {
            folder: "/d".into(),
            file_system: "ext4".into(),
            fdatasync_p50_us_before: 120.0,
            fdatasync_p50_us_after: 121.0,
        };
        let about = About {
            side: "a".into(),
            metadata: "m".into(),
            copies: 3,
            rounds: vec![2000.0],
            disk,
            busy_before: 0.0,
        };
        let figures = Figures::of(about, &measured);
        assert_eq!((figures.per_second, figures.p50_ms, figures.p99_ms), (2000.0, 0.5, 0.99));
        assert_eq!(figures.cpu_us_per_entry, Some(4.0));
        assert_eq!(figures.disk_bytes_per_byte, Some(1.1));
        assert_eq!(figures.rss_mb, Some(50.0));
        Ok(())
    }
}
