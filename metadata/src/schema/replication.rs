//! `{scope}/strata/replication/…`: what is to be repaired, by whom, and what could not be.

use bytes::Bytes;
use protocol::{BookieId, LedgerId};
use serde::{Deserialize, Serialize};

use super::{Scope, from_json, to_json};
use crate::Error;

/// Why a ledger was filed for repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskReason {
    /// A bookie is gone.
    Lost,
    /// A bookie is alive and to be emptied.
    Drain,
    /// A bookie lacks entries that it should hold.
    Missing,
}

/// One bookie that is to be relieved of a ledger, or given what it lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    pub bookie: String,
    pub reason: TaskReason,
    /// Entry ranges that it lacks, first and last inclusive; empty: all that it should hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lacks: Vec<(i64, i64)>,
}

/// `tasks/<ledger>`: one ledger to repair.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerTask {
    pub damage: Vec<Damage>,
    /// Failed attempts so far, and what the last one said.
    #[serde(default)]
    pub attempts: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_error: String,
    /// After too many failures the ledger is set aside under its name: nobody tries again by itself.
    #[serde(default)]
    pub quarantined: bool,
    /// Entries copied by the attempts so far.
    #[serde(default)]
    pub copied: u64,
}

/// `gone/<bookie>`: the operator says that this bookie never comes back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    /// Who takes its place wherever that is possible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replacement: Option<String>,
}

impl Gone {
    pub fn encode(&self) -> Bytes {
        to_json(self)
    }

    pub fn decode(bookie: &BookieId, value: &[u8]) -> Result<Gone, Error> {
        from_json(value, &|| format!("the note that bookie {bookie} is gone"))
    }
}

/// `at-risk/<ledger>`: it is not closed and has lost a bookie. Nobody closes it by himself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtRisk {
    /// Who is lost.
    pub bookies: Vec<String>,
    /// The log that it is a link of; empty for other ledgers. A link is closed by its owner.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub log: String,
}

impl AtRisk {
    pub fn encode(&self) -> Bytes {
        to_json(self)
    }

    pub fn decode(ledger: LedgerId, value: &[u8]) -> Result<AtRisk, Error> {
        from_json(value, &|| format!("the note that ledger {ledger} is at risk"))
    }
}

impl LedgerTask {
    pub fn of(bookie: &BookieId, reason: TaskReason, lacks: Vec<(i64, i64)>) -> LedgerTask {
        LedgerTask {
            damage: vec![Damage { bookie: bookie.to_string(), reason, lacks }],
            ..LedgerTask::default()
        }
    }

    pub fn encode(&self) -> Bytes {
        to_json(self)
    }

    pub fn decode(ledger: LedgerId, value: &[u8]) -> Result<LedgerTask, Error> {
        from_json(value, &|| format!("the replication task of ledger {ledger}"))
    }
}

impl Scope {
    pub fn replication_tasks(&self) -> String {
        self.key("strata/replication/tasks/")
    }

    /// Nineteen digits, so that the order of keys is the order of ledgers.
    pub fn replication_task(&self, ledger: LedgerId) -> String {
        format!("{}{:019}", self.replication_tasks(), ledger.0)
    }

    pub fn replication_task_of(&self, key: &str) -> Option<LedgerId> {
        key.strip_prefix(&self.replication_tasks())?.parse().ok().map(LedgerId)
    }

    /// Held, on a lease, by the worker that repairs the ledger.
    pub fn replication_lock(&self, ledger: LedgerId) -> String {
        format!("{}/strata/replication/locks/{:019}", self.as_str(), ledger.0)
    }

    /// Ledgers that are not closed and have lost a bookie.
    pub fn replication_at_risk(&self) -> String {
        self.key("strata/replication/at-risk/")
    }

    pub fn replication_at_risk_of(&self, ledger: LedgerId) -> String {
        format!("{}{:019}", self.replication_at_risk(), ledger.0)
    }

    pub fn replication_at_risk_ledger(&self, key: &str) -> Option<LedgerId> {
        key.strip_prefix(&self.replication_at_risk())?.parse().ok().map(LedgerId)
    }

    pub fn replication_gone(&self, bookie: &BookieId) -> String {
        format!("{}/strata/replication/gone/{bookie}", self.as_str())
    }

    /// Present while auditor and workers shall do nothing.
    pub fn replication_paused(&self) -> String {
        self.key("strata/replication/paused")
    }
}
