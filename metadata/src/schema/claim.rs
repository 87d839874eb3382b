//! `{scope}/strata/claims/<vb>` and `{scope}/strata/vbs`: which broker means to serve a virtual broker, and how many
//! of those there are.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Scope, from_json, to_json};
use crate::Error;

/// On the lease of the broker. It keeps brokers from stealing from each other all the time and excludes nobody: that
/// is the log's business ([`super::Owner`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The broker's name: where it is reached.
    pub broker: String,
    /// Chosen at random by the process.
    pub token: u64,
    /// Where the process runs; empty if it does not say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub machine: String,
}

/// How many virtual brokers the cluster has; written once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualBrokers {
    pub count: u32,
}

impl Claim {
    /// Whether a process that has the ports of this one's address may take what `earlier` had: they cannot both live.
    pub fn succeeds(&self, earlier: &Claim) -> bool {
        let known = !self.machine.is_empty() && !earlier.machine.is_empty();
        self.broker == earlier.broker && (!known || self.machine == earlier.machine)
    }

    /// Whether two processes that may both live say that they are reached at the same address.
    pub fn collides_with(&self, other: &Claim) -> bool {
        self.broker == other.broker && !self.succeeds(other)
    }

    pub fn encode(&self) -> Bytes {
        to_json(self)
    }

    pub fn decode(vb: u32, value: &[u8]) -> Result<Claim, Error> {
        from_json(value, &|| format!("the claim of virtual broker {vb}"))
    }
}

impl VirtualBrokers {
    pub fn encode(&self) -> Bytes {
        to_json(self)
    }

    pub fn decode(value: &[u8]) -> Result<VirtualBrokers, Error> {
        from_json(value, &|| "the number of virtual brokers".into())
    }
}

impl Scope {
    pub fn claims(&self) -> String {
        self.key("strata/claims/")
    }

    /// Five digits, so that the order of keys is that of virtual brokers.
    pub fn claim(&self, vb: u32) -> String {
        format!("{}{vb:05}", self.claims())
    }

    /// The virtual broker whose claim a key is.
    pub fn claimed_vb(&self, key: &str) -> Option<u32> {
        key.strip_prefix(&self.claims())?.parse().ok()
    }

    pub fn virtual_brokers(&self) -> String {
        self.key("strata/vbs")
    }
}
