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
    /// The broker's name: where it is reached. A process that bears it now may take what an earlier one had.
    pub broker: String,
    /// Chosen at random by the process.
    pub token: u64,
}

/// How many virtual brokers the cluster has; written once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualBrokers {
    pub count: u32,
}

impl Claim {
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
