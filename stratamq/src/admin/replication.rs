//! `stratamq admin replication`: what repair does, and what it cannot.

use clap::Subcommand;
use ledger::repair::{self, Status};
use metadata::schema::TaskReason;
use protocol::LedgerId;
use serde_json::json;

use super::{Given, ledger_id, print_json};
use crate::cluster::Cluster;
use crate::error::{Error, Outcome};
use crate::output::say;
use crate::table;

#[derive(Subcommand)]
pub enum Command {
    /// What is to be repaired, by whom, what failed, and which open ledgers are at risk
    Status,
    /// Stop repair everywhere, after what it is at
    Pause,
    /// Let it go on
    Resume,
    /// Take up a ledger again that was set aside
    Retry {
        #[arg(value_parser = ledger_id)]
        ledger: LedgerId,
    },
}

pub async fn run(given: &Given, command: Command) -> Outcome {
    let cluster = given.cluster().await?;
    match command {
        Command::Status => status(given, &cluster).await,
        Command::Pause => pause(&cluster, true).await,
        Command::Resume => pause(&cluster, false).await,
        Command::Retry { ledger } => retry(&cluster, ledger).await,
    }
}

async fn pause(cluster: &Cluster, paused: bool) -> Outcome {
    let failed = |error| Error::cannot("change whether repair is paused", error);
    repair::pause(&*cluster.store, &cluster.scope, paused).await.map_err(failed)?;
    say!("Repair is {}.", if paused { "paused" } else { "on" });
    Ok(())
}

async fn retry(cluster: &Cluster, ledger: LedgerId) -> Outcome {
    let failed = |error| Error::cannot(format!("take ledger {ledger} up again"), error);
    if !repair::retry(&*cluster.store, &cluster.scope, ledger).await.map_err(failed)? {
        return Err(Error::Failed(format!("nothing is to be repaired in ledger {ledger}")));
    }
    say!("Ledger {ledger} is tried again.");
    Ok(())
}

async fn status(given: &Given, cluster: &Cluster) -> Outcome {
    let status = repair::status(&*cluster.store, &cluster.scope).await;
    let status = status.map_err(|error| Error::cannot("read what repair does", error))?;
    if given.json {
        print_json(&as_json(&status));
    } else {
        print(&status);
    }
    Ok(())
}

fn reason(reason: TaskReason) -> &'static str {
    match reason {
        TaskReason::Lost => "lost",
        TaskReason::Drain => "drained",
        TaskReason::Missing => "lacks entries",
    }
}

fn as_json(status: &Status) -> serde_json::Value {
    let tasks: Vec<_> = status
        .tasks
        .iter()
        .map(|task| {
            let damage: Vec<_> = task
                .task
                .damage
                .iter()
                .map(|damage| json!({ "bookie": damage.bookie, "reason": reason(damage.reason), "lacks": damage.lacks }))
                .collect();
            json!({
                "ledger": task.ledger.0,
                "damage": damage,
                "worker": task.worker,
                "attempts": task.task.attempts,
                "copied": task.task.copied,
                "set_aside": task.task.quarantined,
                "last_error": task.task.last_error,
            })
        })
        .collect();
    let at_risk: Vec<_> = status
        .at_risk
        .iter()
        .map(|found| json!({ "ledger": found.ledger.0, "lost": found.risk.bookies, "log": found.risk.log }))
        .collect();
    let names = |bookies: &[protocol::BookieId]| bookies.iter().map(ToString::to_string).collect::<Vec<_>>();
    json!({
        "auditor": status.auditor,
        "paused": status.paused,
        "tasks": tasks,
        "open_at_risk": at_risk,
        "draining": names(&status.draining),
        "given_up": names(&status.gone),
    })
}

fn print(status: &Status) {
    match &status.auditor {
        Some(auditor) => say!("The auditor is {auditor}."),
        None => {
            say!("There is no auditor: repair runs in bookies of StrataMQ and in `stratamq autorecovery`.")
        }
    };
    if status.paused {
        say!("Repair is paused: `stratamq admin replication resume` lets it go on.");
    }
    for (bookies, what) in [(&status.draining, "being drained"), (&status.gone, "given up")] {
        for bookie in bookies {
            say!("{bookie} is {what}.");
        }
    }
    if status.tasks.is_empty() {
        say!("Nothing is to be repaired.");
    } else {
        let rows: Vec<_> = status.tasks.iter().map(row).collect();
        table::print(["ledger", "why", "worker", "attempts", "copied", "state"], &rows);
    }
    for found in &status.at_risk {
        let lost = found.risk.bookies.join(", ");
        let who = match found.risk.log.as_str() {
            "" => "its writer goes on, or `stratamq admin ledger recover` closes it".to_string(),
            log => format!("log '{log}' closes it when it is opened"),
        };
        say!("Ledger {} is open, at risk: it has lost {lost}; {who}.", found.ledger);
    }
}

fn row(task: &repair::Task) -> [String; 6] {
    let why: Vec<_> = task
        .task
        .damage
        .iter()
        .map(|damage| format!("{} {}", damage.bookie, reason(damage.reason)))
        .collect();
    let state = match (task.task.quarantined, task.task.last_error.as_str()) {
        (true, error) => format!("set aside: {error}"),
        (false, "") => "waiting, or under way".into(),
        (false, error) => format!("failed: {error}"),
    };
    [
        task.ledger.to_string(),
        why.join(", "),
        task.worker.clone().unwrap_or_default(),
        task.task.attempts.to_string(),
        task.task.copied.to_string(),
        state,
    ]
}
