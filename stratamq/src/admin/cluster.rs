//! `stratamq admin cluster`.

use clap::Subcommand;
use metadata::cluster;
use serde_json::json;

use super::{Given, print_json};
use crate::error::{Error, Outcome};
use crate::output::say;

#[derive(Subcommand)]
pub enum Command {
    /// Format a cluster, with the layout of BookKeeper's etcd driver; one that exists is left as it is
    Init,
    /// Read everything, and say what is wrong
    Check,
}

pub async fn run(given: &Given, command: Command) -> Outcome {
    match command {
        Command::Init => init(given).await,
        Command::Check => check(given).await,
    }
}

async fn init(given: &Given) -> Outcome {
    let (store, scope) = given.store().await?;
    let (instance, is_new) = crate::cluster::format(&*store, &scope).await?;
    if given.json {
        print_json(&json!({ "instance_id": instance, "created": is_new }));
    } else if is_new {
        say!("The cluster {} is formatted; its instance id is {instance}.", scope.as_str());
    } else {
        say!("The cluster {} exists; its instance id is {instance}. Nothing was changed.", scope.as_str());
    }
    Ok(())
}

async fn check(given: &Given) -> Outcome {
    let (store, scope) = given.store().await?;
    let report = cluster::check(&store, &scope)
        .await
        .map_err(|error| Error::cannot(format!("check the cluster {}", scope.as_str()), error))?;
    if given.json {
        print_json(&json!({
            "instance_id": report.instance_id,
            "bookies": report.bookies,
            "ledgers": report.ledgers,
            "problems": report.problems,
        }));
    } else {
        say!(
            "Cluster {}, instance {}: {} bookies, {} ledgers.",
            scope.as_str(),
            report.instance_id,
            report.bookies,
            report.ledgers
        );
        for problem in &report.problems {
            say!("- {problem}");
        }
    }
    match report.problems.len() {
        0 => Ok(()),
        1 => Err(Error::Failed("1 problem found".into())),
        many => Err(Error::Failed(format!("{many} problems found"))),
    }
}
