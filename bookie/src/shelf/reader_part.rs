//! Reading a part of an entry, and how long entries are: what a reader needs who wants little of much.

use bytes::Bytes;
use protocol::bookie::Refusal;
use protocol::bookie::extension::MOST_LENGTHS;
use protocol::{EntryId, LedgerId};

use super::reader::{Reader, refusal_of, unreadable};
use crate::index::rows::Slot;
use crate::position::SegmentId;
use crate::segment::format::RECORD_HEADER;
use crate::segment::walk;
use crate::state::is_ledger;

/// Where in its segment a part of an entry is, and how long: as much as there is of it.
pub(super) fn part_of(slot: &Slot, from: u32, len: u32) -> (u32, usize) {
    let from = from.min(slot.length);
    let len = len.min(slot.length - from);
    (slot.offset.saturating_add(RECORD_HEADER as u32).saturating_add(from), len as usize)
}

impl Reader {
    /// Bytes of an entry, and of nothing else: the checksum of the whole cannot be looked at. Whoever asks for a part
    /// has to know it when he sees it.
    pub fn read_range(
        &self,
        ledger: LedgerId,
        entry: EntryId,
        from: u32,
        len: u32,
    ) -> Result<Bytes, Refusal> {
        if !is_ledger(ledger) || entry.0 < -1 {
            return Err(Refusal::BadRequest);
        }
        let mut found = self.find(ledger, entry).map_err(unreadable)?.map_err(refusal_of)?;
        for _ in 0..3 {
            let (at, len) = part_of(&found.1, from, len);
            let file = self.shared.segments.open(SegmentId(found.1.segment)).ok();
            let bytes = file.and_then(|file| walk::read(&file, at, len).ok());
            if let Some(bytes) = bytes.filter(|bytes| bytes.len() == len) {
                return Ok(bytes);
            }
            // Perhaps it was moved by a compaction meanwhile.
            let again = self.find(ledger, entry).map_err(unreadable)?.map_err(refusal_of)?;
            if again == found {
                break;
            }
            found = again;
        }
        Err(Refusal::Io)
    }

    /// The lengths of consecutive entries from `first` on, up to the first that is not here.
    pub fn lengths(&self, ledger: LedgerId, first: EntryId, max_count: u32) -> Result<Vec<u32>, Refusal> {
        if !is_ledger(ledger) || first.is_none() {
            return Err(Refusal::BadRequest);
        }
        self.find(ledger, first).map_err(unreadable)?.map_err(refusal_of)?;
        let count = max_count.clamp(1, MOST_LENGTHS);
        let slots = self.consecutive(ledger, first, count, u64::MAX).map_err(unreadable)?;
        Ok(slots.into_iter().map(|slot| slot.length).collect())
    }
}
