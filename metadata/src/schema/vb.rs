//! `{scope}/strata/vb/<id>/…`: who owns a log, the chain of its links, its last checkpoint.

use bytes::Bytes;
use protocol::LedgerId;
use serde::{Deserialize, Serialize};

use super::{Scope, from_json, to_json};
use crate::Error;

/// `owner`: changed only by a steal, so that comparing its revision compares the epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Grows with every change of owner.
    pub epoch: u64,
    /// Who, for people.
    pub name: String,
    /// Chosen by the owner at random: tells its own ambiguous steal from another's.
    pub token: u64,
}

/// `log/<base>`: one link of the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    #[serde(with = "ledger_id")]
    pub ledger: LedgerId,
    /// The epoch that added it.
    pub epoch: u64,
    /// Where it ends, once that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<u64>,
    /// Bytes that the ledger has of it, if that is a copy of what was needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sparse: Option<u64>,
}

/// `ready/<ledger>`: a ledger made ahead, not yet a link. One that no live epoch owns is deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    pub epoch: u64,
}

/// `checkpoint`: where the newest checkpoint's manifest is, and the position that it covers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    #[serde(with = "ledger_id")]
    pub ledger: LedgerId,
    pub entry: i64,
    pub position: u64,
    pub epoch: u64,
}

mod ledger_id {
    use protocol::LedgerId;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(id: &LedgerId, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i64(id.0)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<LedgerId, D::Error> {
        i64::deserialize(from).map(LedgerId)
    }
}

macro_rules! stored {
    ($($name:ident: $key:literal,)+) => {$(
        impl $name {
            pub fn encode(&self) -> Bytes {
                to_json(self)
            }

            /// `vb` is named in the error.
            pub fn decode(vb: &str, value: &[u8]) -> Result<$name, Error> {
                from_json(value, &|| format!(concat!("'", $key, "' of log '{}'"), vb))
            }
        }
    )+};
}

stored! { Owner: "owner", Link: "log", Ready: "ready", Checkpoint: "checkpoint", }

impl Scope {
    /// All of a log's keys begin so.
    pub fn vb(&self, vb: &str) -> String {
        format!("{}/strata/vb/{vb}/", self.as_str())
    }

    pub fn vb_owner(&self, vb: &str) -> String {
        self.vb(vb) + "owner"
    }

    pub fn vb_checkpoint(&self, vb: &str) -> String {
        self.vb(vb) + "checkpoint"
    }

    pub fn vb_links(&self, vb: &str) -> String {
        self.vb(vb) + "log/"
    }

    /// Twenty digits, so that the order of keys is the order of positions.
    pub fn vb_link(&self, vb: &str, base: u64) -> String {
        format!("{}{base:020}", self.vb_links(vb))
    }

    /// The base position in a link's key.
    pub fn vb_link_base(&self, vb: &str, key: &str) -> Option<u64> {
        key.strip_prefix(&self.vb_links(vb))?.parse().ok()
    }

    pub fn vb_ready(&self, vb: &str) -> String {
        self.vb(vb) + "ready/"
    }

    pub fn vb_ready_ledger(&self, vb: &str, ledger: LedgerId) -> String {
        format!("{}{ledger}", self.vb_ready(vb))
    }
}

/// Whether `id` can name a log: one path element of printable characters.
pub fn check_vb_id(id: &str) -> Result<(), Error> {
    let fits = !id.is_empty()
        && id.len() <= 128
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    match fits {
        true => Ok(()),
        false => Err(Error::Invalid(format!(
            "'{id}' cannot name a log: use 1 to 128 letters, digits, '-', '_' or '.'"
        ))),
    }
}
