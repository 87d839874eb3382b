//! What is on the disks against what metadata knows: the decision whether, and how, to serve.

use std::collections::BTreeSet;

use protocol::BookieId;
use uuid::Uuid;

use super::Identity;
use crate::settings::OnLostData;

/// What one data folder says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub identity: Option<Identity>,
    /// There are files of a bookie besides the identity.
    pub has_data: bool,
}

/// What metadata knows of this bookie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The cluster's instance id.
    pub cluster: String,
    /// There is a cookie: a bookie of this id has been here before.
    pub cookie: bool,
    pub disks: Vec<Uuid>,
    pub epoch: u64,
    pub incarnation: u64,
    /// Up to which revision of metadata ledgers may have been lost here.
    pub lost_until: i64,
}

/// Why a disk, or the bookie, may lack what it acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Suspicion {
    /// Older than metadata says it was: restored from a snapshot, or from a copy.
    Stale { disk: Uuid, epoch: u64, expected: u64 },
    /// Disks that this bookie had are not here.
    Missing { disks: Vec<Uuid> },
    /// Metadata knows this bookie, and no disk of it is left.
    Wiped,
}

impl std::fmt::Display for Suspicion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Suspicion::Stale { disk, epoch, expected } => {
                write!(
                    f,
                    "disk {disk} has epoch {epoch}, metadata {expected}: it was restored from an old state"
                )
            }
            Suspicion::Missing { disks } => {
                let disks: Vec<String> = disks.iter().map(Uuid::to_string).collect();
                write!(f, "disks of this bookie are not here: {}", disks.join(", "))
            }
            Suspicion::Wiped => f.write_str("metadata knows this bookie, but all its disks are empty"),
        }
    }
}

/// Why a bookie does not start.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refused {
    #[error(
        "data folder {folder} belongs to bookie {other}, not to {bookie}: give each bookie its own disks"
    )]
    OtherBookie { folder: usize, bookie: BookieId, other: BookieId },
    #[error(
        "data folder {folder} belongs to cluster {other}; the metadata address leads to cluster {cluster}. \
         Check the address; to use the disk in the new cluster, empty the folder first"
    )]
    OtherCluster { folder: usize, cluster: String, other: String },
    #[error("data folders {first} and {second} are copies of one disk ({disk}): remove the copy")]
    SameDisk { first: usize, second: usize, disk: Uuid },
    #[error(
        "data folder {folder} has files but no identity: if they are a bookie's, put its file 'identity' back; \
         if not, give the bookie an empty folder"
    )]
    NoIdentity { folder: usize },
    #[error("the identity in data folder {folder} cannot be used: {why}")]
    Unreadable { folder: usize, why: String },
    #[error("{0}. This bookie is told to refuse (on_lost_data): put the data back, or let it serve in limbo")]
    LostData(Suspicion),
    #[error(
        "the data folders hold bookie {found}, and this process is set up as {configured}, which is another bookie of \
         the cluster: disks may have been swapped. Give each bookie its own disks, or start this one as {found}"
    )]
    Swapped { found: BookieId, configured: BookieId },
    #[error("no data folder was given")]
    NoFolder,
}

/// How the bookie goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub id: BookieId,
    pub incarnation: u64,
    pub epoch: u64,
    /// For each folder: the disk it is, or `None` for a new one.
    pub disks: Vec<Option<Uuid>>,
    pub suspicions: Vec<Suspicion>,
}

impl Verdict {
    /// Whether what the folder's disk holds may be incomplete.
    pub fn is_stale(&self, folder: usize) -> bool {
        let disk = self.disks.get(folder).copied().flatten();
        self.suspicions
            .iter()
            .any(|s| matches!(s, Suspicion::Stale { disk: stale, .. } if Some(*stale) == disk))
    }

    /// Whether ledgers of which no disk here knows anything may have been here.
    pub fn lost_something(&self) -> bool {
        !self.suspicions.is_empty()
    }
}

