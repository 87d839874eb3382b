//! `stratamq topic|group|message|cluster`: what RocketMQ's clients see, from the command line. Works with Apache
//! RocketMQ too.

pub mod cluster;
pub mod group;
mod log;
pub mod message;
pub mod topic;
mod vbs;

use clap::{Args, Subcommand};
use client::Client;
use serde_json::Value;

use crate::error::{Error, Outcome};
use crate::output::say;

#[derive(Args)]
pub struct Arguments<C: Subcommand> {
    #[command(flatten)]
    at: Where,
    #[command(subcommand)]
    command: C,
}

#[derive(Args)]
pub struct Where {
    /// Name servers of the cluster
    #[arg(
        long,
        env = "STRATAMQ_NAMESRV",
        value_name = "H:P[;H:P]",
        default_value = "127.0.0.1:9876",
        global = true
    )]
    namesrv: String,
    /// JSON, for machines
    #[arg(long, global = true)]
    json: bool,
}

impl Where {
    fn client(&self) -> Outcome<Client> {
        Client::new(&self.namesrv).map_err(failed)
    }

    /// Prints rows as a table, or as one JSON object a row.
    fn show<const N: usize>(&self, head: [&str; N], rows: &[[Value; N]]) -> Outcome {
        self.show_with(head, rows, &[])
    }

    /// As [`Where::show`]; machines are told in each row what people read below the table.
    fn show_with<const N: usize>(
        &self,
        head: [&str; N],
        rows: &[[Value; N]],
        also: &[(&str, Value)],
    ) -> Outcome {
        if !self.json {
            let rows: Vec<_> = rows.iter().map(|row| row.each_ref().map(text)).collect();
            crate::table::print(head, &rows);
            return Ok(());
        }
        for row in rows {
            let cells = head.iter().zip(row).map(|(name, cell)| (name.replace(' ', "_"), cell.clone()));
            let also = also.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
            let line = Value::Object(cells.chain(also).collect());
            say!("{line}");
        }
        Ok(())
    }

    /// Ms since 1970: for people as they read them.
    fn time(&self, ms: i64) -> Value {
        if self.json { ms.into() } else { time(ms).into() }
    }

    fn tell(&self, what: &str) {
        if !self.json {
            say!("{what}");
        }
    }
}

/// A cell of a table.
fn text(cell: &Value) -> String {
    match cell {
        Value::Null => "–".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn failed(error: client::Error) -> Error {
    Error::Failed(error.to_string())
}

/// Ms since 1970 as people read them, in UTC.
fn time(ms: i64) -> String {
    let Ok(ms) = u64::try_from(ms) else { return "–".to_owned() };
    if ms == 0 {
        return "–".to_owned();
    }
    // Years that begin in March have their leap day at the end, and their months 153 days in five.
    let (days, of_day) = (ms / 86_400_000 + 719_468, ms % 86_400_000);
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + later;
    let (h, m, s, ms) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1000 % 60, of_day % 1000);
    format!("{year:04}-{month:02}-{day:02} {h:02}:{m:02}:{s:02}.{ms:03}")
}

pub fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc() {
        assert_eq!(time(1_709_164_801_007), "2024-02-29 00:00:01.007");
        assert_eq!(time(1_704_067_199_999), "2023-12-31 23:59:59.999");
        assert_eq!([time(0), time(-1)], ["–", "–"]);
    }
}
