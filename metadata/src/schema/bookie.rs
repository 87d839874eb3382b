//! `{scope}/strata/bookies/<id>`: what a bookie of ours says of itself. Apache's bookies have none.

use bytes::Bytes;
use protocol::BookieId;
use serde::{Deserialize, Serialize};

use super::{from_json, to_json};
use crate::Error;

/// Written at registration, on change, and now and then for space and load. Outlives the bookie's lease, so that a bookie
/// that is away keeps its address and zone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// Where it listens now: `host:port`.
    pub address: String,
    /// Rack or zone from its configuration; empty when there is none.
    #[serde(default)]
    pub zone: String,
    /// Changes when the identity starts on a disk that is not the one it had.
    #[serde(default)]
    pub incarnation: u64,
    /// Its HTTP address, if it serves one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    #[serde(default)]
    pub free_bytes: u64,
    #[serde(default)]
    pub total_bytes: u64,
    /// Its disks have no room beyond what is begun there: nothing should come but what is small and must be stored.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub short: bool,
    /// Bytes of entries that it makes durable per second, smoothed. Releases before this field did not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_per_second: Option<u64>,
}

impl Published {
    pub fn encode(&self) -> Bytes {
        to_json(self)
    }

    pub fn decode(bookie: &BookieId, value: &[u8]) -> Result<Published, Error> {
        from_json(value, &|| format!("what bookie {bookie} published of itself"))
    }
}
