//! Every key and every value.
//!
//! Outside `{scope}/strata/` the layout is that of BookKeeper's own etcd driver, byte for byte: a cluster formatted
//! by Apache's tools is usable by us, and the reverse. Below it the values are JSON objects with a field `v`, their
//! version; fields a reader does not know are ignored, a version it does not know is refused.

pub mod bookie;
pub mod claim;
pub mod clock;
pub mod cookie;
#[cfg(test)]
mod golden;
pub mod ledger;
mod ledger_text;
pub mod replication;
mod text;
pub mod transition;
pub mod vb;

use std::sync::Arc;

use bytes::Bytes;
use protocol::{BookieId, LedgerId};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;

pub use bookie::Published;
pub use claim::{Claim, VirtualBrokers};
pub use clock::Clock;
pub use cookie::Cookie;
pub use ledger::{LedgerMetadata, Origin, Segment, State};
pub use replication::{AtRisk, Damage, Gone, LedgerTask, TaskReason};
pub use transition::{Violation, check_transition};
pub use vb::{Checkpoint, Link, Owner, Ready};

/// How many buckets ledger ids are drawn from.
pub const BUCKETS: u8 = 128;

/// What is written into `layout`: version and class of BookKeeper's own etcd driver.
pub const LAYOUT: &str = "2\norg.apache.bookkeeper.metadata.etcd.EtcdLedgerManagerFactory:0";

/// The prefix of all keys of one cluster: a path with a leading and no closing slash, as in `/ledgers`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(Arc<str>);

impl Scope {
    pub fn new(path: &str) -> Result<Scope, Error> {
        let path = path.trim_end_matches('/');
        let fits = path.len() > 1
            && path.starts_with('/')
            && !path.contains("//")
            && path.bytes().all(|byte| byte.is_ascii_graphic());
        if !fits {
            return Err(Error::Invalid(format!(
                "'{path}' is not a metadata scope: it is a path such as /strata, the last part of etcd://host:2379/strata"
            )));
        }
        Ok(Scope(path.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `path` below the scope.
    pub fn key(&self, path: &str) -> String {
        format!("{}/{path}", self.0)
    }

    pub fn layout(&self) -> String {
        self.key("layout")
    }

    pub fn instance_id(&self) -> String {
        self.key("instanceid")
    }

    /// The registration of a bookie that takes new ledgers. On a lease.
    pub fn writable(&self, bookie: &BookieId) -> String {
        format!("{}/bookies/writable/{bookie}", self.0)
    }

    /// The registration of a bookie that only serves reads and repair. On a lease.
    pub fn readonly(&self, bookie: &BookieId) -> String {
        format!("{}/bookies/readonly/{bookie}", self.0)
    }

    pub fn cookie(&self, bookie: &BookieId) -> String {
        format!("{}/cookies/{bookie}", self.0)
    }

    /// What a bookie says of itself ([`Published`]).
    pub fn published(&self, bookie: &BookieId) -> String {
        format!("{}/strata/bookies/{bookie}", self.0)
    }

    /// Present while the bookie is to be emptied. Written by its operator.
    pub fn drain(&self, bookie: &BookieId) -> String {
        format!("{}/strata/drain/{bookie}", self.0)
    }

    /// A ledger's metadata: its id as the low half of a UUID.
    pub fn ledger(&self, ledger: LedgerId) -> String {
        format!("{}/ledgers/{}", self.0, uuid::Uuid::from_u64_pair(0, ledger.0 as u64))
    }

    /// The ledger whose key this is; none for keys of other shapes, such as Apache's empty `{scope}/ledgers`.
    pub fn ledger_of(&self, key: &str) -> Option<LedgerId> {
        let id = key.strip_prefix(&*self.0)?.strip_prefix("/ledgers/")?;
        match uuid::Uuid::try_parse(id).ok()?.as_u64_pair() {
            (0, low) => i64::try_from(low).ok().map(LedgerId),
            _ => None,
        }
    }

    /// The bookie that a key below `bookies/…/`, `cookies/` or `strata/bookies/` is about.
    pub fn bookie_of(&self, key: &str, under: &str) -> Option<BookieId> {
        key.strip_prefix(&*self.0)?.strip_prefix('/')?.strip_prefix(under)?.parse().ok()
    }

    pub fn bucket(&self, bucket: u8) -> String {
        format!("{}/buckets/{bucket:03}", self.0)
    }
}

#[derive(serde::Deserialize)]
struct Versioned {
    v: u32,
}

#[derive(Serialize)]
struct Envelope<'a, T> {
    v: u32,
    #[serde(flatten)]
    body: &'a T,
}

/// Writes a value of ours, format version 1.
pub(crate) fn to_json<T: Serialize>(value: &T) -> Bytes {
    // Our values are plain structs with string keys: there is nothing in them that JSON cannot express.
    serde_json::to_vec(&Envelope { v: 1, body: value }).unwrap_or_default().into()
}

/// Reads a value of ours; `what` names the key in the error.
pub(crate) fn from_json<T: DeserializeOwned>(value: &[u8], what: &dyn Fn() -> String) -> Result<T, Error> {
    let wrong = |why: String| Error::Corrupt(format!("{} cannot be read: {why}", what()));
    let head: Versioned = serde_json::from_slice(value).map_err(|error| wrong(error.to_string()))?;
    if head.v != 1 {
        return Err(wrong(format!("it has version {}, this release knows version 1: upgrade", head.v)));
    }
    serde_json::from_slice(value).map_err(|error| wrong(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_bookkeepers_etcd_driver() -> Result<(), Error> {
        let scope = Scope::new("/ledgers/")?;
        let bookie: BookieId = "b1:3181".parse().map_err(|_| Error::LeaseGone)?;
        assert_eq!(scope.ledger(LedgerId(7)), "/ledgers/ledgers/00000000-0000-0000-0000-000000000007");
        assert_eq!(scope.ledger_of(&scope.ledger(LedgerId(i64::MAX))), Some(LedgerId(i64::MAX)));
        assert_eq!(scope.ledger_of("/ledgers/ledgers"), None);
        assert_eq!(scope.writable(&bookie), "/ledgers/bookies/writable/b1:3181");
        assert_eq!(scope.bookie_of("/ledgers/bookies/writable/b1:3181", "bookies/writable/"), Some(bookie));
        assert_eq!(scope.bucket(7), "/ledgers/buckets/007");
        Ok(())
    }

    #[test]
    fn a_scope_is_a_path() {
        for wrong in ["", "/", "ledgers", "/a//b", "/a b"] {
            assert!(Scope::new(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_value_of_a_later_version_is_refused_by_name() {
        let told = from_json::<Owner>(br#"{"v":2}"#, &|| "/s/strata/vb/x/owner".into());
        assert!(
            matches!(told, Err(Error::Corrupt(text)) if text.contains("/vb/x/owner") && text.contains("upgrade"))
        );
    }
}
