//! One or two sides under the same load, in turns.

use std::path::PathBuf;

use super::figures::{About, DiskProbe, Figures, Measured};
use super::machine;
use super::storage::{self, Probe};
use crate::error::{Error, Outcome};
use crate::output::say;
use crate::table;

/// Who is measured, and what came of it.
pub struct Side<T> {
    pub name: String,
    pub address: String,
    pub pids: Vec<u32>,
    pub target: T,
    rounds: Vec<f64>,
    measured: Option<Measured>,
    disk: Option<DiskProbe>,
    busy_before: f64,
}

impl<T> Side<T> {
    pub fn new(
        name: impl Into<String>,
        address: impl Into<String>,
        pids: &[u32],
        target: T,
    ) -> Outcome<Side<T>> {
        machine::reading(pids)?;
        Ok(Side {
            name: name.into(),
            address: address.into(),
            pids: pids.to_vec(),
            target,
            rounds: Vec::new(),
            measured: None,
            disk: None,
            busy_before: 0.0,
        })
    }

    /// Runs once, with a look at machine and disk before and after.
    pub async fn round(
        &mut self,
        disk: Option<&PathBuf>,
        run: impl AsyncFnOnce(&mut T) -> Outcome<Measured>,
    ) -> Outcome {
        let folder = storage::probed(disk, &self.pids)?;
        self.busy_before = self.busy_before.max(machine::busy().await);
        let probe = Probe::begin(folder)?;
        let measured = run(&mut self.target).await?;
        self.rounds.push(measured.per_second());
        let disk = probe.end()?;
        let first = self.disk.as_ref().unwrap_or(&disk).fdatasync_p50_us_before;
        self.disk = Some(DiskProbe { fdatasync_p50_us_before: first, ..disk });
        match &mut self.measured {
            Some(all) => all.add(&measured),
            none => *none = Some(measured),
        }
        Ok(())
    }

    fn figures(self, copies: u32) -> Option<Figures> {
        let about = About {
            side: self.name,
            metadata: self.address,
            copies,
            rounds: self.rounds,
            disk: self.disk?,
            busy_before: self.busy_before,
        };
        Some(Figures::of(about, &self.measured?))
    }
}

/// Prints what came of it.
pub fn report<T>(sides: Vec<Side<T>>, copies: u32, json: bool) -> Outcome {
    let all: Vec<Figures> = sides.into_iter().filter_map(|side| side.figures(copies)).collect();
    show(&all, json)
}

/// Prints figures. An error if anything was not acknowledged: then they are void.
pub fn show(all: &[Figures], json: bool) -> Outcome {
    if json {
        for figures in all {
            let line = serde_json::to_string(figures).map_err(|error| Error::cannot("write JSON", error))?;
            say!("{line}");
        }
    } else {
        print(all);
    }
    match all.iter().map(|figures| figures.errors).sum::<u64>() {
        0 => Ok(()),
        errors => {
            Err(Error::Failed(format!("{errors} entries were never acknowledged: the figures are void")))
        }
    }
}

fn print(all: &[Figures]) {
    match all {
        [one] => {
            let rows: Vec<_> =
                one.column().into_iter().map(|(what, figure)| [what.to_string(), figure]).collect();
            table::print(["", one.side.as_str()], &rows);
        }
        [one, other] => {
            let both = one.column().into_iter().zip(other.column());
            let rows: Vec<_> =
                both.map(|((what, left), (_, right))| [what.to_string(), left, right]).collect();
            table::print(["", one.side.as_str(), other.side.as_str()], &rows);
            say!("\n{:.2} times as many per second", one.per_second / other.per_second.max(1e-9));
        }
        _ => {}
    }
    if all.iter().any(|figures| figures.busy_before > 0.1) {
        say!("\nThe machine was busy with something else: these figures are worth little.");
    }
}
