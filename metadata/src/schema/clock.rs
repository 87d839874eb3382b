//! `{scope}/strata/clocks/<role>-<name>`: what time a process takes it to be.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Scope, from_json, to_json};
use crate::Error;

/// On a lease, and written again every few seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// Milliseconds since 1970 when it was written.
    pub wall: i64,
    /// Why the process itself does not trust it, if so.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub doubt: String,
}

impl Clock {
    pub fn encode(&self) -> Bytes {
        to_json(self)
    }

    pub fn decode(name: &str, value: &[u8]) -> Result<Clock, Error> {
        from_json(value, &|| format!("the clock of '{name}'"))
    }
}

impl Scope {
    pub fn clocks(&self) -> String {
        self.key("strata/clocks/")
    }

    pub fn clock(&self, name: &str) -> String {
        self.clocks() + name
    }
}