/// Decides. `configured` is the id for a first start.
pub fn judge(
    found: &[Found],
    known: &Known,
    configured: &BookieId,
    lost: OnLostData,
) -> Result<Verdict, Refused> {
    if found.is_empty() {
        return Err(Refused::NoFolder);
    }
    let id = found.iter().find_map(|f| f.identity.as_ref()).map_or(configured, |i| &i.bookie).clone();
    check_folders(found, known, &id)?;
    let identities = || found.iter().filter_map(|f| f.identity.as_ref());
    let suspicions = suspicions(found, known);
    if let (OnLostData::Refuse, Some(first)) = (lost, suspicions.first()) {
        return Err(Refused::LostData(first.clone()));
    }
    let last = |of: fn(&Identity) -> u64, known: u64| identities().map(of).fold(known, u64::max);
    Ok(Verdict {
        incarnation: last(|i| i.incarnation, known.incarnation) + 1,
        epoch: last(|i| i.epoch, known.epoch) + 1,
        disks: found.iter().map(|f| f.identity.as_ref().map(|i| i.disk)).collect(),
        suspicions,
        id,
    })
}

fn check_folders(found: &[Found], known: &Known, id: &BookieId) -> Result<(), Refused> {
    for (folder, f) in found.iter().enumerate() {
        let Some(identity) = &f.identity else {
            if f.has_data {
                return Err(Refused::NoIdentity { folder });
            }
            continue;
        };
        if identity.bookie != *id {
            return Err(Refused::OtherBookie { folder, bookie: id.clone(), other: identity.bookie.clone() });
        }
        if identity.cluster != known.cluster {
            let (cluster, other) = (known.cluster.clone(), identity.cluster.clone());
            return Err(Refused::OtherCluster { folder, cluster, other });
        }
        let same = |other: &Found| other.identity.as_ref().is_some_and(|o| o.disk == identity.disk);
        if let Some(first) = found[..folder].iter().position(same) {
            return Err(Refused::SameDisk { first, second: folder, disk: identity.disk });
        }
    }
    Ok(())
}

