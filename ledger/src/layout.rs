//! What one must know of a ledger to ask bookies about it.

use metadata::schema::Segment;
use metadata::{LedgerMetadata, Stored};
use protocol::entry::{Digest, MasterKey};
use protocol::{BookieId, EntryId, LedgerId};

use crate::Error;
use crate::quorum::Quorums;

#[derive(Clone)]
pub struct Layout {
    pub ledger: LedgerId,
    pub quorums: Quorums,
    pub key: MasterKey,
    pub digest: Digest,
    /// At least one, ascending; each names as many bookies as the ensemble has members.
    pub segments: Vec<Segment>,
}

impl Layout {
    pub fn of(stored: &Stored) -> Result<Layout, Error> {
        Layout::new(stored.id, &stored.metadata)
    }

    pub fn new(ledger: LedgerId, metadata: &LedgerMetadata) -> Result<Layout, Error> {
        let quorums = Quorums::new(metadata.ensemble_size, metadata.write_quorum, metadata.ack_quorum)?;
        let whole = |segment: &Segment| segment.ensemble.len() == quorums.ensemble();
        if metadata.segments.is_empty() || !metadata.segments.iter().all(whole) {
            return Err(Error::Corrupt(format!(
                "the segments of ledger {ledger} do not fit its ensemble size"
            )));
        }
        Ok(Layout {
            ledger,
            quorums,
            key: MasterKey::of(&metadata.password),
            digest: Digest::new(metadata.digest, &metadata.password),
            segments: metadata.segments.clone(),
        })
    }

    pub fn last_segment(&self) -> &Segment {
        &self.segments[self.segments.len() - 1]
    }

    /// The segment that an entry is in; of an entry before the first one, the first.
    pub fn segment_of(&self, entry: EntryId) -> &Segment {
        let after = self.segments.partition_point(|segment| segment.first <= entry);
        &self.segments[after.saturating_sub(1)]
    }

    /// The bookies of an entry's write set, in order.
    pub fn replicas(&self, entry: EntryId) -> impl Iterator<Item = &BookieId> {
        let ensemble = &self.segment_of(entry).ensemble;
        self.quorums.write_set(entry).map(move |index| &ensemble[index])
    }
}
