//! Reads that wait for no disk: of what is recent, and in the page cache.

use bytes::Bytes;
use protocol::bookie::{Answer, Outcome, Refusal, Request};
use protocol::{EntryId, LedgerId};

use super::reader::{Lookup, Reader, entry_in, lac_of, refusal_of, wanted};
use super::reader_part::part_of;
use crate::index::rows::Slot;
use crate::position::SegmentId;
use crate::segment::format::RECORD_HEADER;
use crate::segment::walk;
use crate::state::is_ledger;

impl Reader {
    /// Answers a read if it can be done without waiting for a disk; else `None`, and [`Reader::serve`] answers it on a
    /// thread that may wait.
    pub fn serve_now(&self, request: &Request) -> Option<Outcome> {
        match request {
            Request::Read { ledger, entry, options } => Some(self.read_now(*ledger, *entry)?.map(|body| {
                let lac = options.piggyback_lac || options.previous_lac.is_some();
                let max_lac = lac.then(|| self.max_lac(*ledger).max(lac_of(&body)));
                Answer::Entry { body, max_lac }
            })),
            Request::ReadRange { ledger, entry, from, len } => {
                Some(self.range_now(*ledger, *entry, *from, *len)?.map(Answer::Range))
            }
            _ => None,
        }
    }

    fn read_now(&self, ledger: LedgerId, entry: EntryId) -> Option<Result<Bytes, Refusal>> {
        if !is_ledger(ledger) || entry.0 < -1 {
            return Some(Err(Refusal::BadRequest));
        }
        let (found, slot) = match self.find_now(ledger, entry)? {
            Ok(Some(found)) => found,
            Ok(None) => return Some(Ok(self.ahead.lock().take_now(ledger, entry)?)),
            Err(lookup) => return Some(Err(refusal_of(lookup))),
        };
        let file = self.shared.segments.opened(SegmentId(slot.segment))?;
        let bytes = walk::read_now(&file, slot.offset, RECORD_HEADER + slot.length as usize).ok()??;
        // Damage is a matter for those who may take their time.
        entry_in(&file, slot.offset, &bytes, (ledger, found), &slot).map(Ok)
    }

    fn range_now(
        &self,
        ledger: LedgerId,
        entry: EntryId,
        from: u32,
        len: u32,
    ) -> Option<Result<Bytes, Refusal>> {
        if !is_ledger(ledger) || entry.0 < -1 {
            return Some(Err(Refusal::BadRequest));
        }
        let slot = match self.find_now(ledger, entry)? {
            Ok(found) => found?.1,
            Err(lookup) => return Some(Err(refusal_of(lookup))),
        };
        let (at, len) = part_of(&slot, from, len);
        let file = self.shared.segments.opened(SegmentId(slot.segment))?;
        let bytes = walk::read_now(&file, at, len).ok()??;
        (bytes.len() == len).then_some(Ok(bytes))
    }

    /// `None`: memory does not tell. `Some(Ok(None))`: the entry may be here, where exactly the index knows.
    fn find_now(&self, ledger: LedgerId, entry: EntryId) -> Option<Result<Option<(EntryId, Slot)>, Lookup>> {
        let catalog = self.shared.catalog.read();
        let known = catalog.ledgers.get(&ledger)?;
        if known.state.deleted {
            return Some(Err(Lookup::NoLedger));
        }
        let (wanted, absent) = wanted(&known.state, &catalog.shelf, known.last.0, entry);
        let Some(wanted) = wanted.filter(|wanted| *wanted <= known.last.0) else { return Some(Err(absent)) };
        Some(Ok(known.recent(wanted).map(|slot| (wanted, slot))))
    }
}
