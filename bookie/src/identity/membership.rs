//! `{scope}/strata/disks/<id>`: which disks a bookie has, and how far it had come. Written by the bookie alone, by
//! compare-and-swap: a second process under the same identity loses, or makes the first one stop.

use bytes::Bytes;
use metadata::schema::Cookie;
use metadata::{Compare, Ledgers, Revision, Txn, TxnOutcome, commit};
use protocol::BookieId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Known;
use crate::Error;

const VERSION: u32 = 1;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    v: u32,
    pub incarnation: u64,
    pub epoch: u64,
    /// UUIDs.
    pub disks: Vec<String>,
    /// Ledgers that are as old as this revision of metadata may have been lost here; 0: none was.
    #[serde(default)]
    pub lost_until: i64,
}

impl Membership {
    pub fn new(incarnation: u64, epoch: u64, disks: &[Uuid]) -> Membership {
        let disks = disks.iter().map(Uuid::to_string).collect();
        Membership { v: VERSION, incarnation, epoch, disks, lost_until: 0 }
    }

    pub fn encode(&self) -> Bytes {
        // A plain struct with string keys: there is nothing in it that JSON cannot express.
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    pub fn decode(key: &str, value: &[u8]) -> Result<Membership, metadata::Error> {
        let wrong = |why: String| metadata::Error::Corrupt(format!("{key} cannot be read: {why}"));
        let read: Membership = serde_json::from_slice(value).map_err(|error| wrong(error.to_string()))?;
        match read.v {
            VERSION => Ok(read),
            other => Err(wrong(format!("it has version {other}, this release knows {VERSION}: upgrade"))),
        }
    }
}

pub fn key(ledgers: &Ledgers, id: &BookieId) -> String {
    ledgers.scope().key(&format!("strata/disks/{id}"))
}

/// A bookie's hold on its own name in metadata.
pub struct Claim {
    ledgers: Ledgers,
    id: BookieId,
    /// Of the cookie and of the membership; `None` while there is none.
    cookie: Option<Revision>,
    membership: Option<Revision>,
}

impl Claim {
    /// Reads what metadata knows of the bookie.
    pub async fn read(ledgers: &Ledgers, id: &BookieId) -> Result<(Claim, Known), Error> {
        let (store, scope) = (ledgers.store(), ledgers.scope());
        let instance = store.get(&scope.instance_id()).await?.ok_or_else(|| {
            Error::Config(format!(
                "the metadata below {} is not formatted: run 'stratamq admin --metadata … cluster init'",
                scope.as_str()
            ))
        })?;
        let cluster = String::from_utf8_lossy(&instance.value).trim().to_owned();
        let cookie = store.get(&scope.cookie(id)).await?;
        if let Some(found) = &cookie {
            // What it says of folders does not matter to us; that it is somebody's, of this cluster, does.
            Cookie::decode(&scope.cookie(id), &found.value)?;
        }
        let key = key(ledgers, id);
        let found = store.get(&key).await?;
        let membership = found.as_ref().map(|found| Membership::decode(&key, &found.value)).transpose()?;
        let known = Known {
            cluster,
            cookie: cookie.is_some(),
            epoch: membership.as_ref().map_or(0, |m| m.epoch),
            incarnation: membership.as_ref().map_or(0, |m| m.incarnation),
            lost_until: membership.as_ref().map_or(0, |m| m.lost_until),
            disks: membership.map(|m| parse(&key, &m.disks)).transpose()?.unwrap_or_default(),
        };
        let (cookie, membership) = (cookie.map(|c| c.modified), found.map(|f| f.modified));
        Ok((Claim { ledgers: ledgers.clone(), id: id.clone(), cookie, membership }, known))
    }

    /// Takes the name for this incarnation: cookie and membership in one step.
    pub async fn take(&mut self, cookie: &Cookie, membership: &Membership) -> Result<(), Error> {
        let cookie_key = self.ledgers.scope().cookie(&self.id);
        let txn = Txn::default().compare(compare(&cookie_key, self.cookie)).put(cookie_key, cookie.encode());
        self.cookie = Some(self.write(txn, membership).await?);
        Ok(())
    }

    /// A higher epoch.
    pub async fn advance(&mut self, membership: &Membership) -> Result<(), Error> {
        self.write(Txn::default(), membership).await.map(|_| ())
    }

    async fn write(&mut self, txn: Txn, membership: &Membership) -> Result<Revision, Error> {
        let key = key(&self.ledgers, &self.id);
        let txn = txn.compare(compare(&key, self.membership)).put(key, membership.encode());
        match commit(&**self.ledgers.store(), txn).await? {
            TxnOutcome::Done(at) => {
                self.membership = Some(at);
                Ok(at)
            }
            TxnOutcome::Conflict(_) => Err(Error::Rival(self.id.clone())),
        }
    }
}

fn compare(key: &str, revision: Option<Revision>) -> Compare {
    match revision {
        Some(revision) => Compare::Unchanged(key.into(), revision),
        None => Compare::Absent(key.into()),
    }
}

fn parse(key: &str, disks: &[String]) -> Result<Vec<Uuid>, Error> {
    let parsed: Result<Vec<Uuid>, _> = disks.iter().map(|disk| Uuid::try_parse(disk)).collect();
    parsed.map_err(|_| metadata::Error::Corrupt(format!("{key} names a disk that is no UUID")).into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_membership_is_what_the_golden_file_says() {
        let membership = Membership::new(3, 9, &[Uuid::from_u128(1), Uuid::from_u128(2)]);
        let golden = include_bytes!("../../../tests/golden/membership-1");
        assert_eq!(String::from_utf8_lossy(golden), String::from_utf8_lossy(&membership.encode()));
        assert_eq!(Membership::decode("k", golden), Ok(membership));
    }

    #[test]
    fn a_later_version_is_refused_by_key() {
        let later = br#"{"v":2,"incarnation":1,"epoch":1,"disks":[]}"#;
        assert!(Membership::decode("/s/k", later).is_err_and(|error| error.to_string().contains("/s/k")));
    }

    proptest! {
        #[test]
        fn fuzz_a_membership_is_read_or_refused(bytes: Vec<u8>) {
            let _ = Membership::decode("k", &bytes);
        }

        #[test]
        fn fuzz_a_nearly_right_membership_is_read_or_refused(at: prop::sample::Index, with: u8) {
            let mut bytes = Membership::new(3, 9, &[Uuid::from_u128(1)]).encode().to_vec();
            let at = at.index(bytes.len());
            bytes[at] = with;
            let _ = Membership::decode("k", &bytes).map(|read| parse("k", &read.disks));
        }
    }
}