fn suspicions(found: &[Found], known: &Known) -> Vec<Suspicion> {
    let here: Vec<&Identity> = found.iter().filter_map(|f| f.identity.as_ref()).collect();
    let mut out = Vec::new();
    // A cookie without an epoch beside it: an Apache bookie of this name, or an operator who cleaned up. What was
    // acknowledged under this name is unknown.
    let had_disks = known.cookie || !known.disks.is_empty();
    if had_disks && (here.is_empty() || known.disks.is_empty()) {
        out.push(Suspicion::Wiped);
    }
    for identity in &here {
        if identity.epoch < known.epoch && !planted::on(planted::Bug::OldSnapshotTrusted) {
            let (disk, epoch) = (identity.disk, identity.epoch);
            out.push(Suspicion::Stale { disk, epoch, expected: known.epoch });
        }
    }
    let newest = here.iter().max_by_key(|identity| identity.epoch);
    let expected = known.disks.iter().chain(newest.iter().flat_map(|identity| &identity.disks));
    let expected: BTreeSet<Uuid> = expected.copied().collect();
    let missing: Vec<Uuid> =
        expected.into_iter().filter(|disk| !here.iter().any(|identity| identity.disk == *disk)).collect();
    if !missing.is_empty() && !here.is_empty() {
        out.push(Suspicion::Missing { disks: missing });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Uuid = Uuid::from_u128(1);
    const B: Uuid = Uuid::from_u128(2);

    fn id(text: &str) -> BookieId {
        text.parse().unwrap_or_else(|error| unreachable!("{error}"))
    }

    fn disk(disk: Uuid, disks: &[Uuid], epoch: u64) -> Found {
        let (bookie, cluster) = (id("b1:3181"), "c".into());
        let identity = Identity { bookie, cluster, disk, disks: disks.into(), incarnation: epoch, epoch };
        Found { identity: Some(identity), has_data: true }
    }

    fn empty() -> Found {
        Found { identity: None, has_data: false }
    }

    fn known(disks: &[Uuid], epoch: u64) -> Known {
        Known {
            cluster: "c".into(),
            cookie: epoch > 0,
            disks: disks.into(),
            epoch,
            incarnation: epoch,
            lost_until: 0,
        }
    }

    fn decide(found: &[Found], known: &Known) -> Result<Verdict, Refused> {
        judge(found, known, &id("new-host:3181"), OnLostData::Limbo)
    }

    fn suspected(found: &[Found], known: &Known) -> Result<Vec<Suspicion>, Refused> {
        Ok(decide(found, known)?.suspicions)
    }

    #[test]
    fn the_first_start_takes_the_configured_name() -> Result<(), Refused> {
        let verdict = decide(&[empty(), empty()], &known(&[], 0))?;
        assert_eq!((verdict.id, verdict.incarnation), (id("new-host:3181"), 1));
        assert_eq!(verdict.suspicions, []);
        Ok(())
    }

    #[test]
    fn a_volume_keeps_its_name_under_another_host_name() -> Result<(), Refused> {
        let verdict = decide(&[disk(A, &[A], 4)], &known(&[A], 4))?;
        assert_eq!((verdict.id, verdict.epoch, verdict.incarnation), (id("b1:3181"), 5, 5));
        assert_eq!(verdict.suspicions, []);
        Ok(())
    }

    #[test]
    fn a_restored_snapshot_is_noticed() -> Result<(), Refused> {
        let stale = Suspicion::Stale { disk: A, epoch: 3, expected: 7 };
        assert_eq!(suspected(&[disk(A, &[A], 3)], &known(&[A], 7))?, [stale]);
        Ok(())
    }

    #[test]
    fn a_crash_before_metadata_heard_of_the_epoch_is_no_snapshot() -> Result<(), Refused> {
        assert_eq!(suspected(&[disk(A, &[A], 8)], &known(&[A], 7))?, []);
        assert_eq!(suspected(&[disk(A, &[A, B], 8), disk(B, &[A, B], 7)], &known(&[A, B], 7))?, []);
        Ok(())
    }

    #[test]
    fn an_empty_disk_under_a_known_name_is_noticed() -> Result<(), Refused> {
        assert_eq!(suspected(&[empty()], &known(&[A], 7))?, [Suspicion::Wiped]);
        Ok(())
    }

    #[test]
    fn a_missing_or_replaced_disk_is_noticed() -> Result<(), Refused> {
        let missing = Suspicion::Missing { disks: vec![B] };
        assert_eq!(suspected(&[disk(A, &[A, B], 7)], &known(&[A, B], 7))?, vec![missing.clone()]);
        assert_eq!(suspected(&[disk(A, &[A, B], 7), empty()], &known(&[A, B], 7))?, [missing]);
        Ok(())
    }

    #[test]
    fn an_added_disk_is_no_reason_for_suspicion() -> Result<(), Refused> {
        assert_eq!(suspected(&[disk(A, &[A], 7), empty()], &known(&[A], 7))?, []);
        Ok(())
    }

    #[test]
    fn a_name_that_apache_had_used_is_suspicious() -> Result<(), Refused> {
        let cookie_only = Known { cookie: true, ..known(&[], 0) };
        assert_eq!(suspected(&[empty()], &cookie_only)?, [Suspicion::Wiped]);
        Ok(())
    }

    #[test]
    fn foreign_disks_are_refused() {
        let mut other = disk(B, &[B], 1);
        other.identity.iter_mut().for_each(|identity| identity.bookie = id("b2:3181"));
        assert!(matches!(
            decide(&[disk(A, &[A], 1), other], &known(&[A], 1)),
            Err(Refused::OtherBookie { folder: 1, .. })
        ));
        let elsewhere = Known { cluster: "d".into(), ..known(&[], 0) };
        assert!(matches!(decide(&[disk(A, &[A], 1)], &elsewhere), Err(Refused::OtherCluster { .. })));
        assert!(matches!(
            decide(&[disk(A, &[A], 1), disk(A, &[A], 1)], &known(&[A], 1)),
            Err(Refused::SameDisk { .. })
        ));
        let unnamed = Found { identity: None, has_data: true };
        assert_eq!(decide(&[unnamed], &known(&[], 0)), Err(Refused::NoIdentity { folder: 0 }));
    }

    #[test]
    fn an_operator_may_prefer_no_start_to_limbo() {
        let told = judge(&[empty()], &known(&[A], 7), &id("b1:3181"), OnLostData::Refuse);
        assert_eq!(told, Err(Refused::LostData(Suspicion::Wiped)));
    }
}
